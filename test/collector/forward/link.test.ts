/** The way to the aggregators, against real HTTP servers that answer, refuse, hang and go away. */
import assert from 'node:assert/strict'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Link } from '../../../collector/forward/link.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually, freePort } from '../../support/programs.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

async function serve(t: TestContext, answer: Answer, port = 0): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => answer(request, response))
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

function linkTo(t: TestContext, urls: readonly string[], timeoutMs = 500): Link {
  const link = new Link({
    urls,
    path: '/intake/v1/batches',
    contentType: 'application/octet-stream',
    token: () => 'secret',
    timeoutMs,
    backoffMaxMs: 50,
    log: silentLogger,
    random: () => 0.5,
  })
  t.after(() => link.close())
  return link
}

const batch = Uint8Array.of(1, 2, 3)
const never = (): AbortSignal => new AbortController().signal
const stored: Answer = (_, response) => response.end('{"stored":true,"expired":2}')

test('Link says what the aggregator says: stored, series that it needs, a batch that it cannot read', async (t) => {
  const answers: [number, string][] = [
    [200, '{"stored":true,"expired":2}'],
    [409, '{"need":[1,7]}'],
    [422, 'what is this'],
  ]
  const { url } = await serve(t, (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer secret')
    const [status, text] = answers.shift()!
    response.writeHead(status).end(text)
  })
  const link = linkTo(t, [url])
  assert.deepEqual(await link.send(batch, never()), { kind: 'stored', expired: 2 })
  assert.deepEqual(await link.send(batch, never()), { kind: 'need', refs: [1, 7] })
  assert.deepEqual(await link.send(batch, never()), { kind: 'unreadable', reason: 'what is this' })
})

test('Link sends again after refusals, nonsense and cut connections, and waits as long as Retry-After says', async (t) => {
  const times: number[] = []
  const answers: Answer[] = [
    (_, response) => response.writeHead(503, { 'Retry-After': '1' }).end(),
    (_, response) => response.writeHead(500).end('broken'),
    (_, response) => response.writeHead(409).end('{"need":"all"}'),
    (_, response) => void response.writeHead(200, { 'Content-Length': '50' }).write('{"stor'),
    (_, response) => void response.socket?.destroy(),
    stored,
  ]
  const { url } = await serve(t, (request, response) => {
    if (request.url === '/healthz') return void response.end('ok')
    times.push(performance.now())
    answers.shift()!(request, response)
  })
  const link = linkTo(t, [url], 200)
  assert.equal((await link.send(batch, never())).kind, 'stored')
  assert.equal(times.length, 6)
  assert.ok(times[1]! - times[0]! >= 990)
  assert.equal(link.problem, undefined)
  assert.equal(link.counts.failures, 5)
})

test('Link goes to the next address when one does not answer, and stays with one that refuses', async (t) => {
  const dead = `http://127.0.0.1:${await freePort()}`
  let refusals = 3
  const { url } = await serve(t, (request, response) => {
    if (request.url !== '/healthz' && refusals-- > 0) response.writeHead(503).end()
    else stored(request, response)
  })
  const link = linkTo(t, [dead, url])
  assert.equal((await link.send(batch, never())).kind, 'stored')
  assert.equal(link.url, url)
})

test('Link lets one batch find out whether anybody is there, and then all at once: none waits for another to be stored', async (t) => {
  const port = await freePort()
  const link = linkTo(t, [`http://127.0.0.1:${port}`], 10_000)
  const sending = Array.from({ length: 8 }, () => link.send(batch, never()))
  await eventually('it is down', () => link.problem !== undefined)
  const held: ServerResponse[] = []
  await serve(
    t,
    (request, response) => {
      if (request.url === '/healthz') response.end('ok')
      else held.push(response)
    },
    port,
  )
  await eventually('all have come though none is answered', () => held.length === 8)
  for (const response of held) response.end('{"stored":true,"expired":0}')
  await Promise.all(sending)
})

test('Link gives up only when it is told to, wherever a batch is', async (t) => {
  const { url } = await serve(t, () => {})
  const hanging = linkTo(t, [url], 60_000)
  const down = linkTo(t, [`http://127.0.0.1:${await freePort()}`])
  for (const link of [hanging, down]) {
    const abort = new AbortController()
    const sending = Array.from({ length: 3 }, () => link.send(batch, abort.signal))
    await sleep(100)
    abort.abort(new Error('told to'))
    for (const one of sending) await assert.rejects(one)
  }
})
