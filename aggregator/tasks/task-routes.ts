/**
 * Tasks, what they used and what they cost:
 *
 *     GET /v1/tasks             filters: user_id, project, department, node, model, state, error_category (or `resource.*`), result, open,
 *                               from, to; limit, cursor
 *     GET /v1/tasks/{task_id}   all attempts with figures, usage, cost, error and what was assumed
 *     GET /v1/usage             sums: group_by, from, to; filters: user_id, project, department, resource; limit, cursor
 *     GET /v1/usage/nodes       what nodes delivered and what was idle: group_by, from, to; filters: node, gpu, gpu_model, vm_type
 *
 * Lists are JSON, or CSV by `Accept: text/csv`, whose next page is named in the header `Link`; usage also as CSV with FOCUS' columns
 * (`format=focus`). A tenant sees its own; the admin token that names no tenant may group usage by tenant and then gets that of all.
 */
import type { Context, Hono, MiddlewareHandler } from 'hono'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { csvLine } from '../directory/csv.ts'
import { utc } from '../overview/answers.ts'
import type { FieldError } from '../overview/cursor.ts'
import { readPageQuery } from '../overview/cursor.ts'
import { asProblem, badParameters } from '../overview/problem.ts'
import type { Asker } from '../overview/routes.ts'
import { attemptAnswer, attemptCells, TASK_COLUMNS } from './attempt-answer.ts'
import { csvPage, readKeys, wantsCsv, writeKeys } from './line-pages.ts'
import type { NodeUsage } from './node-usage.ts'
import { nodeUsageAnswer, nodeUsageCsv } from './node-usage-answer.ts'
import { readNodeUsageFilter } from './node-usage-filter.ts'
import { compareKeys } from './node-usage-sums.ts'
import type { TaskDetailAnswer, TasksAnswer, UsageAnswer } from './task-answers.ts'
import type { TaskChartsOptions } from './task-charts.ts'
import { chartsOf } from './task-charts.ts'
import { taskAttemptAnswer } from './task-detail-answer.ts'
import type { TaskDetails } from './task-details.ts'
import { readTaskFilter } from './task-filter.ts'
import type { TaskQuery } from './task-query.ts'
import { readTaskPlace, writeTaskPlace } from './task-query.ts'
import { focusCsv, usageCsv, usageLineAnswer, usageTotalAnswer } from './usage-answer.ts'
import { readUsageFilter } from './usage-filter.ts'
import type { UsageLine, UsageQuery } from './usage-query.ts'

export interface TaskRoutesOptions {
  readonly tasks: TaskQuery
  readonly usage: UsageQuery
  readonly nodes: NodeUsage
  readonly charts: TaskChartsOptions
  readonly now: () => number
}

const PATHS = ['/v1/tasks', '/v1/tasks/:task_id', '/v1/usage', '/v1/usage/nodes'] as const
const BAD_CURSOR: FieldError = { field: 'cursor', message: 'expected next_cursor of the page before, as it was' }

/** Adds the routes. @param entry what every question passes first */
export function addTaskRoutes<E extends object>(
  app: Hono<E>,
  options: TaskRoutesOptions,
  entry: readonly MiddlewareHandler<E>[],
  askerOf: (c: Context<E>) => Asker,
): void {
  for (const path of PATHS) {
    app.use(path, asProblem)
    for (const middleware of entry) app.use(path, middleware)
  }
  app.get('/v1/tasks', (c) => listTasks(c, options.tasks, askerOf(c).tenant))
  app.get('/v1/tasks/:task_id', (c) => oneTask(c, options, askerOf(c).tenant))
  app.get('/v1/usage', (c) => sumUsage(c, options, askerOf(c)))
  app.get('/v1/usage/nodes', (c) => sumNodes(c, options, askerOf(c).tenant))
  for (const path of PATHS)
    app.all(path, (c) =>
      c.json({ message: `${c.req.method} is not allowed on ${path}: expected GET`, code: 'BAD_REQUEST' }, 405, {
        Allow: 'GET, HEAD',
      }),
    )
}

