/**
 * A node:http server as a service: bounded bodies, JSON errors, a drain that ends.
 *
 * Doors that take samples handle requests directly: a framework's Request and Response objects would cost more than
 * the hand-off itself. Everything else goes through Hono on the same server.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server as NetServer } from 'node:net'
import { devNull } from 'node:os'
import type { Duplex } from 'node:stream'
import { discardRest } from './discard-rest.ts'
import { remedyOf } from './disk-remedy.ts'
import { FleetmeterError, messageOf } from './errors.ts'
import { FairShare } from './fair-share.ts'
import type { Logger } from './log.ts'
import type { Health, Service } from './service.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

const HEADERS_TIMEOUT_MS = 20_000
const REQUEST_TIMEOUT_MS = 60_000 // a body that trickles in longer than this is cut off
const HEADER_BYTES_MAX = 64 * 1024 // a query's label filter stands in the request line
const KEEP_ALIVE_MS = 65_000 // longer than the idle times of usual proxies, so that the peer closes first

/** How often it is looked whether a connection could be accepted. */
const FILES_LOOK_MS = 500

const STOP_GRACE_MS = 3000
const STOP_LOOK_EVERY_MS = 20

export interface HttpServiceOptions {
  readonly name: string
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string
  readonly log: Logger
  readonly handler: Handler
}

export class HttpService implements Service {
  readonly name: string
  readonly #options: HttpServiceOptions
  readonly #server
  #stopping = false
  #ready = false
  #requests = 0
  /** Where it listens; known once started. */
  #bound: AddressInfo | undefined
  #looks: NodeJS.Timeout | undefined
  /** Why no connection is accepted at the moment. */
  #problem: string | undefined
  readonly #idPrefix = randomBytes(6).toString('hex')

