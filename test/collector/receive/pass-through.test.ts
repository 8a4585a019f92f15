/** What a collector passes on: to the first aggregator that can be reached, unchanged, and never anywhere else. */
import assert from 'node:assert/strict'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { EventDoorContext } from '../../../collector/receive/event-doors.ts'
import type { HostSampling } from '../../../collector/receive/host-sampling.ts'
import { PassThrough } from '../../../collector/receive/pass-through.ts'
import { collectorRoutes } from '../../../collector/receive/routes.ts'
import type { OwnState } from '../../../proto/runtime/own-state.ts'
import { freePort } from '../../support/programs.ts'

async function passing(t: TestContext, urls: readonly string[]): Promise<string> {
  const pass = new PassThrough(urls)
  const server = createServer((request, response) => void pass.handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    pass.close()
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function echo(t: TestContext): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    response.writeHead(207, { 'X-From': 'aggregator' })
    response.end(
      JSON.stringify({
        method: request.method,
        url: request.url,
        body,
        secret: request.headers.authorization,
        tenant: request.headers['x-scope-orgid'],
      }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a request and its answer pass unchanged', async (t) => {
  const url = await passing(t, [await echo(t)])
  const response = await fetch(`${url}/a/b?c=%20d`, {
    method: 'PUT',
    body: 'x'.repeat(100_000),
    headers: { Authorization: 'Bearer me', 'X-Scope-OrgID': 'a|b' },
  })
  assert.deepEqual([response.status, response.headers.get('x-from')], [207, 'aggregator'])
  assert.deepEqual(await response.json(), {
    method: 'PUT',
    url: '/a/b?c=%20d',
    body: 'x'.repeat(100_000),
    secret: 'Bearer me',
    tenant: 'a|b',
  })
})

test('who asks and for which tenant cannot be named away as a matter of the connection', async (t) => {
  const url = await passing(t, [await echo(t)])
  const text = await new Promise<string>((resolve, reject) => {
    const headers = {
      Connection: 'close, authorization, x-scope-orgid',
      Authorization: 'Bearer me',
      'X-Scope-OrgID': 'a',
    }
    get(url, { headers }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      response.on('end', () => resolve(body))
    }).on('error', reject)
  })
  const { secret, tenant } = JSON.parse(text) as { secret: string; tenant: string }
  assert.deepEqual([secret, tenant], ['Bearer me', 'a'])
})

test('a question goes to the next aggregator when the first is away; a body is answered 503 once, then goes there too', async (t) => {
  const dead = `http://127.0.0.1:${await freePort()}`
  const living = await echo(t)
  assert.equal((await fetch(await passing(t, [dead, living]))).status, 207)
  const url = await passing(t, [dead, living])
  const post = async (): Promise<number> => (await fetch(url, { method: 'POST', body: 'x' })).status
  assert.deepEqual([await post(), await post()], [503, 207])
})

test('nobody to be reached is 503 with Retry-After and the address', async (t) => {
  const dead = `http://127.0.0.1:${await freePort()}`
  const response = await fetch(await passing(t, [dead]))
  assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '1'])
  assert.ok((await response.text()).includes(dead))
})

test('what a request carries is never taken for the next request, whatever its method and headers claim', async (t) => {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    request.resume()
    request.on('end', () => response.end('ok'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = new URL(await passing(t, [`http://127.0.0.1:${(server.address() as AddressInfo).port}`]))
  const inner = 'GET /inner HTTP/1.1\r\nHost: a\r\nX-Swallow: '
  const chunked = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'POST', 'PUT', 'PATCH']) {
    for (const framing of [
      `Transfer-Encoding: chunked\r\n\r\n${chunked}`,
      `Content-Length: ${inner.length}\r\n\r\n${inner}`,
      `Connection: content-length\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
      `Connection: transfer-encoding, host\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(url.port), url.hostname, () =>
          socket.write(`${method} /outer HTTP/1.1\r\nHost: x\r\n${framing}`),
        )
        socket.once('data', () => socket.destroy())
        socket.once('close', () => resolve())
      })
      assert.equal(await (await fetch(`${url}victim`)).text(), 'ok')
    }
  }
  assert.deepEqual(
    [...new Set(seen)].filter((line) => !line.endsWith('/outer')),
    ['GET /victim'],
  )
  assert.equal(seen.length, 2 * 7 * 4)
})

test('to ask for events is passed on, though the collector takes them at the same path', async (t) => {
  const pass = new PassThrough([await echo(t)])
  t.after(() => pass.close())
  const own: Pick<OwnState, 'serves'> = { serves: () => false }
  const routes = collectorRoutes(
    { basePath: '' } as EventDoorContext,
    own as OwnState,
    {} as HostSampling,
    pass,
    undefined,
  )
  const server = createServer((request, response) => void routes(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/v1/events?task_id=a`, { headers: { Connection: 'close' } })
  assert.equal(((await response.json()) as { url: string }).url, '/v1/events?task_id=a')
})
