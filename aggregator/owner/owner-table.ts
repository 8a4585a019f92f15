/**
 * Who owns the log in PostgreSQL: one row, changed by whoever takes it over. Timing, by the database's clock alone, decides only when
 * somebody else may; what keeps two apart is the generation, which each append asks for in its own statement.
 *
 * One partition: all tenants have one owner.
 */
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { OperationalDatabase, Queries } from '../directory/database.ts'
import type { PostgresLimits } from '../directory/postgres-database.ts'

/** All tenants are of this one. */
export const PARTITION = 0
/** An owner that was not heard from for so long may be replaced, s. */
const TERM_S = 10
/** Of several aggregators that start at once, one makes the tables. Any number, the same in all of them. */
const LOCK = 5_027_432

/** Shorter than the term: who cannot reach the database learns it in time. */
export const OWNER_LIMITS: PostgresLimits = {
  connections: 4,
  connectMs: 2000,
  statementMs: 5000,
  answerMs: 6000,
  lockMs: 3000,
  idleTransactionMs: 5000,
  synchronous: true,
}

/**
 * What a statement of the owner alone begins with; $1 is the partition, $2 the generation. Nothing of it happens where the row `mine` is
 * missing. Who takes over meanwhile waits for the statement's end, or the statement for him, and then finds another generation.
 */
export const MINE = 'mine AS (SELECT 1 FROM owner WHERE partition = $1 AND gen = $2 FOR SHARE)'

/** Who the owner is, as the row has it. */
export interface OwnerRow {
  readonly generation: number
  /** Random, of a process. */
  readonly holder: string
  /** Where others reach it, as `http://host:port`. */
  readonly address: string
  /** It was heard from within its term. */
  readonly alive: boolean
}

/** Columns that statements name, by table. */
const COLUMNS = {
  owner: 'partition, gen, holder, address, beat',
  owner_log: 'partition, n, gen, kind, tenant, key, at, body',
  owner_files: 'partition, name, content',
}
const UNDEFINED_COLUMN = '42703'

/**
 * Makes the tables where they are missing.
 * @throws FleetmeterError `FM_DATABASE`; `FM_CONFIG` where tables of these names are something else
 */
export async function makeOwnerTables(database: OperationalDatabase): Promise<void> {
  await database.transaction(async ({ query }) => {
    await query(`SELECT pg_advisory_xact_lock(${LOCK})`)
    await query(`CREATE TABLE IF NOT EXISTS owner (partition integer PRIMARY KEY, gen bigint NOT NULL, holder text NOT NULL,
      address text NOT NULL, beat timestamptz NOT NULL)`)
    await query(`CREATE TABLE IF NOT EXISTS owner_log (partition integer NOT NULL, n bigint NOT NULL, gen bigint NOT NULL, kind text NOT NULL,
      tenant text NOT NULL, key text NOT NULL, at bigint NOT NULL, body text NOT NULL, PRIMARY KEY (partition, n))`)
    await query(`CREATE TABLE IF NOT EXISTS owner_files (partition integer NOT NULL, name text NOT NULL, content bytea NOT NULL,
      PRIMARY KEY (partition, name))`)
  })
  for (const [table, columns] of Object.entries(COLUMNS))
    await database.query(`SELECT ${columns} FROM ${table} LIMIT 0`).catch((error: unknown) => {
      if (!(error instanceof FleetmeterError) || error.fields['sqlState'] !== UNDEFINED_COLUMN) throw error
      throw new FleetmeterError(
        'FM_CONFIG',
        `${database.name} has a table "${table}" that is not this program's, or is of another version of it (${messageOf(error)}): give it a database of its own in database_url (DATABASE_URL)`,
      )
    })
}

export class OwnerTable {
  readonly #queries: Queries
  readonly #holder: string

  /** @param holder of this process and no other */
  constructor(queries: Queries, holder: string) {
    this.#queries = queries
    this.#holder = holder
  }

  /** Takes over where nobody is, or nobody was heard from. @returns the generation of this term; undefined: another one is the owner */
  async claim(address: string): Promise<number | undefined> {
    const [row] = await this.#queries.query(
      `INSERT INTO owner AS o (partition, gen, holder, address, beat) VALUES ($1, 1, $2, $3, clock_timestamp())
       ON CONFLICT (partition) DO UPDATE SET gen = o.gen + 1, holder = $2, address = $3, beat = clock_timestamp()
       WHERE o.beat < clock_timestamp() - interval '${TERM_S} seconds' RETURNING gen`,
      [PARTITION, this.#holder, address],
    )
    return row === undefined ? undefined : Number(row['gen'])
  }

  /** Says that the owner is there. @returns whether it is this one still */
  async beat(generation: number): Promise<boolean> {
    const rows = await this.#queries.query(
      'UPDATE owner SET beat = clock_timestamp() WHERE partition = $1 AND gen = $2 RETURNING 1',
      [PARTITION, generation],
    )
    return rows.length > 0
  }

  /** The next one may take over at once. */
  async resign(generation: number): Promise<void> {
    await this.#queries.query(`UPDATE owner SET beat = '-infinity' WHERE partition = $1 AND gen = $2`, [
      PARTITION,
      generation,
    ])
  }

  /** @returns undefined where nobody ever was */
  async read(): Promise<OwnerRow | undefined> {
    const [row] = await this.#queries.query(
      `SELECT gen, holder, address, beat >= clock_timestamp() - interval '${TERM_S} seconds' AS alive FROM owner WHERE partition = $1`,
      [PARTITION],
    )
    if (row === undefined) return undefined
    return {
      generation: Number(row['gen']),
      holder: String(row['holder']),
      address: String(row['address']),
      alive: row['alive'] === true,
    }
  }
}