  constructor(options: HttpServiceOptions) {
    this.name = options.name
    this.#options = options
    this.#server = createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
        requireHostHeader: false, // nothing here depends on it, and the refusal would have no body
      },
      (request, response) => {
        void this.#serve(request, response)
      },
    )
    this.#server.on('clientError', answerMalformed)
  }

  /** Where it listens, `http://host:port`; known once started. */
  get url(): string {
    const { address, port, family } = this.#bound!
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  async start(): Promise<void> {
    const { host, port } = parseListen(this.#options.listen)
    await this.#listen(host, port).catch((error: unknown) => {
      throw new FleetmeterError(
        'FM_CONFIG',
        `Cannot listen on "${this.#options.listen}": ${messageOf(error)}. Is another process using the port?`,
        { cause: error },
      )
    })
    this.#bound = this.#server.address() as AddressInfo
    this.#server.on('error', (error) => this.#failed(error))
    this.#looks = setInterval(() => void this.#lookAtFiles(), FILES_LOOK_MS)
    this.#looks.unref()
    this.#ready = true
  }

  #listen(host: string, port: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  /**
   * Where the process has no file left, a connection that waits is tried again and again by the runtime, in an endless turn.
   * So nobody is listened to then, connections that are open go on, and it is listened again when a file can be opened.
   */
  async #lookAtFiles(): Promise<void> {
    try {
      closeSync(openSync(devNull, 'r'))
      if (this.#problem === undefined || this.#stopping || this.#server.listening) return
      await this.#listen(this.#bound!.address, this.#bound!.port)
      this.#problem = undefined
      this.#options.log.info({ service: this.name }, 'accepting connections again')
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (this.#problem === undefined)
      this.#options.log.error({ service: this.name, error: messageOf(error) }, 'cannot accept connections')
    this.#problem = `Cannot accept connections: ${messageOf(error)}${remedyOf(error)}`
    // That of http would close connections that are only idle.
    if (this.#server.listening) NetServer.prototype.close.call(this.#server)
  }

  /**
   * Takes no new connection or request, lets those under way end for a while, then cuts them: a client that trickles must not
   * use up the time in which what was taken is sent on.
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    this.#ready = false
    clearInterval(this.#looks)
    if (!this.#server.listening) {
      this.#server.closeAllConnections()
      return
    }
    const since = performance.now()
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        // A connection whose request was under way is idle after it, and would be kept for the next one.
        if (deadline.aborted || performance.now() - since > STOP_GRACE_MS) this.#server.closeAllConnections()
        else this.#server.closeIdleConnections()
      }, STOP_LOOK_EVERY_MS)
      this.#server.close(() => {
        clearInterval(look)
        resolve()
      })
    })
  }

  health(): Health {
    if (!this.#ready) return { ready: false, detail: 'not listening' }
    return this.#problem === undefined ? { ready: true } : { ready: false, detail: this.#problem }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('X-Request-Id', `${this.#idPrefix}-${(++this.#requests).toString(36)}`)
    if (this.#stopping) {
      response.setHeader('Connection', 'close')
      sendError(response, 503, 'SERVICE_UNAVAILABLE', 'Shutting down: send this again', { 'Retry-After': '1' })
      return
    }
    try {
      await this.#options.handler(request, response)
    } catch (error) {
      if (error instanceof BodyError) {
        if (error.status !== undefined) {
          if (error.status === 503)
            sendError(response, 503, 'SERVICE_UNAVAILABLE', error.message, { 'Retry-After': '1' })
          else sendError(response, error.status, 'BAD_REQUEST', error.message)
          discardRest(request)
        } else request.destroy()
        return
      }
      this.#options.log.error(
        { service: this.name, method: request.method, path: pathOf(request), error: messageOf(error) },
        'request failed',
      )
      if (!response.headersSent) sendError(response, 500, 'INTERNAL_ERROR', 'Internal Error')
      else response.destroy()
    }
  }
}

const MALFORMED: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'Request line and headers are longer than 64 KiB'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time'],
}

/** What is not HTTP is answered as JSON too. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, message] = MALFORMED[error.code ?? ''] ?? ['400 Bad Request', `This is not HTTP: ${messageOf(error)}`]
  const body = JSON.stringify({ message, code: 'BAD_REQUEST' })
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

/** The body cannot be had. Without a status there is nobody left to answer. */
export class BodyError extends Error {
  readonly status: 400 | 413 | 503 | undefined

  constructor(status: BodyError['status'], message: string) {
    super(message)
    this.name = 'BodyError'
    this.status = status
  }
}

/** Where the bytes of one body are counted while it comes. */
export interface ByteBudget {
  /** @throws BodyError 503 when there is no room now */
  take(bytes: number): void
  give(bytes: number): void
}

/** Memory for bodies that are on their way in, all together; no sender can use up all of it. */
export class ReceivingBudget {
  readonly #max: number
  readonly #shares: FairShare

  /**
   * @param max bytes; one body may have them all
   * @param bodyMax bytes of the largest body, which every sender may have
   */
  constructor(max: number, bodyMax: number) {
    this.#max = max
    this.#shares = new FairShare(max, bodyMax)
  }

  of(sender: string): ByteBudget {
    const shares = this.#shares
    return {
      take: (bytes) => {
        const used = shares.total
        const full = used > 0 && used + bytes > this.#max
        if (full || !shares.allows(sender, bytes))
          throw new BodyError(
            503,
            `Bodies of ${used} bytes are on their way in, of at most ${this.#max}${full ? '' : ', and this sender has its share of them'}: send this again`,
          )
        shares.take(sender, bytes)
      },
      give: (bytes) => shares.give(sender, bytes),
    }
  }
}

/**
 * Reads a small body as it came: where that was in one piece, as nearly all are, it is a view of memory that is not its own.
 * @param length as the request states it
 * @throws BodyError 503 when the budget is used up
 */
export async function readSmallBody(request: IncomingMessage, length: number, budget: ByteBudget): Promise<Uint8Array> {
  let body: Uint8Array = NO_BODY
  let at = 0
  try {
    await consume(request, (chunk) => {
      budget.take(chunk.length)
      if (chunk.length === length) body = chunk
      else {
        if (at === 0) body = new Uint8Array(length)
        body.set(chunk, at)
      }
      at += chunk.length
    })
    return body
  } finally {
    budget.give(at)
  }
}

const NO_BODY = new Uint8Array(0)

/**
 * Reads a body into memory of its own, so that it can be given away to a thread.
 * @param allocate for a body whose length is stated; what it gives may hold anything
 * @throws BodyError 413 as soon as it is known to be over the limit, before it is read; 503 when the budget is used up
 */
export async function readBody(
  request: IncomingMessage,
  maxBytes: number,
  budget?: ByteBudget,
  allocate: (length: number) => Uint8Array<ArrayBuffer> = (length) => new Uint8Array(length),
): Promise<Uint8Array<ArrayBuffer>> {
  let taken = 0
  const take = (bytes: number): void => {
    budget?.take(bytes)
    taken += bytes
  }
  try {
    return await receive(request, maxBytes, take, allocate)
  } finally {
    budget?.give(taken)
  }
}

async function receive(
  request: IncomingMessage,
  maxBytes: number,
  take: (bytes: number) => void,
  allocate: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = (): BodyError => new BodyError(413, `The body is over the limit of ${maxBytes} bytes`)
  const stated = request.headers['content-length']
  if (stated !== undefined) {
    const length = Number(stated)
    if (length > maxBytes) throw tooLarge()
    return fill(request, allocate(length), take)
  }
  const chunks: Buffer[] = []
  let size = 0
  await consume(request, (chunk) => {
    size += chunk.length
    if (size > maxBytes) throw tooLarge()
    take(chunk.length)
    chunks.push(chunk)
  })
  const body = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

/** What is stated costs nothing before it comes: the memory is taken page by page. */
async function fill(
  request: IncomingMessage,
  body: Uint8Array<ArrayBuffer>,
  take: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  let at = 0
  await consume(request, (chunk) => {
    take(chunk.length)
    body.set(chunk, at)
    at += chunk.length
  })
  return body
}

function consume(request: IncomingMessage, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      request.pause()
      request.removeAllListeners('data')
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      try {
        take(chunk)
      } catch (error) {
        fail(error)
      }
    })
    request.on('end', resolve)
    request.on('error', () => fail(new BodyError(undefined, 'The connection ended inside the body')))
    request.on('close', () => {
      if (!request.complete) fail(new BodyError(undefined, 'The connection ended inside the body'))
    })
  })
}