async function listTasks(c: Context, query: TaskQuery, tenant: string): Promise<Response> {
  const parameters = new URL(c.req.url).searchParams
  const filter = readTaskFilter(parameters)
  const page = readPageQuery(parameters)
  const place = 'field' in page || page.after === undefined ? undefined : readTaskPlace(page.after)
  if ('errors' in filter || 'field' in page || place === 'unknown')
    return badParameters([
      ...('errors' in filter ? filter.errors : []),
      ...('field' in page ? [page] : []),
      ...(place === 'unknown' ? [BAD_CURSOR] : []),
    ])
  const { tasks, next } = await query.list(tenant, filter, place, page.limit)
  const answers = tasks.map(attemptAnswer)
  const cursor = next === undefined ? null : writeTaskPlace(next)
  if (wantsCsv(c)) return csvPage(c, [TASK_COLUMNS, ...answers.map(attemptCells)].map(csvLine).join(''), cursor)
  return c.json({ data: answers, next_cursor: cursor } satisfies TasksAnswer)
}

async function oneTask(c: Context, { tasks, charts, now }: TaskRoutesOptions, tenant: string): Promise<Response> {
  const taskId = c.req.param('task_id') ?? ''
  const found = await tasks.task(tenant, taskId)
  if (found.length === 0)
    return c.json(
      { message: `There is no task ${JSON.stringify(taskId.slice(0, 100))} of this tenant`, code: 'NOT_FOUND' },
      404,
    )
  const attempts = []
  for (const one of found) {
    const details = JSON.parse(one.details) as TaskDetails
    attempts.push(taskAttemptAnswer(one, details, await chartsOf(tenant, details, charts)))
  }
  return c.json({ task_id: taskId, attempts, as_of: utc(now()) } satisfies TaskDetailAnswer)
}

async function sumUsage(c: Context, { usage, now }: TaskRoutesOptions, asker: Asker): Promise<Response> {
  const parameters = new URL(c.req.url).searchParams
  const filter = readUsageFilter(parameters, now())
  const page = readPageQuery(parameters)
  const after = 'errors' in filter || 'field' in page ? undefined : readKeys(page, filter.groups.length + 2)
  if ('errors' in filter || 'field' in page || after === 'unknown')
    return badParameters([
      ...('errors' in filter ? filter.errors : []),
      ...('field' in page ? [page] : []),
      ...(after === 'unknown' ? [BAD_CURSOR] : []),
    ])
  const byTenant = filter.groups.includes('tenant')
  if (byTenant && !asker.admin)
    return c.json({ message: 'group_by=tenant is for the admin token', code: 'FORBIDDEN' }, 403)
  const tenant = byTenant && c.req.header(TENANT_HEADER) === undefined ? undefined : asker.tenant
  const found = await usage.lines(tenant, filter, after, page.limit + 1)
  const lines = found.slice(0, page.limit)
  const cursor = found.length > page.limit ? usageCursor(lines.at(-1)!) : null
  if (filter.format === 'focus') return csvPage(c, focusCsv(filter, tenant, lines), cursor)
  if (filter.format === 'csv' || (filter.format === undefined && wantsCsv(c)))
    return csvPage(c, usageCsv(filter, lines), cursor)
  return c.json({
    from: utc(filter.from),
    to: utc(filter.to),
    group_by: filter.groups,
    data: lines.map((line) => usageLineAnswer(filter, line)),
    next_cursor: cursor,
    totals: (await usage.totals(tenant, filter)).map(usageTotalAnswer),
  } satisfies UsageAnswer)
}

function usageCursor({ keys, resource, currency }: UsageLine): string {
  return writeKeys([...keys, resource, currency])
}

async function sumNodes(c: Context, { nodes, now }: TaskRoutesOptions, tenant: string): Promise<Response> {
  const parameters = new URL(c.req.url).searchParams
  const filter = readNodeUsageFilter(parameters, now())
  const page = readPageQuery(parameters)
  const after = 'errors' in filter || 'field' in page ? undefined : readKeys(page, filter.groups.length + 1)
  if ('errors' in filter || 'field' in page || after === 'unknown')
    return badParameters([
      ...('errors' in filter ? filter.errors : []),
      ...('field' in page ? [page] : []),
      ...(after === 'unknown' ? [BAD_CURSOR] : []),
    ])
  const found = await nodes.find(tenant, filter)
  const rest = found.lines.filter(
    ({ keys, currency }) => after === undefined || compareKeys([...keys, currency], after) > 0,
  )
  const lines = rest.slice(0, page.limit)
  const last = lines.at(-1)
  const cursor = last === undefined || rest.length === lines.length ? null : writeKeys([...last.keys, last.currency])
  if (filter.format === 'csv' || (filter.format === undefined && wantsCsv(c)))
    return csvPage(c, nodeUsageCsv(filter, lines, found.asOf), cursor)
  return c.json(nodeUsageAnswer(filter, found, lines, cursor))
}
