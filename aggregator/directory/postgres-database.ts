/** A PostgreSQL server, version 13 or later; the only file that imports `pg`. */
import type { PoolClient } from 'pg'
import pg from 'pg'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { OperationalDatabase, Queries, Row } from './database.ts'

/** How long it may take, ms, and how many connections. */
export interface PostgresLimits {
  readonly connections: number
  readonly connectMs: number
  /** The server ends a statement first, and says why; the client only waits longer than that for a server that is gone. */
  readonly statementMs: number
  readonly answerMs: number
  /** Another aggregator that holds a lock for this long is gone. */
  readonly lockMs: number
  readonly idleTransactionMs: number
  /** What is acknowledged survives a crash of the server, whatever its default is. */
  readonly synchronous: boolean
}

const DIRECTORY_LIMITS: PostgresLimits = {
  connections: 4,
  connectMs: 5000,
  statementMs: 15_000,
  answerMs: 20_000,
  lockMs: 10_000,
  idleTransactionMs: 30_000,
  synchronous: false,
}

export class PostgresDatabase implements OperationalDatabase {
  readonly name: string
  readonly shared = true
  readonly unmade = false
  readonly #pool: pg.Pool

  /** @param url as `postgres://user:password@host:5432/name` */
  constructor(url: string, log: Logger, limits: PostgresLimits = DIRECTORY_LIMITS) {
    this.name = `PostgreSQL at ${placeOf(url)}`
    this.#pool = new pg.Pool({
      connectionString: url,
      max: limits.connections,
      connectionTimeoutMillis: limits.connectMs,
      statement_timeout: limits.statementMs,
      query_timeout: limits.answerMs,
      lock_timeout: limits.lockMs,
      idle_in_transaction_session_timeout: limits.idleTransactionMs,
      ...(limits.synchronous ? { options: '-c synchronous_commit=on' } : {}),
      application_name: 'fleetmeter',
      keepAlive: true,
    })
    // Of connections that nobody uses: the next query takes another one.
    this.#pool.on('error', (error) => log.warn({ error: messageOf(error) }, 'a connection to PostgreSQL was lost'))
  }

  async open(): Promise<void> {
    await this.query('SELECT 1')
  }

  async query(sql: string, parameters: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#attempt(async () => (await this.#pool.query(sql, [...parameters])).rows as Row[])
  }

  async transaction<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    const client = await this.#attempt(() => this.#pool.connect())
    let usable = false
    try {
      await this.#ask(client, 'BEGIN')
      const result = await work({ query: (sql, parameters) => this.#ask(client, sql, parameters) })
      await this.#ask(client, 'COMMIT')
      usable = true
      return result
    } catch (error) {
      usable = await client.query('ROLLBACK').then(
        () => true,
        () => false,
      )
      throw error
    } finally {
      client.release(!usable) // one whose state nobody knows is closed
    }
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  #ask(client: PoolClient, sql: string, parameters: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#attempt(async () => (await client.query(sql, [...parameters])).rows as Row[])
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (error) {
      const sqlState = (error as { code?: string }).code
      const refused = error instanceof pg.DatabaseError
      const message = `${this.name} ${refused ? 'refuses a statement' : 'does not answer'}: ${messageOf(error)}`
      throw new FleetmeterError('FM_DATABASE', message, { fields: { ...(refused ? { sqlState } : {}) } })
    }
  }
}

/** Without user and password. */
function placeOf(url: string): string {
  try {
    const { host, pathname } = new URL(url)
    return `${host}${pathname}`
  } catch {
    return 'the address in DATABASE_URL'
  }
}
