/**
 * Quotas over HTTP; their definitions are a directory, /v1/quotas:
 *
 *     GET  /v1/subjects/{level}/{id}/quotas          how a user, project, department or tenant stands
 *     GET  /v1/subjects/{level}/{id}/reservations    what is set aside for it: limit, cursor
 *     POST /v1/quota/check                           would it fit?
 *     POST /v1/quota/reservations                    set aside, at every level, all or nothing
 *     GET  /v1/quota/reservations/{id}
 *     POST /v1/quota/reservations/{id}/commit        what was used
 *     POST /v1/quota/reservations/{id}/release       nothing was
 *     POST /v1/quota/reservations/{id}/extend        for longer
 *     POST /v1/quota/adjustments                     more or less was used than was counted
 *
 * Looking needs the right `read`, adjusting `manage`, the rest `reserve`. 429: it does not fit, with who refused and what to do. 503: nobody can say, or
 * nothing can be written down now; send it again as it was.
 */

import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono'
import type { Access } from '../../proto/runtime/access.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { faulty, Refusal } from '../directory/refusal.ts'
import { jsonOf, readBody } from '../directory/request-body.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import { utc } from '../overview/answers.ts'
import { cursorBehind } from '../overview/cursor.ts'
import type { SubjectAnswer, SubjectReservationsAnswer } from './api.ts'
import type { UnderWay } from './gate.ts'
import { BODY_BYTES_MAX, CHECK } from './gate.ts'
import type { Level } from './quota.ts'
import { LEVELS } from './quota.ts'
import {
  adjustmentAnswer,
  figureAnswer,
  grantedAnswer,
  openReservationAnswer,
  rateLimitHeaders,
  reservationAnswer,
} from './quota-answers.ts'
import type { Env } from './quota-http.ts'
import { authorized, jsonBody, notAllowed, written } from './quota-http.ts'
import { checkReply, failureReply, problemReply, refusedReply } from './quota-reply.ts'
import type { RequestContext } from './quota-request.ts'
import {
  readAdjustment,
  readCommit,
  readExtension,
  readHeldPage,
  readNothing,
  readReservation,
} from './quota-request.ts'
import type { QuotaService, SettleOutcome } from './quota-service.ts'

export interface QuotaRoutesOptions {
  readonly service: QuotaService
  readonly directory: () => DirectorySnapshot
  readonly access: Access
  /** Longest time that something is set aside for, ms. */
  readonly reservedMaxMs: number
  /** How long ids of reservations are remembered after their end, ms. */
  readonly rememberedMs: number
  readonly clock: Clock
  readonly log: Logger
  readonly underWay: UnderWay
}

type Settle = (tenant: string, id: string, body: unknown) => Promise<SettleOutcome>

const SUBJECT = '/v1/subjects/:level/:id/quotas'
const HELD = '/v1/subjects/:level/:id/reservations'
const RESERVATIONS = '/v1/quota/reservations'
const ADJUSTMENTS = '/v1/quota/adjustments'

