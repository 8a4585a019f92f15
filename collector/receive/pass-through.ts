/**
 * Every path that the collector does not serve itself goes to the aggregator as it is, streaming both ways, so that one
 * address on the host is all of fleetmeter.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Agent, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { messageOf } from '../../proto/runtime/errors.ts'
import { sendError } from '../../proto/runtime/http-answers.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'

/** Headers that belong to one connection, not to the message. @see RFC 9110, 7.6.1 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'expect',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
const KEPT: ReadonlySet<string> = new Set(['authorization', 'content-length', 'content-type', 'host', TENANT_HEADER])
const TIMEOUT_MS = 60_000

/** Methods whose bodies mean nothing: one that comes is not passed on. */
const NO_BODY: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'OPTIONS'])

export class PassThrough {
  readonly #urls: readonly string[]
  readonly #agent = new Agent({ keepAlive: true })
  /** The one that answered last. */
  #target = 0

  constructor(urls: readonly string[]) {
    this.#urls = urls
  }

  /**
   * Answers what the first aggregator that can be reached answers, or 503. A body is sent once, to the one tried first.
   * @param body of a request whose body was read already
   */
  async handle(incoming: IncomingMessage, response: ServerResponse, body?: Uint8Array): Promise<void> {
    const path = incoming.url ?? ''
    if (!path.startsWith('/')) {
      // An absolute URL in the request line would make us a proxy to anywhere.
      incoming.resume()
      sendError(response, 400, 'BAD_REQUEST', 'The request target must be a path')
      return
    }
    const attempts = NO_BODY.has(incoming.method) ? this.#urls.length : 1
    let problem = ''
    for (let attempt = 0; attempt < attempts; attempt++) {
      const base = new URL(this.#urls[this.#target]!)
      const failure = await this.#forward(base, path, incoming, response, body)
      if (failure === undefined) return
      problem = `The aggregator at ${base.origin} cannot be reached: ${failure}`
      this.#target = (this.#target + 1) % this.#urls.length
    }
    incoming.resume()
    sendError(response, 503, 'SERVICE_UNAVAILABLE', problem, { 'Retry-After': '1' })
  }

  /** @returns why there is no answer; undefined when there was one, or nobody waits for it any more */
  #forward(
    base: URL,
    path: string,
    incoming: IncomingMessage,
    response: ServerResponse,
    body: Uint8Array | undefined,
  ): Promise<string | undefined> {
    const secure = base.protocol === 'https:'
    return new Promise((resolve) => {
      const outgoing = (secure ? httpsRequest : httpRequest)({
        protocol: base.protocol,
        hostname: base.hostname,
        port: base.port,
        path,
        method: incoming.method,
        headers: requestHeaders(incoming),
        timeout: TIMEOUT_MS,
        ...(secure ? {} : { agent: this.#agent }),
      })
      const left = (): void => {
        outgoing.destroy()
        resolve(undefined)
      }
      outgoing.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers))
        answer.pipe(response)
        answer.on('error', () => response.destroy())
      })
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
      outgoing.on('error', (error) => {
        incoming.unpipe(outgoing)
        response.off('close', left)
        if (response.headersSent) response.destroy()
        resolve(response.headersSent ? undefined : messageOf(error))
      })
      response.once('close', left)
      if (NO_BODY.has(incoming.method)) {
        incoming.resume()
        outgoing.end()
      } else if (body !== undefined) outgoing.end(body)
      else incoming.pipe(outgoing)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

/**
 * The headers of a request as they are passed on. How long its body is must be as plain to the aggregator as it is to us: what
 * it took for the next request would be answered to somebody else.
 */
function requestHeaders(incoming: IncomingMessage): IncomingHttpHeaders {
  const headers = withoutHops(incoming.headers)
  delete headers['content-length']
  if (NO_BODY.has(incoming.method)) return headers
  const length = incoming.headers['content-length']
  // Node chunks by itself only for some methods.
  return length === undefined
    ? { ...headers, 'transfer-encoding': 'chunked' }
    : { ...headers, 'content-length': length }
}

/** Headers without those of the connection, nor those that it names; what frames, routes or proves cannot be named away. */
function withoutHops(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()))
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && (KEPT.has(name) || !named.has(name))),
  )
}
