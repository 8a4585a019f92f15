/** Tasks that have left memory, from their rows in ClickHouse. */
import type { Database, Parameters } from '../store/clickhouse.ts'
import type { ArchivedAttempt, SweptArchive } from './archive-sweep.ts'
import type { LedgerMemory, SweepPlace } from './task-decision.ts'
import type { TaskDetails } from './task-details.ts'
import { VOID_STATE } from './task-details.ts'
import type { TaskArchive } from './tasks-service.ts'

/** The newest row of a task has all of it: the memory is the same in each attempt's. */
const NEWEST = 'argMax(details, n) AS newest'

export class StoredTasks implements TaskArchive, SweptArchive {
  readonly #db: Database
  readonly #database: string
  readonly #storedUpTo: () => number

  /** @param storedUpTo rows of log positions up to here are in */
  constructor(db: Database, database: string, storedUpTo: () => number) {
    this.#db = db
    this.#database = database
    this.#storedUpTo = storedUpTo
  }

  async load(tenant: string, taskId: string): Promise<LedgerMemory | undefined> {
    const [memory] = await this.#read('tenant = {tenant:String} AND task_id = {task:String}', { tenant, task: taskId })
    return memory
  }

  onNode(tenant: string, node: string, from: number, to: number): Promise<readonly LedgerMemory[]> {
    const span = `started < ${timeSql(to)} AND (ended > ${timeSql(from)} OR ended = ${timeSql(0)})`
    const tasks = `SELECT task_id FROM ${this.#database}.tasks FINAL WHERE tenant = {tenant:String} AND node_id = {node:String} AND started > ${timeSql(0)} AND ${span}`
    return this.#read(`tenant = {tenant:String} AND task_id IN (${tasks})`, { tenant, node })
  }

  loadAll(tenant: string, taskIds: readonly string[]): Promise<readonly LedgerMemory[]> {
    return this.#read('tenant = {tenant:String} AND task_id IN {ids:Array(String)}', { tenant, ids: taskIds })
  }

  /** In the order of the table, so that no more is read than is given. */
  async after(place: SweepPlace, since: number, max: number): Promise<readonly ArchivedAttempt[]> {
    const rows = await this.#db.rows<Omit<ArchivedAttempt, 'to'> & { readonly until: string }>(
      `SELECT tenant, task_id AS taskId, attempt, user_id AS userId, arrayConcat([node_id], node_names) AS names,
         toUnixTimestamp64Milli(ended) AS until FROM ${this.#behind(since)} ORDER BY tenant, task_id, attempt LIMIT {max:UInt32}`,
      { ...placeOf(place), max },
    )
    return rows.map(({ until, ...row }) => ({ ...row, to: Number(until) || Number.POSITIVE_INFINITY }))
  }

  async countAfter(place: SweepPlace, since: number): Promise<number> {
    const [row] = await this.#db.rows<{ count: string }>(
      `SELECT count() AS count FROM ${this.#behind(since)}`,
      placeOf(place),
    )
    return Number(row?.count ?? 0)
  }

  isStored(n: number): boolean {
    return n <= this.#storedUpTo()
  }

  #behind(since: number): string {
    return `${this.#database}.tasks FINAL WHERE (tenant, task_id, attempt) > ({tenant:String}, {task:String}, {attempt:UInt32})
      AND state != '${VOID_STATE}' AND (ended >= ${timeSql(since)} OR ended = ${timeSql(0)})`
  }

  async #read(where: string, parameters: Parameters): Promise<LedgerMemory[]> {
    const rows = await this.#db.rows<{ newest: string }>(
      `SELECT ${NEWEST} FROM ${this.#database}.tasks WHERE ${where} GROUP BY task_id`,
      parameters,
    )
    return rows.flatMap(({ newest }) => (JSON.parse(newest) as TaskDetails).memory ?? [])
  }
}

const placeOf = ([tenant, task, attempt]: SweepPlace): Parameters => ({ tenant, task, attempt })

/** What a column of times can hold: a window without an end is one to the end of 2299. */
const TIME_MAX_MS = Date.UTC(2299, 11, 31)

function timeSql(ms: number): string {
  return `fromUnixTimestamp64Milli(toInt64(${Math.floor(Math.min(Math.max(ms, 0), TIME_MAX_MS))}), 'UTC')`
}
