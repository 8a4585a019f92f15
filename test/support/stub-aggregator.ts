/** The page's own files, with answers that a test says instead of an aggregator's. */
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { Page } from '../../aggregator/page/page.ts'

export interface StubAnswer {
  readonly status?: number
  readonly body: unknown
}

export interface StubAggregator {
  readonly url: string
  /** Paths with their parameters, in the order that they were asked in. */
  readonly asked: readonly URL[]
}

/** @param answer of a question; undefined: 404 */
export async function startStubAggregator(
  t: Pick<TestContext, 'after'>,
  answer: (url: URL, request: IncomingMessage) => StubAnswer | undefined,
): Promise<StubAggregator> {
  const page = await Page.load()
  const asked: URL[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://stub')
    if (page.serves(request.method, url.pathname)) {
      page.handle(url.pathname, request, response)
      return
    }
    asked.push(url)
    const { status = 200, body } = answer(url, request) ?? {
      status: 404,
      body: { status: 404, code: 'NOT_FOUND', detail: `There is nothing at ${url.pathname}` },
    }
    response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' })
    response.end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}
