/** What a collector passes on: to the first aggregator that can be reached, unchanged, and never anywhere else. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { PassThrough } from '../../../collector/receive/pass-through.ts'
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
      JSON.stringify({ method: request.method, url: request.url, body, secret: request.headers.authorization }),
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
    headers: { Authorization: 'Bearer me' },
  })
  assert.deepEqual([response.status, response.headers.get('x-from')], [207, 'aggregator'])
  assert.deepEqual(await response.json(), {
    method: 'PUT',
    url: '/a/b?c=%20d',
    body: 'x'.repeat(100_000),
    secret: 'Bearer me',
  })
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
