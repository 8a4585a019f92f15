/**
 * Our own questions about what is there, all from memory but the names and labels of metrics:
 *
 *     GET /v1/senders          what arrives, from whom, how fresh, what was refused and why
 *     GET /v1/hosts            hosts with their GPUs
 *     GET /v1/overview         both, with charts of the last minutes: what the first page asks
 *     GET /v1/metric_names     names of metrics, by words in them
 *     GET /v1/metric_labels    the labels of one metric, with values
 *
 * Lists come in pages (`limit`, `cursor`). A tenant sees its own; the admin token that names no tenant sees the senders of all.
 */
import type { Context, Hono, MiddlewareHandler } from 'hono'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { hostAnswer, senderAnswer, utc } from './answers.ts'
import { pageOf, readPageQuery } from './cursor.ts'
import { readFleet } from './fleet.ts'
import type { MetricNamesOptions } from './metric-names.ts'
import { MetricNames } from './metric-names.ts'
import { Overview, recentsOf, WINDOW_MS } from './overview.ts'
import { asProblem, badParameters } from './problem.ts'
import type { RecentOptions } from './recent.ts'
import { Recent } from './recent.ts'
import type { SenderRow } from './senders.ts'
import { readSenders } from './senders.ts'
import { lastSteps } from './steps.ts'

export type OverviewOptions = RecentOptions & MetricNamesOptions

/** Who asks. */
export interface Asker {
  readonly tenant: string
  readonly admin: boolean
}

const PATHS = ['/v1/senders', '/v1/hosts', '/v1/overview', '/v1/metric_names', '/v1/metric_labels'] as const
/** The newest figures of a host, of this step. */
const NEWEST_STEP_MS = 30_000

/** Adds the routes. @param entry what every question passes first */
export function addOverviewRoutes<E extends object>(
  app: Hono<E>,
  options: OverviewOptions,
  entry: readonly MiddlewareHandler<E>[],
  askerOf: (c: Context<E>) => Asker,
): void {
  const overview = new Overview(options)
  const metrics = new MetricNames(options)
  for (const path of PATHS) {
    app.use(path, asProblem)
    for (const middleware of entry) app.use(path, middleware)
  }
  const ofAllTenants = (c: Context<E>): boolean => askerOf(c).admin && c.req.header(TENANT_HEADER) === undefined

  app.get('/v1/senders', async (c) => {
    const query = readPageQuery(parametersOf(c))
    if ('field' in query) return badParameters([query])
    const { tenant } = askerOf(c)
    const rows: [string, SenderRow][] = []
    const now = options.now()
    for (const recent of ofAllTenants(c) ? recentsOf(options) : [new Recent(options, tenant)])
      rows.push(...(await readSenders(recent, now - WINDOW_MS)))
    const { data, next_cursor } = pageOf(rows, query)
    return c.json({ data: data.map(senderAnswer), next_cursor, as_of: utc(now) })
  })

  app.get('/v1/hosts', async (c) => {
    const query = readPageQuery(parametersOf(c))
    if ('field' in query) return badParameters([query])
    const recent = new Recent(options, askerOf(c).tenant)
    const { data, next_cursor } = pageOf(
      await readFleet(recent, lastSteps(recent.now, NEWEST_STEP_MS, 2), undefined),
      query,
    )
    return c.json({ data: data.map(hostAnswer), next_cursor, as_of: utc(recent.now) })
  })

  app.get('/v1/overview', async (c) => {
    const { tenant } = askerOf(c)
    const host = parametersOf(c).get('host') ?? undefined
    return c.json(await overview.answer({ tenant, allTenants: ofAllTenants(c), host }))
  })

  app.get('/v1/metric_names', async (c) => {
    const parameters = parametersOf(c)
    const query = readPageQuery(parameters)
    if ('field' in query) return badParameters([query])
    const { names, warnings } = await metrics.names(askerOf(c).tenant, parameters.get('search') ?? '')
    return c.json({ ...pageOf(names, query), total: names.size, warnings })
  })

  app.get('/v1/metric_labels', async (c) => {
    const name = parametersOf(c).get('name')
    if (name === null) return badParameters([{ field: 'name', message: 'required' }])
    return c.json(await metrics.labels(askerOf(c).tenant, name))
  })

  for (const path of PATHS)
    app.all(path, (c) =>
      c.json({ message: `${c.req.method} is not allowed on ${path}: expected GET`, code: 'BAD_REQUEST' }, 405, {
        Allow: 'GET, HEAD',
      }),
    )
}

function parametersOf(c: Context): URLSearchParams {
  return new URL(c.req.url).searchParams
}
