/**
 * A node:http server as a service: JSON errors, a drain that ends.
 *
 * Doors that take samples handle requests directly: a framework's Request and Response objects would cost more than
 * the hand-off itself. Everything else goes through Hono on the same server.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http'
import { createServer, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server as NetServer } from 'node:net'
import { devNull } from 'node:os'
import type { Duplex } from 'node:stream'
import { discardRest } from './discard-rest.ts'
import { remedyOf } from './disk-remedy.ts'
import { FleetmeterError, messageOf } from './errors.ts'
import { pathOf, sendError } from './http-answers.ts'
import type { Logger } from './log.ts'
import { BodyError } from './request-body.ts'
import type { Health, Service } from './service.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

const HEADERS_TIMEOUT_MS = 20_000
const REQUEST_TIMEOUT_MS = 60_000 // a body that trickles in longer than this is cut off
const HEADER_BYTES_MAX = 64 * 1024 // a query's label filter stands in the request line
const READ_BYTES_MAX = 128 * 1024 // twice what comes at once: with less, reading is stopped and begun again for every large body
const KEEP_ALIVE_MS = 65_000 // longer than the idle times of usual proxies, so that the peer closes first

/** How often it is looked whether a connection could be accepted. */
const FILES_LOOK_MS = 500

const STOP_GRACE_MS = 3000
const STOP_LOOK_EVERY_MS = 20

const REQUEST_ID = 'X-Request-Id'

/**
 * Names its request, unless what it is given does: an answer that is passed on has its name from where it was made. A header that is set
 * before the head is written has that take its slow way, so it is added to those that it is given.
 */
class NamedResponse extends ServerResponse {
  requestId = ''

  override writeHead(
    status: number,
    ...rest: (string | OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined)[]
  ): this {
    const given = rest.at(-1)
    if (this.requestId === '') return super.writeHead(status, ...(rest as [string, OutgoingHttpHeaders])) // the runtime answers by itself
    if (Array.isArray(given)) this.setHeader(REQUEST_ID, this.requestId)
    else if (typeof given !== 'object') rest.push([REQUEST_ID, this.requestId])
    else if (!isNamed(given)) rest[rest.length - 1] = named(given, this.requestId)
    return super.writeHead(status, ...(rest as [string, OutgoingHttpHeaders]))
  }
}

/** In one list: what is made of objects with properties that are put in one by one costs several times as much. */
function named(given: OutgoingHttpHeaders, requestId: string): OutgoingHttpHeader[] {
  const headers: OutgoingHttpHeader[] = []
  for (const name in given) {
    const value = given[name]
    if (value !== undefined) headers.push(name, value)
  }
  headers.push(REQUEST_ID, requestId)
  return headers
}

function isNamed(headers: OutgoingHttpHeaders): boolean {
  for (const name in headers)
    if (name.length === REQUEST_ID.length && name.toLowerCase() === REQUEST_ID.toLowerCase()) return true
  return false
}

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
        highWaterMark: READ_BYTES_MAX,
        ServerResponse: NamedResponse,
        requireHostHeader: false, // nothing here depends on it, and the refusal would have no body
      },
      (request, response) => this.#serve(request, response),
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

  /** Not async itself: of small requests there are many. */
  #serve(request: IncomingMessage, response: ServerResponse): void {
    const id = `${this.#idPrefix}-${(++this.#requests).toString(36)}`
    if (response instanceof NamedResponse) response.requestId = id
    else response.setHeader(REQUEST_ID, id) // a runtime that makes its own
    if (this.#stopping) {
      response.setHeader('Connection', 'close')
      sendError(response, 503, 'SERVICE_UNAVAILABLE', 'Shutting down: send this again', { 'Retry-After': '1' })
      return
    }
    try {
      this.#options.handler(request, response)?.catch((error: unknown) => this.#answerFailed(request, response, error))
    } catch (error) {
      this.#answerFailed(request, response, error)
    }
  }

  #answerFailed(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (error instanceof BodyError) {
      if (error.status !== undefined) {
        if (error.status === 503) sendError(response, 503, 'SERVICE_UNAVAILABLE', error.message, { 'Retry-After': '1' })
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
