/** The aggregator's questions over HTTP: who may ask, how often, and every failure as JSON. */
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Access } from '../../proto/runtime/access.ts'
import { permit } from '../../proto/runtime/access.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { ApiCode } from '../../proto/runtime/http-answers.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { compareUtf8 } from '../../proto/wire/labels.ts'
import { formatRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { EventRoutesOptions } from '../events/event-routes.ts'
import { addEventRoutes } from '../events/event-routes.ts'
import type { Asker, OverviewOptions } from '../overview/routes.ts'
import { addOverviewRoutes } from '../overview/routes.ts'
import type { PrometheusOptions } from '../prometheus/routes.ts'
import { addPrometheusRoutes } from '../prometheus/routes.ts'
import type { TaskRoutesOptions } from '../tasks/task-routes.ts'
import { addTaskRoutes } from '../tasks/task-routes.ts'
import { metricAnswer } from './answer.ts'
import type { Limiter } from './limiter.ts'
import type { MetricQueryContext } from './metric-query.ts'
import { QueryTooLarge, QueryUnavailable, runMetricQuery } from './metric-query.ts'
import { readMetricQuery } from './parameters.ts'

export interface QueryRoutesOptions {
  readonly access: Access
  readonly limiter: Limiter
  readonly context: MetricQueryContext
  readonly prometheus: PrometheusOptions
  readonly overview: OverviewOptions
  readonly events: EventRoutesOptions
  readonly tasks: TaskRoutesOptions
  readonly seriesDefault: number
  readonly seriesMax: number
  readonly pointsMax: number
  /** Why questions cannot be answered yet; undefined when they can. */
  readonly notReady: () => string | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly observe: (seconds: number) => void
}

/** Who asks, and of which tenant the answer is. */
type Env = { Variables: { credential: string; tenant: string; admin: boolean } }

export function queryRoutes(options: QueryRoutesOptions): Hono<Env> {
  const app = new Hono<Env>()
  const authorized = requireReader(options.access)
  const limited = limit(options.limiter)
  const ready = requireReady(options.notReady)

  app.get('/api/public/metrics/query', authorized, limited, ready, async (c) => {
    const started = performance.now()
    const query = readMetricQuery(new URL(c.req.url).searchParams, options.clock.now())
    if (typeof query === 'string') return failure(c, 400, 'BAD_REQUEST', query)
    const series = Math.min(query.limit ?? options.seriesDefault, options.seriesMax)
    const result = await runMetricQuery(options.context, c.get('tenant'), query, series)
    const answer = await metricAnswer(query, result, options.pointsMax)
    options.observe((performance.now() - started) / 1000)
    return c.body(answer, 200, { 'Content-Type': 'application/json' })
  })

  app.get('/api/public/metrics/names', authorized, limited, ready, async (c) => {
    const { registry, stored, storedProblem } = options.context
    const problem = storedProblem()
    if (problem !== undefined) throw new QueryUnavailable(problem)
    const tenant = c.get('tenant')
    const names = new Set([...registry.names(tenant), ...(await stored.names(tenant))])
    return c.json({ data: [...names].sort(compareUtf8) })
  })

  addPrometheusRoutes(app, options.prometheus, [authorized, limited, ready], (c) => c.get('tenant'))
  const askerOf = (c: Context<Env>): Asker => ({ tenant: c.get('tenant'), admin: c.get('admin') })
  addOverviewRoutes(app, options.overview, [authorized, limited, ready], askerOf)
  addEventRoutes(app, options.events, [authorized, limited, ready], (c) => c.get('tenant'))
  addTaskRoutes(app, options.tasks, [authorized, limited, ready], askerOf)

  // About all callers.
  app.get('/api/internal/rate_limit_stats', requireAdmin(options.access), (c) => {
    const { allowed, rejected } = options.limiter.counts
    const total = allowed + rejected
    return c.json({
      rate_limit_qps: options.limiter.perSecond,
      rate_limit_burst: options.limiter.burst,
      total_allowed: allowed,
      total_rejected: rejected,
      rejection_rate: total === 0 ? 0 : rejected / total,
      top_rejected_tokens: options.limiter.rejectedBy.map(({ credential, count }) => ({ token: credential, count })),
    })
  })

  app.all('/api/public/metrics/query', authorized, onlyGet)
  app.all('/api/public/metrics/names', authorized, onlyGet)
  app.all('/api/internal/rate_limit_stats', authorized, onlyGet)

  app.notFound((c) => failure(c, 404, 'NOT_FOUND', `There is nothing at ${c.req.path}`))
  app.onError((error, c) => {
    if (error instanceof QueryTooLarge) return failure(c, 400, 'BAD_REQUEST', error.message)
    if (error instanceof QueryUnavailable || isPassing(error)) {
      options.log.warn({ path: c.req.path, error: messageOf(error) }, 'query cannot be answered now')
      return failure(
        c,
        503,
        'SERVICE_UNAVAILABLE',
        `What is stored cannot be read at the moment: ${messageOf(error)}`,
        {
          'Retry-After': '1',
        },
      )
    }
    options.log.error({ path: c.req.path, error: messageOf(error), stack: error.stack }, 'query failed')
    return failure(c, 500, 'INTERNAL_ERROR', 'Internal Error')
  })
  return app
}

/** ClickHouse is away or overloaded; a statement that it refuses is our bug and no matter of waiting. */
function isPassing(error: unknown): boolean {
  return error instanceof FleetmeterError && error.retryable && error.fields['refusedWith'] === undefined
}

function requireReader(access: Access): MiddlewareHandler<Env> {
  return async (c, next) => {
    const caller = access.caller(c.req.header('authorization'))
    if (caller.kind !== 'known') return failure(c, 401, 'UNAUTHORIZED', 'Unauthorized')
    const permitted = permit(caller.credential, 'read', c.req.header(TENANT_HEADER))
    if ('status' in permitted)
      return failure(c, permitted.status, permitted.status === 403 ? 'FORBIDDEN' : 'BAD_REQUEST', permitted.reason)
    c.set('credential', caller.credential.id)
    c.set('tenant', permitted.tenant)
    c.set('admin', caller.credential.admin)
    return next()
  }
}

function requireAdmin(access: Access): MiddlewareHandler<Env> {
  return async (c, next) => {
    const caller = access.caller(c.req.header('authorization'))
    if (caller.kind !== 'known') return failure(c, 401, 'UNAUTHORIZED', 'Unauthorized')
    if (caller.credential.admin) return next()
    const { who } = caller.credential
    return failure(c, 403, 'FORBIDDEN', `${c.req.path} is about all callers: ${who} may not read it, the admin may`)
  }
}

function limit(limiter: Limiter): MiddlewareHandler<Env> {
  return async (c, next) => {
    const permit = limiter.take(c.get('credential'))
    if (permit.allowed) return next()
    const body = {
      message: 'Too Many Requests',
      code: 'TOO_MANY_REQUESTS',
      data: null,
      meta: { rate_limit: { remaining: 0, reset_at: formatRfc3339(Math.ceil(Date.now() + permit.waitMs)) } },
    }
    return c.json(body, 429, { 'Retry-After': String(Math.max(1, Math.ceil(permit.waitMs / 1000))) })
  }
}

/** After a start, memory must be whole before anybody is told how fresh a series is. */
function requireReady(notReady: () => string | undefined): MiddlewareHandler<Env> {
  return async (c, next) => {
    const reason = notReady()
    return reason === undefined ? next() : failure(c, 503, 'SERVICE_UNAVAILABLE', reason, { 'Retry-After': '1' })
  }
}

function onlyGet(c: Context): Response {
  return failure(c, 405, 'BAD_REQUEST', `${c.req.method} is not allowed on ${c.req.path}: expected GET`, {
    Allow: 'GET, HEAD',
  })
}

function failure(
  c: Context,
  status: ContentfulStatusCode,
  code: ApiCode,
  message: string,
  headers: Record<string, string> = {},
): Response {
  return c.json({ message, code }, status, headers)
}
