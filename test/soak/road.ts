/**
 * A road: a TCP proxy that knows just enough of HTTP to see where a request ends, so that it can do to requests what networks,
 * proxies and balancers do. Requests go on whole or in the pieces said here; answers pass as they are.
 *
 *     drop        connections that are open, and those that come, are closed
 *     delay       requests come late, in two halves
 *     truncate    a part of the request arrives, then the connection is closed on both sides
 *     cut answer  the request arrives and has its effect, and the answer is closed in its midst
 *     repeat      the whole request comes a second time, some time later, by a connection of its own
 *     hold        some requests are held back while those of other connections pass
 */
import type { Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../support/random.ts'
import type { Mishap, Network } from './plan.ts'
import { RequestCutter } from './request-cutter.ts'

interface Weather {
  readonly fault: Network
  readonly random: Random
}

export class Road {
  /** How often each really happened to a request or connection. */
  readonly happened: Map<Mishap, number> = new Map()
  readonly #target: number
  readonly #server: Server
  readonly #weather = new Set<Weather>()
  readonly #open = new Set<Socket>()
  readonly #repeats = new Set<Socket>()

  /** @param target the port behind it */
  constructor(target: number) {
    this.#target = target
    this.#server = createServer((client) => this.#accept(client))
  }

  /** @returns its port */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.on('error', reject)
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as { port: number }).port))
    })
  }

  close(): void {
    this.#server.close()
    for (const socket of [...this.#open, ...this.#repeats]) socket.destroy()
  }

  /** From now on until the returned function is called. */
  begin(fault: Network): () => void {
    const weather = { fault, random: new Random(fault.seed) }
    this.#weather.add(weather)
    if (fault.mishap === 'drop') for (const socket of this.#open) socket.destroy()
    return () => void this.#weather.delete(weather)
  }

  #meets(mishap: Mishap): Weather | undefined {
    for (const weather of this.#weather) {
      if (weather.fault.mishap !== mishap || !weather.random.chance(weather.fault.share)) continue
      this.happened.set(mishap, (this.happened.get(mishap) ?? 0) + 1)
      return weather
    }
    return undefined
  }

  #accept(client: Socket): void {
    this.#open.add(client)
    const cutter = new RequestCutter()
    let upstream: Socket | undefined
    let cutAt: number | undefined
    let last = Promise.resolve()
    const close = (): void => {
      client.destroy()
      upstream?.destroy()
    }
    const open = (): Socket => {
      // A collector tells senders apart by their address.
      const socket = connect({ port: this.#target, host: '127.0.0.1', localAddress: client.remoteAddress! })
      socket.on('data', (chunk) => {
        if (cutAt === undefined) client.write(chunk)
        else client.write(chunk.subarray(0, Math.floor(chunk.length * cutAt)), close)
      })
      socket.on('error', close).on('close', close)
      return socket
    }
    client.on('error', close)
    client.on('close', () => {
      this.#open.delete(client)
      upstream?.destroy()
    })
    client.on('data', (chunk) => {
      for (const request of cutter.push(chunk))
        last = last.then(async () => {
          if (client.destroyed) return
          upstream ??= open()
          cutAt = this.#meets('cut answer')?.random.next()
          if (!(await this.#pass(request, upstream, client.remoteAddress!))) close()
        })
    })
  }

  /** @returns false when the connection is to be closed */
  async #pass(request: Buffer, upstream: Socket, from: string): Promise<boolean> {
    if (this.#meets('drop') !== undefined) return false
    const held = this.#meets('hold')
    if (held !== undefined) await sleep(held.fault.amountMs)
    const repeated = this.#meets('repeat')
    if (repeated !== undefined) void this.#again(request, from, repeated.random.next() * repeated.fault.amountMs)
    const truncated = this.#meets('truncate')
    if (truncated !== undefined) {
      await written(upstream, request.subarray(0, Math.floor(request.length * truncated.random.next())))
      return false
    }
    const delayed = this.#meets('delay')
    if (delayed !== undefined) {
      const half = Math.floor(request.length * delayed.random.next())
      await sleep(delayed.fault.amountMs / 2)
      upstream.write(request.subarray(0, half))
      await sleep(delayed.fault.amountMs / 2)
      upstream.write(request.subarray(half))
    } else upstream.write(request)
    return true
  }

  /** The same bytes by a connection of their own; what is answered is nobody's business. */
  async #again(request: Buffer, from: string, afterMs: number): Promise<void> {
    await sleep(afterMs)
    const socket = connect({ port: this.#target, host: '127.0.0.1', localAddress: from })
    this.#repeats.add(socket)
    socket.on('error', () => {}).on('close', () => this.#repeats.delete(socket))
    socket.once('data', () => socket.destroy())
    socket.setTimeout(10_000, () => socket.destroy())
    socket.write(request)
  }
}

function written(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (bytes.length === 0 || socket.destroyed) resolve()
    else {
      socket.once('close', () => resolve())
      socket.write(bytes, () => resolve())
    }
  })
}
