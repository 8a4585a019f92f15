/** HttpService: each answer names its request once, however it is written. */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:http'
import { test } from 'node:test'
import type { Handler } from '../../../proto/runtime/http-server.ts'
import { HttpService } from '../../../proto/runtime/http-server.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'

const OWN = /^[0-9a-f]{12}-[0-9a-z]+$/

const WRITTEN: Readonly<Record<string, readonly [handler: Handler, id: RegExp, status: number]>> = {
  headers: [(_, response) => void response.writeHead(200, { 'Content-Type': 'text/plain' }).end('x'), OWN, 200],
  'no headers': [(_, response) => void response.writeHead(204).end(), OWN, 204],
  'a reason and headers': [(_, response) => void response.writeHead(200, 'Fine', { A: 'b' }).end(), OWN, 200],
  'a list of headers': [(_, response) => void response.writeHead(200, ['A', 'b']).end(), OWN, 200],
  'no head': [(_, response) => void response.end('x'), OWN, 200],
  'headers set before': [
    (_, response) => {
      response.setHeader('A', 'b')
      response.writeHead(200, { C: 'd' }).end()
    },
    OWN,
    200,
  ],
  'an answer that is passed on': [
    (_, response) => void response.writeHead(200, { a: 'b', 'x-request-id': 'theirs' }).end(),
    /^theirs$/,
    200,
  ],
  'the same as a list': [
    (_, response) => void response.writeHead(200, ['x-request-id', 'theirs']).end(),
    /^theirs$/,
    200,
  ],
  'a handler that throws': [
    () => {
      throw new Error('broken')
    },
    OWN,
    500,
  ],
  'a handler that fails later': [() => Promise.reject(new Error('broken')), OWN, 500],
}

test('X-Request-Id is there once, whether headers are given, set, or passed on', async (t) => {
  const http = new HttpService({
    name: 'http',
    listen: '127.0.0.1:0',
    log: silentLogger,
    handler: (request, response) => WRITTEN[decodeURIComponent(request.url!.slice(1))]![0](request, response),
  })
  await http.start()
  t.after(() => http.stop(AbortSignal.abort()))
  const seen = new Set<string>()
  for (const [how, [, id, status]] of Object.entries(WRITTEN)) {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      get(`${http.url}/${encodeURIComponent(how)}`, resolve).on('error', reject)
    })
    answer.resume()
    assert.equal(answer.statusCode, status, how)
    const ids = answer.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]!.toLowerCase() === 'x-request-id')
    assert.equal(ids.length, 1, `${how}: ${ids.join()}`)
    assert.match(ids[0]!, id, how)
    if (id === OWN) assert.ok(!seen.has(ids[0]!), how)
    seen.add(ids[0]!)
  }
})

test('what the runtime answers by itself has no name that says nothing', async (t) => {
  const http = new HttpService({ name: 'http', listen: '127.0.0.1:0', log: silentLogger, handler: () => {} })
  await http.start()
  t.after(() => http.stop(AbortSignal.abort()))
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(http.url, { headers: { Expect: 'more' } }, resolve).on('error', reject)
  })
  answer.resume()
  assert.deepEqual([answer.statusCode, answer.headers['x-request-id']], [417, undefined])
})
