/** Bodies of requests over a real connection: whole, refused, cut off; and what is left in memory of those that were given up. */
import assert from 'node:assert/strict'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { discardRest } from '../../../proto/runtime/discard-rest.ts'
import type { ByteBudget } from '../../../proto/runtime/request-body.ts'
import { BodyError, readBody, readSmallBody } from '../../../proto/runtime/request-body.ts'

const MIB = 1024 * 1024

/** Each request in turn. */
async function serving(
  read: (request: IncomingMessage) => Promise<Uint8Array>,
  run: (server: { readonly port: number; readonly outcomes: (string | undefined)[] }) => Promise<void>,
): Promise<void> {
  const outcomes: (string | undefined)[] = []
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      outcomes.push(`${(await read(request)).length}`)
      response.end()
    } catch (error) {
      assert.ok(error instanceof BodyError)
      outcomes.push(`refused ${error.status}`)
      if (error.status === undefined) return
      response.writeHead(error.status).end()
      discardRest(request)
    }
  }
  const server: Server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  try {
    await run({ port: (server.address() as AddressInfo).port, outcomes })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** @param body what is sent of it, now */
function post(port: number, headers: string, body: Buffer | string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}) // whoever is refused may be cut off
  socket.resume()
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`)
  socket.write(body)
  return socket
}

async function until(done: () => boolean, tries = 500): Promise<void> {
  for (let i = 0; i < tries && !done(); i++) await sleep(10)
  assert.ok(done(), 'waited in vain')
}

class Counted implements ByteBudget {
  taken = 0
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  take(bytes: number): void {
    if (this.taken + bytes > this.#max) throw new BodyError(503, 'full')
    this.taken += bytes
  }

  give(bytes: number): void {
    this.taken -= bytes
  }
}

for (const [how, headers] of [
  ['its length is stated', `Content-Length: ${16 * MIB}`],
  ['it comes in chunks', 'Transfer-Encoding: chunked'],
] as const)
  test(`of a body that is refused nothing stays in memory while its sender takes its time, where ${how}`, async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const budget = new Counted(4 * MIB)
    const reading = (request: IncomingMessage): Promise<Uint8Array> => readBody(request, 32 * MIB, budget)
    await serving(reading, async ({ port, outcomes }) => {
      const chunk = Buffer.alloc(6 * MIB)
      const body = headers.startsWith('T') ? Buffer.from(`${(8 * MIB).toString(16)}\r\n`) : Buffer.alloc(0)
      collect()
      const before = process.memoryUsage().arrayBuffers
      const sockets: Socket[] = []
      for (let i = 0; i < 4; i++) {
        const socket = post(port, headers, body)
        socket.write(chunk)
        sockets.push(socket)
        await until(() => outcomes.length > i)
      }
      assert.deepEqual(outcomes, Array(4).fill('refused 503'))
      assert.equal(budget.taken, 0)
      await until(() => {
        collect()
        return process.memoryUsage().arrayBuffers - before < 4 * MIB
      }, 50)
      for (const socket of sockets) socket.destroy()
    })
  })

test('bodies are read whole in any pieces; what is cut off or too large is refused, and no budget is lost', async () => {
  const budget = new Counted(1000)
  const read = (request: IncomingMessage): Promise<Uint8Array> => {
    const length = Number(request.headers['content-length'])
    return length <= 100 ? readSmallBody(request, length, budget) : readBody(request, 500, budget)
  }
  await serving(read, async ({ port, outcomes }) => {
    const ask = async (headers: string, pieces: readonly string[], end = false): Promise<string | undefined> => {
      const count = outcomes.length
      const socket = post(port, headers, pieces[0] ?? '')
      for (const piece of pieces.slice(1)) {
        await sleep(20)
        socket.write(piece)
      }
      if (end) {
        await sleep(20)
        socket.destroy()
      }
      await until(() => outcomes.length > count)
      socket.destroy()
      assert.equal(budget.taken, 0)
      return outcomes.at(-1)
    }
    assert.equal(await ask('Content-Length: 0', []), '0')
    assert.equal(await ask('Content-Length: 4', ['abcd']), '4')
    assert.equal(await ask('Content-Length: 4', ['a', 'bc', 'd']), '4')
    assert.equal(await ask('Content-Length: 200', ['a'.repeat(100), 'b'.repeat(100)]), '200')
    assert.equal(await ask('Transfer-Encoding: chunked', ['3\r\nabc\r\n', '2\r\nde\r\n0\r\n\r\n']), '5')
    assert.equal(await ask('Content-Length: 4', ['ab'], true), 'refused undefined')
    assert.equal(await ask('Content-Length: 200', ['ab'], true), 'refused undefined')
    assert.equal(await ask('Transfer-Encoding: chunked', ['3\r\nabc\r\n'], true), 'refused undefined')
    assert.equal(await ask('Content-Length: 501', []), 'refused 413')
    assert.equal(await ask('Transfer-Encoding: chunked', [`1f5\r\n${'a'.repeat(501)}\r\n`]), 'refused 413')
  })
})
