/**
 * `POST /v1/quota/check` on node:http itself: a gateway asks before each request, and Hono with its requests and responses of the web
 * takes more than twice as long as the answer. What is answered is the route's (quota-routes.ts), to the last field.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { pathOf } from '../../proto/runtime/http-answers.ts'
import { BodyError, readBody, readSmallBody } from '../../proto/runtime/request-body.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { Refusal } from '../directory/refusal.ts'
import { parseJson, tooLarge } from '../directory/request-body.ts'
import { BODY_BYTES_MAX, CHECK, permitted } from './gate.ts'
import type { QuotaReply } from './quota-reply.ts'
import { checkReply, failureReply } from './quota-reply.ts'
import type { QuotaRoutesOptions } from './quota-routes.ts'

export class CheckDoor {
  readonly #options: QuotaRoutesOptions

  constructor(options: QuotaRoutesOptions) {
    this.#options = options
  }

  /** Other methods are the routes'. */
  serves(request: IncomingMessage): boolean {
    return request.method === 'POST' && pathOf(request) === CHECK
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { access, underWay } = this.#options
    let started: number | undefined
    try {
      const { headers } = request
      const chosen = headers[TENANT_HEADER] as string | undefined // node:http joins those that come twice
      const { tenant } = permitted(access, 'reserve', headers.authorization, chosen)
      started = underWay.begin()
      const length = Number(headers['content-length'])
      const bytes = await (length <= BODY_BYTES_MAX
        ? readSmallBody(request, length)
        : readBody(request, BODY_BYTES_MAX))
      const body = parseJson(headers['content-type'], bytes)
      const reply = this.#check(body, tenant)
      send(response, reply instanceof Promise ? await reply : reply)
    } catch (error) {
      if (error instanceof BodyError && error.status === undefined) {
        request.destroy() // nobody is left to be answered
        return
      }
      send(response, failureReply(asRefusal(error), this.#options.log))
      discardRest(request)
    } finally {
      if (started !== undefined) underWay.end(started)
    }
  }

  /** At once, where everything is in memory: a promise would cost as much as the decision. */
  #check(body: unknown, tenant: string): QuotaReply | Promise<QuotaReply> {
    const { service, directory, clock, reservedMaxMs, rememberedMs } = this.#options
    return checkReply(service, body, { tenant, directory: directory(), now: clock.now(), reservedMaxMs, rememberedMs })
  }
}

function asRefusal(error: unknown): unknown {
  if (!(error instanceof BodyError)) return error
  return error.status === 413
    ? tooLarge(BODY_BYTES_MAX)
    : new Refusal(error.status ?? 400, 'BAD_REQUEST', error.message)
}

function send(response: ServerResponse, { status, headers, body }: QuotaReply): void {
  const length = Buffer.byteLength(body)
  response.writeHead(status, { 'Content-Length': length, ...headers })
  // What is ASCII is written without being encoded.
  response.end(body, length === body.length ? 'latin1' : 'utf8')
}
