/**
 * Quotas at the collector's own address:
 *
 *     POST /v1/quota/check, /v1/quota/reservations     decided here where a slice allows it, else passed on as it came
 *     …    /v1/quota/reservations/{id}…                passed on, as soon as an aggregator knows what was decided here
 *
 * Only what is plain and fits is answered here, with `decided_by`. Whatever is wrong with a request, or does not fit, is told by an
 * aggregator: there is one place that refuses.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AskedCheck, AskedReservation, Fault } from '../../proto/quotas/request.ts'
import { readAskedCheck, readAskedReservation } from '../../proto/quotas/request.ts'
import type { Access } from '../../proto/runtime/access.ts'
import { permit } from '../../proto/runtime/access.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { mediaType, sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import { readBody } from '../../proto/runtime/request-body.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import type { PassThrough } from '../receive/pass-through.ts'
import type { CollectorLeases } from './lease-service.ts'
import { checkAnswer, reservationAnswer } from './local-answers.ts'

export interface QuotaDoorsOptions {
  readonly leases: CollectorLeases
  readonly access: Access
  readonly passThrough: PassThrough
  readonly clock: Clock
}

const CHECK = '/v1/quota/check'
const RESERVATIONS = '/v1/quota/reservations'
/** Of one: its id. */
const RESERVATION = /^\/v1\/quota\/reservations\/([^/]+)(?:\/(?:commit|release|extend))?$/
/** A larger one is refused there. */
const BODY_BYTES_MAX = 64 * 1024

export class QuotaDoors {
  readonly #options: QuotaDoorsOptions

  constructor(options: QuotaDoorsOptions) {
    this.#options = options
  }

  serves(path: string): boolean {
    return path === CHECK || path.startsWith(RESERVATIONS)
  }

  async handle(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { passThrough } = this.#options
    const tenant = this.#tenant(request)
    const id = RESERVATION.exec(path)?.[1]
    if (tenant !== undefined && id !== undefined) {
      if (!(await this.#options.leases.reported(tenant, decoded(id)))) {
        request.resume()
        return sendLater(response)
      }
      return passThrough.handle(request, response)
    }
    if (tenant === undefined || request.method !== 'POST' || !isPlain(request) || id !== undefined)
      return passThrough.handle(request, response)
    const body = await readBody(request, BODY_BYTES_MAX)
    const json = jsonOf(body)
    const decided =
      path === CHECK
        ? this.#check(tenant, json, response)
        : path === RESERVATIONS && (await this.#reserve(tenant, json, request, response))
    if (!decided) await passThrough.handle(request, response, body)
  }

  /** @returns whether it was answered */
  #check(tenant: string, json: unknown, response: ServerResponse): boolean {
    const { leases, clock } = this.#options
    const faults: Fault[] = []
    const asked: AskedCheck = readAskedCheck(json, faults)
    if (faults.length > 0 || !leases.check(tenant, asked)) return false
    sendJson(response, 200, checkAnswer(leases.collector, clock.now()))
    return true
  }

  /** @returns whether it was answered */
  async #reserve(tenant: string, json: unknown, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { leases, clock } = this.#options
    const key = request.headers['idempotency-key']
    const faults: Fault[] = []
    const limits = { now: clock.now(), reservedMaxMs: leases.reservedMaxMs }
    const asked: AskedReservation = readAskedReservation(
      json,
      typeof key === 'string' ? key : undefined,
      limits,
      faults,
    )
    if (faults.length > 0) return false
    const outcome = await leases.reserve(tenant, asked)
    if (outcome.kind === 'pass') return false
    if (outcome.kind === 'later') {
      sendLater(response)
      return true
    }
    const { local, repeated } = outcome
    sendJson(response, repeated ? 200 : 201, reservationAnswer(local, leases.collector, clock.now()), {
      Location: `${RESERVATIONS}/${encodeURIComponent(asked.id)}`,
      ...(repeated ? { 'Idempotency-Replayed': 'true' } : {}),
    })
    return true
  }

  /** Undefined: whoever asks is not known here, or may not; that is told by an aggregator. */
  #tenant(request: IncomingMessage): string | undefined {
    const caller = this.#options.access.caller(request.headers.authorization)
    if (caller.kind !== 'known') return undefined
    const header = request.headers[TENANT_HEADER]
    const permitted = permit(caller.credential, 'reserve', Array.isArray(header) ? header.join(',') : header)
    return 'tenant' in permitted ? permitted.tenant : undefined
  }
}

function sendLater(response: ServerResponse): void {
  const reason = 'A reservation was granted here that no aggregator can be told of now: send this again'
  sendError(response, 503, 'SERVICE_UNAVAILABLE', reason, { 'Retry-After': '1' })
}

function isPlain(request: IncomingMessage): boolean {
  const length = Number(request.headers['content-length'] ?? Number.NaN)
  return length <= BODY_BYTES_MAX && mediaType(request.headers['content-type']).type === 'application/json'
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}
