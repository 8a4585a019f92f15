/**
 * What was counted, from the table `usage`: exact sums for many counters in one query, of rows up to a position of the owner log. Each
 * row is there once (`FINAL`), however often it was inserted.
 *
 * Counters of one level and period are one part of the query: a user's rows lie together in the table, a project's and a department's
 * are looked for among the tenant's rows of the period.
 */

import type { Database, Parameters } from '../store/clickhouse.ts'
import { dateTimeSeconds } from '../store/date-time.ts'
import type { ColdCounter } from './decision.ts'
import type { ExactSum } from './exact-sum.ts'
import type { Level } from './quota.ts'
import type { CountedSlots } from './quotas-fold.ts'
import { sumOfDecimal } from './resource.ts'

/** What says in a row who the subject of a level is. */
const COLUMNS: Readonly<Record<Level, string>> = {
  user: 'user_id',
  project: 'project',
  department: 'department',
  tenant: 'tenant',
}

interface Part {
  readonly level: Level
  /** s since the epoch. */
  readonly from: number
  /** Slots before it are one sum; the same as `from`: each slot by itself. */
  readonly to: number
  readonly counters: ColdCounter[]
}

interface SumRow {
  readonly part: number
  readonly t: string
  readonly s: string
  readonly r: string
  /** s since the epoch. */
  readonly slot: number
  readonly sum: string
}

export class UsageSums {
  readonly #db: Database
  readonly #database: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#database = database
  }

  /**
   * One query for all of them.
   * @param counters without repeats; their names have to fit into the address of a request
   * @param upTo rows of records up to this position count
   * @throws FleetmeterError `FM_STORAGE`
   */
  async of(counters: readonly ColdCounter[], upTo: number): Promise<CountedSlots[]> {
    const parts = partsOf(counters)
    const parameters: Record<string, Parameters[string]> = { upTo }
    for (const [i, { from, to, counters: of }] of parts.entries()) {
      parameters[`from${i}`] = from
      parameters[`to${i}`] = to
      parameters[`t${i}`] = of.map(({ tenant }) => tenant)
      parameters[`s${i}`] = of.map(({ subject }) => subject)
      parameters[`r${i}`] = of.map(({ resource }) => resource)
    }
    const sql = parts.map(({ level }, i) => this.#select(COLUMNS[level], i)).join('\nUNION ALL\n')
    const rows = await this.#db.rows<SumRow>(
      `${sql}\nSETTINGS do_not_merge_across_partitions_select_final = 1`,
      parameters,
    )
    const sums = new Map<string, [number, ExactSum][]>()
    for (const { part, t, s, r, slot, sum } of rows) {
      const key = JSON.stringify([part, t, s, r])
      const slots = sums.get(key) ?? []
      slots.push([slot * 1000, sumOfDecimal(r, sum)])
      sums.set(key, slots)
    }
    return parts.flatMap(({ counters: of }, i) =>
      of.map((counter) => ({
        counter,
        slots: sums.get(JSON.stringify([i, counter.tenant, counter.subject, counter.resource])) ?? [],
      })),
    )
  }

  #select(column: string, i: number): string {
    return `SELECT ${i} AS part, toString(tenant) AS t, toString(subject) AS s, toString(resource) AS r,
        toUnixTimestamp(if(slot < toDateTime({to${i}:UInt32}), toDateTime({from${i}:UInt32}), slot)) AS slot,
        toString(sum(amount)) AS sum
      FROM (
        SELECT tenant, ${column} AS subject, resource, slot, amount FROM ${this.#database}.usage FINAL
        WHERE (tenant, ${column}, resource) IN (
            SELECT names.1, names.2, names.3
            FROM (SELECT arrayJoin(arrayZip({t${i}:Array(String)}, {s${i}:Array(String)}, {r${i}:Array(String)})) AS names)
          ) AND slot >= toDateTime({from${i}:UInt32}) AND n <= {upTo:UInt64}
      )
      GROUP BY t, s, r, slot`
  }
}

function partsOf(counters: readonly ColdCounter[]): Part[] {
  const parts = new Map<string, Part>()
  for (const counter of counters) {
    const { level, period, window } = counter
    const from = dateTimeSeconds(period.from)
    const to = window.kind === 'rolling' ? from : dateTimeSeconds(period.to)
    const key = `${level} ${from} ${to}`
    const part = parts.get(key) ?? { level, from, to, counters: [] }
    part.counters.push(counter)
    parts.set(key, part)
  }
  return [...parts.values()]
}