export function quotaRoutes(options: QuotaRoutesOptions): Hono<Env> {
  const { service, access, clock, directory, reservedMaxMs, rememberedMs } = options
  const app = new Hono<Env>()
  const reading = authorized(access, 'read')
  const reserving = authorized(access, 'reserve')
  const deciding = timed(options.underWay)
  const contextOf = (c: Context<Env>): RequestContext => ({
    tenant: c.get('tenant'),
    directory: directory(),
    now: clock.now(),
    reservedMaxMs,
    rememberedMs,
  })

  app.get(SUBJECT, reading, async (c) => {
    const level = levelOf(c)
    const subject = subjectOf(c, level)
    const figures = await service.figures({ tenant: c.get('tenant'), level, subject })
    const data = figures.map(figureAnswer)
    const degraded = data.some(({ used }) => used === null)
    const body: SubjectAnswer = { level, subject, data, degraded, as_of: utc(clock.now()) }
    return c.json(body, 200, rateLimitHeaders(figures, clock.now()))
  })

  app.get(HELD, reading, async (c) => {
    const level = levelOf(c)
    const subject = subjectOf(c, level)
    const { limit, after } = readHeldPage(new URL(c.req.url).searchParams)
    const found = await service.openOf({ tenant: c.get('tenant'), level, subject }, after, limit + 1)
    const page = found.slice(0, limit)
    const next = found.length > limit ? cursorBehind(String(page.at(-1)!.n)) : null
    const data = page.map(openReservationAnswer)
    const body: SubjectReservationsAnswer = { level, subject, data, next_cursor: next, as_of: utc(clock.now()) }
    return c.json(body)
  })

  app.post(CHECK, reserving, deciding, async (c) => written(await checkReply(service, await jsonBody(c), contextOf(c))))

  app.post(RESERVATIONS, reserving, deciding, async (c) => {
    const request = readReservation(await jsonBody(c), c.req.header('idempotency-key'), contextOf(c))
    const outcome = await service.reserve(request)
    if (outcome.outcome === 'conflict') throw conflictOf(request.id, outcome)
    const figures = service.figuresOf(request)
    if (outcome.outcome === 'refused') return written(refusedReply(outcome, request, figures, clock.now()))
    const { reservation, repeated } = outcome
    const body = { ...reservationAnswer(reservation), ...grantedAnswer(reservation.said, figures, clock.now()) }
    return c.json(body, repeated ? 200 : 201, {
      ...rateLimitHeaders(figures, clock.now()),
      Location: `${RESERVATIONS}/${encodeURIComponent(reservation.id)}`,
      ...(repeated ? { 'Idempotency-Replayed': 'true' } : {}),
    })
  })

  app.get(`${RESERVATIONS}/:id`, reading, async (c) => {
    const found = await service.reservation(c.get('tenant'), idOf(c))
    if (found === undefined) throw unknown(idOf(c), service.hasLent(c.get('tenant')))
    return c.json(reservationAnswer(found))
  })

  const settle = (what: string, does: (c: Context<Env>) => Settle): void => {
    const path = `${RESERVATIONS}/:id/${what}`
    app.post(path, reserving, deciding, async (c) => {
      const settled = await does(c)(c.get('tenant'), idOf(c), await optionalBody(c))
      if (settled.outcome === 'unknown') throw unknown(idOf(c), service.hasLent(c.get('tenant')))
      const answer = reservationAnswer(settled.reservation)
      if (settled.outcome === 'done') return c.json(answer)
      const detail = `${what}: the reservation ${JSON.stringify(answer.id)} is ${answer.state}${answer.closed_at === null ? '' : ` since ${answer.closed_at}`}`
      return written(problemReply({ status: 409, code: 'CONFLICT', detail }, {}, { reservation: answer }))
    })
    app.all(path, (c) => notAllowed(c, 'POST'))
  }
  settle('commit', () => (tenant, id, body) => service.commit(tenant, id, readCommit(body)))
  settle('release', () => async (tenant, id, body) => {
    readNothing(body)
    return service.release(tenant, id)
  })
  settle('extend', (c) => async (tenant, id, body) => service.extend(tenant, id, readExtension(body, contextOf(c))))

  app.post(ADJUSTMENTS, authorized(access, 'manage'), deciding, async (c) => {
    const key = c.req.header('idempotency-key')
    const body = readAdjustment(await jsonBody(c), key, c.get('credential'), contextOf(c))
    const outcome = await service.adjust(c.get('tenant'), body)
    if (outcome.outcome === 'conflict') throw conflictOf(body.id, { field: 'id' })
    const { adjustment, repeated } = outcome
    return c.json(
      adjustmentAnswer(adjustment),
      repeated ? 200 : 201,
      repeated ? { 'Idempotency-Replayed': 'true' } : {},
    )
  })

  app.all(ADJUSTMENTS, (c) => notAllowed(c, 'POST'))
  app.all(SUBJECT, (c) => notAllowed(c, 'GET, HEAD'))
  app.all(HELD, (c) => notAllowed(c, 'GET, HEAD'))
  app.all(CHECK, (c) => notAllowed(c, 'POST'))
  app.all(RESERVATIONS, (c) => notAllowed(c, 'POST'))
  app.all(`${RESERVATIONS}/:id`, (c) => notAllowed(c, 'GET, HEAD'))
  app.onError((error) => written(failureReply(error, options.log)))
  return app
}

function timed(underWay: UnderWay): MiddlewareHandler {
  return (_, next) => underWay.run(next)
}

/** Some have nothing to say. */
async function optionalBody(c: Context): Promise<unknown> {
  const bytes = await readBody(c, BODY_BYTES_MAX)
  return bytes.length === 0 ? undefined : jsonOf(c, bytes)
}

function levelOf(c: Context): Level {
  const given = c.req.param('level') ?? ''
  const level = LEVELS.find((known) => known === given)
  if (level !== undefined) return level
  throw faulty([{ field: 'level', message: `expected one of ${LEVELS.join(', ')} in the path` }])
}

function subjectOf(c: Context<Env>, level: Level): string {
  const id = idOf(c)
  if (id.length > 256) throw faulty([{ field: 'id', message: 'expected at most 256 characters in the path' }])
  const tenant = c.get('tenant')
  if (level === 'tenant' && id !== tenant)
    throw new Refusal(404, 'NOT_FOUND', `The request is of the tenant "${tenant}": X-Scope-OrgID chooses another`)
  return id
}

function idOf(c: Context): string {
  return c.req.param('id') ?? '' // of routes that have it
}

function unknown(id: string, hasLent: boolean): Refusal {
  const unheard = hasLent ? ', or a collector granted it that is silent since: see GET /v1/quota/leases' : ''
  return new Refusal(
    404,
    'NOT_FOUND',
    `There is no reservation ${JSON.stringify(id.slice(0, 200))} of this tenant, or it was closed too long ago${unheard}`,
  )
}

function conflictOf(id: string, { field, other }: { readonly field: 'id' | 'task'; readonly other?: string }): Refusal {
  const message =
    field === 'id'
      ? `the id ${JSON.stringify(id)} is of another request: a new request needs a new id`
      : `this attempt of the task has the reservation ${JSON.stringify(other)} already: extend or commit that one`
  return faulty([{ field: field === 'id' ? 'id' : 'task_id', message }], 409)
}