/** The codes of xtrace's contract, and one of ours for what it has no word for; what clients switch on after the status. */
export type ApiCode =
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'BAD_REQUEST'
  | 'NOT_FOUND'
  | 'TOO_MANY_REQUESTS'
  | 'SERVICE_UNAVAILABLE'
  | 'INTERNAL_ERROR'

export type Headers = Readonly<Record<string, string>>

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Headers = {}): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(text)
}

export function sendError(
  response: ServerResponse,
  status: number,
  code: ApiCode,
  message: string,
  headers: Headers = {},
): void {
  sendJson(response, status, { message, code }, headers)
}

/** The path without the query string. */
export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

const JSON_TYPE: ReturnType<typeof mediaType> = { type: 'application/json', parameters: [] }

/** The media type without parameters, lower case, and its parameters as text. */
export function mediaType(header: string | undefined): { type: string; parameters: readonly string[] } {
  if (header === 'application/json') return JSON_TYPE // so usual that it need not be taken apart
  const [type = '', ...parameters] = (header ?? '').split(';').map((part) => part.trim())
  return { type: type.toLowerCase(), parameters }
}

/** @throws FleetmeterError `FM_CONFIG` when it is not `host:port` */
export function parseListen(listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(listen)
  const port = Number(match?.[3])
  if (match === null || port > 65535)
    throw new FleetmeterError(
      'FM_CONFIG',
      `"${listen}" is not an address to listen on: expected host:port, such as 127.0.0.1:8742`,
    )
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : match[2]!), port }
}
