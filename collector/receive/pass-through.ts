/**
 * Every path that the collector does not serve itself goes to the aggregator as it is, streaming both ways, so that one
 * address on the host is all of fleetmeter.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Agent, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { messageOf } from '../../proto/runtime/errors.ts'
import { sendError } from '../../proto/runtime/http-server.ts'

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
const TIMEOUT_MS = 60_000

export class PassThrough {
  readonly #urls: readonly string[]
  readonly #agent = new Agent({ keepAlive: true })

  constructor(urls: readonly string[]) {
    this.#urls = urls
  }

  /** Answers what the aggregator answers, or 503 when it cannot be reached. */
  handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? ''
    if (!path.startsWith('/')) {
      // An absolute URL in the request line would make us a proxy to anywhere.
      incoming.resume()
      sendError(response, 400, 'BAD_REQUEST', 'The request target must be a path')
      return Promise.resolve()
    }
    const base = new URL(this.#urls[0]!)
    const secure = base.protocol === 'https:'
    return new Promise((resolve) => {
      const outgoing = (secure ? httpsRequest : httpRequest)({
        protocol: base.protocol,
        hostname: base.hostname,
        port: base.port,
        path,
        method: incoming.method,
        headers: withoutHops(incoming.headers),
        timeout: TIMEOUT_MS,
        ...(secure ? {} : { agent: this.#agent }),
      })
      outgoing.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers))
        answer.pipe(response)
        answer.on('error', () => response.destroy())
      })
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
      outgoing.on('error', (error) => {
        incoming.unpipe(outgoing)
        incoming.resume()
        if (response.headersSent) response.destroy()
        else
          sendError(
            response,
            503,
            'SERVICE_UNAVAILABLE',
            `The aggregator at ${base.origin} cannot be reached: ${messageOf(error)}`,
            { 'Retry-After': '1' },
          )
        resolve()
      })
      response.on('close', () => {
        outgoing.destroy()
        resolve()
      })
      incoming.pipe(outgoing)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

function withoutHops(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = new Set((headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase()))
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name)))
}
