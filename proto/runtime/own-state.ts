/**
 * What every program says of itself: `/healthz` the loop turns, `/readyz` every service is ready, `/metrics` for Prometheus.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access, Networks } from './access.ts'
import { sendError, sendJson } from './http-answers.ts'
import type { Metrics } from './metrics.ts'
import type { Supervisor } from './supervisor.ts'

const PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

export class OwnState {
  readonly #supervisor: () => Supervisor
  readonly #metrics: Metrics
  readonly #access: Access
  readonly #openMetrics: Networks

  /** @param supervisor a function, since the supervisor knows the server that serves this */
  constructor(supervisor: () => Supervisor, metrics: Metrics, access: Access, openMetrics: Networks) {
    this.#supervisor = supervisor
    this.#metrics = metrics
    this.#access = access
    this.#openMetrics = openMetrics
  }

  serves(path: string): boolean {
    return PATHS.has(path)
  }

  async handle(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected GET`, {
        Allow: 'GET, HEAD',
      })
    } else if (path === '/healthz') response.writeHead(200).end()
    else if (path === '/readyz') this.#ready(response)
    else await this.#scrape(request, response)
  }

  #ready(response: ServerResponse): void {
    const { ready, detail, services } = this.#supervisor().health()
    if (ready) sendJson(response, 200, { status: 'ready', services })
    else sendJson(response, 503, { status: 'not_ready', reason: detail, services }, { 'Retry-After': '1' })
  }

  async #scrape(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const caller = this.#access.caller(request.headers.authorization)
    if (
      caller.kind === 'refused' ||
      (caller.kind === 'anonymous' && !this.#openMetrics.has(request.socket.remoteAddress))
    ) {
      sendError(response, 401, 'UNAUTHORIZED', 'Unauthorized')
      return
    }
    if (caller.kind === 'known' && !caller.credential.admin) {
      const { who } = caller.credential
      sendError(response, 403, 'FORBIDDEN', `/metrics is about all tenants: ${who} may not read it, the admin may`)
      return
    }
    response.writeHead(200, { 'Content-Type': this.#metrics.contentType }).end(await this.#metrics.text())
  }
}
