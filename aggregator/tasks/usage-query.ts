/** Sums of what was counted, by any grouping and period: exact, each row of the log once, and what is on its way in waited for. */
import type { Database, Parameters } from '../store/clickhouse.ts'
import { dateTimeSeconds } from '../store/date-time.ts'
import type { UsageFilter, UsageGroup } from './usage-filter.ts'

/** A sum; amounts are decimal numbers in the unit of the resource. */
export interface UsageTotal {
  readonly resource: string
  /** '': nothing says what it costs. */
  readonly currency: string
  readonly amount: string
  readonly unattributed: string
  readonly costMicro: number
}

export interface UsageLine extends Omit<UsageTotal, 'unattributed'> {
  /** A value for each group, in their order; '' where it is not known. */
  readonly keys: readonly string[]
  readonly tasks: number
}

/** `undefined`: all tenants. */
type Tenant = string | undefined

/** By which text a line is of its group. Periods by their beginning. */
const KEYS: Readonly<Record<UsageGroup, string>> = {
  tenant: 'tenant',
  user: 'user_id',
  project: 'project',
  department: 'department',
  model: 'model',
  node: 'node_id',
  resource: 'resource',
  slot: "formatDateTime(slot, '%Y-%m-%dT%H:%i:00Z', 'UTC')",
  hour: "formatDateTime(toStartOfHour(slot), '%Y-%m-%dT%H:00:00Z', 'UTC')",
  day: "formatDateTime(slot, '%Y-%m-%dT00:00:00Z', 'UTC')",
  month: "formatDateTime(slot, '%Y-%m-01T00:00:00Z', 'UTC')",
}
/** All of a row's key follows from its slot's month. */
const FINAL = 'SETTINGS do_not_merge_across_partitions_select_final = 1'

export interface UsageQueryOptions {
  readonly db: Database
  readonly database: string
  /** Resolves when everything that was logged is in ClickHouse. */
  readonly settled: () => Promise<void>
}

export class UsageQuery {
  readonly #options: UsageQueryOptions

  constructor(options: UsageQueryOptions) {
    this.#options = options
  }

  /** In the order of keys, resource, currency. @param after those of the last line of the page before */
  async lines(
    tenant: Tenant,
    filter: UsageFilter,
    after: readonly string[] | undefined,
    limit: number,
  ): Promise<readonly UsageLine[]> {
    await this.#options.settled()
    const keys = [...filter.groups.map((group) => KEYS[group]), 'resource', 'currency']
    const names = keys.map((_, i) => `k${i}`)
    const place = names.map((_, i) => `{after${i}:String}`)
    const rows = await this.#options.db.rows<{ keys: string[]; amount: string; costMicro: string; tasks: string }>(
      `SELECT [${names.join(', ')}] AS keys, toString(sum(used)) AS amount, toString(sum(cost)) AS costMicro, toString(count()) AS tasks
       FROM (
         SELECT ${names.join(', ')}, sum(amount) AS used, sum(cost_micro) AS cost
         FROM (SELECT *, ${keys.map((key, i) => `toString(${key}) AS k${i}`).join(', ')} FROM ${this.#source(tenant, filter)})
         ${after === undefined ? '' : `WHERE (${names.join(', ')}) > (${place.join(', ')})`}
         GROUP BY ${names.join(', ')}, tenant, task_id, attempt
         HAVING used != 0 OR cost != 0 -- what was taken back, as from another user, is none
       )
       GROUP BY ${names.join(', ')} ORDER BY ${names.join(', ')} LIMIT {limit:UInt32} ${FINAL}`,
      {
        ...parametersOf(tenant, filter),
        ...Object.fromEntries((after ?? []).map((key, i) => [`after${i}`, key])),
        limit,
      },
    )
    return rows.map(({ keys: all, amount, costMicro, tasks }) => ({
      keys: all.slice(0, -2),
      resource: all.at(-2)!,
      currency: all.at(-1)!,
      amount,
      costMicro: Number(costMicro),
      tasks: Number(tasks),
    }))
  }

  /** Of the whole period. */
  async totals(tenant: Tenant, filter: UsageFilter): Promise<readonly UsageTotal[]> {
    const rows = await this.#options.db.rows<Omit<UsageTotal, 'costMicro'> & { costMicro: string }>(
      `SELECT r AS resource, c AS currency, toString(sum(a)) AS amount, toString(sumIf(a, u = '')) AS unattributed,
       toString(sum(m)) AS costMicro
       FROM (
         SELECT toString(resource) AS r, toString(currency) AS c, amount AS a, user_id AS u, cost_micro AS m
         FROM ${this.#usage(tenant, filter)}
       )
       GROUP BY r, c HAVING sum(a) != 0 OR sum(m) != 0 ORDER BY r, c ${FINAL}`,
      parametersOf(tenant, filter),
    )
    return rows.map((row) => ({ ...row, costMicro: Number(row.costMicro) }))
  }

  #usage(tenant: Tenant, { equal }: UsageFilter): string {
    const conditions = [
      ...(tenant === undefined ? [] : ['tenant = {tenant:String}']),
      'slot >= toDateTime({from:UInt32}) AND slot < toDateTime({to:UInt32})',
      ...equal.map(([column]) => `${column} = {${column}:String}`),
    ]
    return `${this.#options.database}.usage FINAL WHERE ${conditions.join(' AND ')}`
  }

  /** Model and node are the task's, as it is known now. */
  #source(tenant: Tenant, filter: UsageFilter): string {
    const usage = this.#usage(tenant, filter)
    if (!filter.groups.includes('model') && !filter.groups.includes('node')) return usage
    return `(SELECT * FROM ${usage}) AS counted LEFT JOIN (
      SELECT tenant, task_id, attempt, model, node_id FROM ${this.#options.database}.tasks FINAL
      WHERE (tenant, task_id) IN (SELECT tenant, task_id FROM ${usage})
    ) AS task USING (tenant, task_id, attempt)`
  }
}

function parametersOf(tenant: Tenant, { from, to, equal }: UsageFilter): Parameters {
  return {
    ...(tenant === undefined ? {} : { tenant }),
    from: dateTimeSeconds(from),
    to: dateTimeSeconds(to),
    ...Object.fromEntries(equal),
  }
}
