/** Owner logs in a real PostgreSQL, one after the other or two at once, and a connection that breaks where a test says. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { OperationalDatabase, Queries } from '../../aggregator/directory/database.ts'
import { PostgresDatabase } from '../../aggregator/directory/postgres-database.ts'
import { makeOwnerTables, OWNER_LIMITS, OwnerTable } from '../../aggregator/owner/owner-table.ts'
import { PostgresLog } from '../../aggregator/owner/postgres-log.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { silentLogger } from '../../proto/runtime/log.ts'

/**
 * Of the next statement that appends: `before` it does not arrive; `after` its answer does not; `during` it is still at work when the
 * connection breaks; `refused` the server says no.
 */
export type ConnectionFault = 'before' | 'after' | 'during' | 'refused'

/** Queries whose appends fail where they are told to. */
export class FlakyQueries implements Queries {
  readonly #database: Queries
  fault: ConnectionFault | undefined
  /** Statements that go on though nobody waits for them. */
  left: Promise<unknown> = Promise.resolve()

  constructor(database: Queries) {
    this.#database = database
  }

  async query(sql: string, parameters?: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { fault } = this
    if (fault === undefined || !sql.includes('INSERT INTO owner_log')) return this.#database.query(sql, parameters)
    this.fault = undefined
    if (fault === 'refused') throw new FleetmeterError('FM_DATABASE', 'disk full', { fields: { sqlState: '53100' } })
    if (fault !== 'before') {
      const answer = this.#database.query(sql, parameters)
      this.left = answer.catch(() => {})
      if (fault === 'after') await this.left
    }
    throw new FleetmeterError('FM_DATABASE', 'the connection broke')
  }
}

/** A database with the owner's tables, empty. */
export async function ownerDatabase(
  t: { after(f: () => Promise<void>): void },
  url: string,
): Promise<OperationalDatabase> {
  const database = new PostgresDatabase(url, silentLogger, OWNER_LIMITS)
  t.after(() => database.close())
  await makeOwnerTables(database)
  return database
}

/** As if nobody had ever owned anything. */
export async function emptied(database: Queries): Promise<void> {
  for (const table of ['owner', 'owner_log', 'owner_files']) await database.query(`TRUNCATE ${table}`)
}

export interface OpenOptions {
  readonly floor?: number
  readonly holdMs?: number
  readonly lost?: (why: string) => void
}

/** Takes over, whoever was there, as when his term had run out; then opens the log. */
export async function takeOver(
  database: Queries,
  queries: Queries = database,
  options: OpenOptions = {},
): Promise<PostgresLog> {
  const { floor = 0, holdMs = 10_000, lost = () => {} } = options
  await database.query(`UPDATE owner SET beat = '-infinity'`)
  const generation = await new OwnerTable(database, 'a test').claim('http://127.0.0.1:1')
  if (generation === undefined) throw new Error('somebody else was faster')
  const log = new PostgresLog({
    queries,
    generation,
    lost,
    holdMs,
    monotonic: () => performance.now(),
    log: silentLogger,
  })
  await log.open(floor, floor)
  return log
}

/** Waits until so many statements wait for a lock. */
export async function waitingForLocks(database: Queries, count: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const [row] = await database.query(`SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)
    if (Number(row!['n']) >= count) return
    await sleep(10)
  }
  throw new Error('nobody waits for a lock')
}
