/**
 * Slices that collectors hold, for people:
 *
 *     GET  /v1/quota/leases                      those that are held: limit, cursor
 *     POST /v1/quota/leases/{lease}/write_off    of one in doubt: what is left counts as used
 *     POST /v1/quota/leases/{lease}/release      of one in doubt: what is left is free again
 *
 * Looking needs the right `read`, the rest `manage`, and a reason. 409: its collector is heard of, and returns it when it is stopped.
 */
import { Hono } from 'hono'
import type { Access } from '../../proto/runtime/access.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { faulty, Refusal } from '../directory/refusal.ts'
import { utc } from '../overview/answers.ts'
import { cursorBehind } from '../overview/cursor.ts'
import type { LeaseAnswer, LeasesAnswer } from './api.ts'
import type { Lease } from './lease.ts'
import type { LeaseService } from './lease-service.ts'
import { amountsAnswer } from './quota-answers.ts'
import type { Env } from './quota-http.ts'
import { authorized, jsonBody, notAllowed, written } from './quota-http.ts'
import { failureReply } from './quota-reply.ts'
import { readHeldPage, readReason } from './quota-request.ts'

export interface LeaseRoutesOptions {
  readonly leases: LeaseService
  readonly access: Access
  readonly clock: Clock
  readonly log: Logger
}

const LEASES = '/v1/quota/leases'

export function leaseRoutes({ leases, access, clock, log }: LeaseRoutesOptions): Hono<Env> {
  const app = new Hono<Env>()
  app.get(LEASES, authorized(access, 'read'), (c) => {
    const { limit, after } = readHeldPage(new URL(c.req.url).searchParams)
    const found = leases.held(c.get('tenant')).filter(({ n }) => n > after)
    const page = found.slice(0, limit)
    const next = found.length > limit ? cursorBehind(String(page.at(-1)!.n)) : null
    const data = page.map((lease) => leaseAnswer(lease, leases.silentMs(lease)))
    return c.json({ data, next_cursor: next, as_of: utc(clock.now()) } satisfies LeasesAnswer)
  })
  app.all(LEASES, (c) => notAllowed(c, 'GET, HEAD'))

  for (const [what, kind, state] of [
    ['write_off', 'quota.lease.write_off', 'written_off'],
    ['release', 'quota.lease.release', 'released'],
  ] as const) {
    const path = `${LEASES}/:lease/${what}` as const
    app.post(path, authorized(access, 'manage'), async (c) => {
      const given = c.req.param('lease')
      if (!/^[1-9]\d{0,14}$/.test(given)) throw faulty([{ field: 'lease', message: 'expected its number in the path' }])
      const lease = Number(given)
      const by = { reason: readReason(await jsonBody(c)), who: c.get('credential') }
      const outcome = await leases.end(kind, c.get('tenant'), lease, by)
      if (outcome === 'unknown') throw new Refusal(404, 'NOT_FOUND', `There is no lease ${lease} of this tenant`)
      if (outcome === 'conflict')
        throw new Refusal(
          409,
          'CONFLICT',
          `The lease ${lease} is not in doubt: its collector is heard of, or may have been until now, and returns it when it is stopped; or it is held no more. Look again in some seconds`,
        )
      return c.json({ lease, state })
    })
    app.all(path, (c) => notAllowed(c, 'POST'))
  }
  app.onError((error) => written(failureReply(error, log)))
  return app
}

function leaseAnswer({ n, holder, state, body, granted, left }: Lease, silentMs: number | undefined): LeaseAnswer {
  const { userId, project, department } = body.owner
  return {
    lease: n,
    collector: holder.collector,
    state: state === 'doubted' ? 'in_doubt' : 'lent',
    user_id: userId || null,
    project: project || null,
    department: department || null,
    granted: amountsAnswer(granted),
    left: amountsAnswer(left),
    lent_at: utc(body.from),
    heard_of_seconds_ago: silentMs === undefined ? null : Math.round(silentMs) / 1000,
  }
}
