/**
 * ClickHouse, embedded or a server, through the same client; the only file that imports `@clickhouse/client`.
 *
 * Every failure becomes `FM_STORAGE`, which says "later it may work": a statement that is wrong is our bug, and it is better
 * that rows wait for a new version than that they are given up.
 */
import { Readable } from 'node:stream'
import type { ClickHouseClient } from '@clickhouse/client'
import { ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { FleetmeterError } from '../../proto/runtime/errors.ts'

export interface Endpoint {
  readonly url: string
  readonly username: string
  readonly password: string
}

export type Parameters = Readonly<Record<string, string | number | readonly string[] | readonly number[]>>

/** What the product asks of a database. Values only go in as parameters. */
export interface Database {
  /** A statement without a result. */
  command(sql: string, parameters?: Parameters): Promise<void>
  /** The same, for work on a table that may take long. */
  maintain(sql: string): Promise<void>
  /** Inserts blocks in the Native format. @param columns names, in the order of the blocks */
  insert(table: string, columns: readonly string[], blocks: readonly Uint8Array[]): Promise<void>
  /** Rows as objects. 64-bit and larger integers come as strings. */
  rows<T>(sql: string, parameters?: Parameters): Promise<T[]>
  /** The result in a format, as it comes. */
  stream(sql: string, format: 'RowBinary' | 'JSONEachRow', parameters?: Parameters): AsyncIterable<Buffer>
}

const REQUEST_TIMEOUT_MS = 60_000
const MAINTENANCE_TIMEOUT_MS = 3_600_000
const QUERY_SECONDS_MAX = 30
/** Ids of a million series may stand in a statement. A statement cannot set this itself: it is what reading it takes. */
const STATEMENT_BYTES_MAX = 100_000_000

export class ClickHouse implements Database {
  #client: ClickHouseClient | undefined
  #patient: ClickHouseClient | undefined

  /** Uses this endpoint from now on. */
  connect(endpoint: Endpoint): void {
    void this.close()
    this.#client = newClient(endpoint, REQUEST_TIMEOUT_MS)
    this.#patient = newClient(endpoint, MAINTENANCE_TIMEOUT_MS)
  }

  async command(sql: string, parameters: Parameters = {}): Promise<void> {
    await this.#run(sql, (client) => client.command({ query: sql, query_params: { ...parameters } }))
  }

  async maintain(sql: string): Promise<void> {
    await this.#run(sql, () => this.#patient!.command({ query: sql }))
  }

  async insert(table: string, columns: readonly string[], blocks: readonly Uint8Array[]): Promise<void> {
    const query = `INSERT INTO ${table} (${columns.join(', ')}) FORMAT Native`
    await this.#run(query, async (client) => {
      const { stream } = await client.exec({
        query,
        values: Readable.from(blocks, { objectMode: false }),
        // Old samples of a year may come in one insert; splitting them would cost more than the parts do.
        clickhouse_settings: { optimize_on_insert: 0, max_partitions_per_insert_block: '0' },
      })
      for await (const _ of stream) {
        // An insert answers nothing; reading to the end is what tells that it went through.
      }
    })
  }

  async rows<T>(sql: string, parameters: Parameters = {}): Promise<T[]> {
    return this.#run(sql, async (client) => {
      const result = await client.query({
        query: sql,
        format: 'JSONEachRow',
        query_params: { ...parameters },
        clickhouse_settings: { max_execution_time: QUERY_SECONDS_MAX },
      })
      return result.json<T>()
    })
  }

  async *stream(sql: string, format: 'RowBinary' | 'JSONEachRow', parameters: Parameters = {}): AsyncIterable<Buffer> {
    const query = `${sql} FORMAT ${format}`
    const { stream } = await this.#run(query, (client) => client.exec({ query, query_params: { ...parameters } }))
    try {
      for await (const chunk of stream) yield chunk as Buffer
    } catch (error) {
      throw storageError(query, error)
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#client?.close(), this.#patient?.close()])
  }

  async #run<T>(sql: string, call: (client: ClickHouseClient) => Promise<T>): Promise<T> {
    if (this.#client === undefined) throw new FleetmeterError('FM_STORAGE', 'ClickHouse is not there yet')
    try {
      return await call(this.#client)
    } catch (error) {
      throw storageError(sql, error)
    }
  }
}

function newClient(endpoint: Endpoint, timeoutMs: number): ClickHouseClient {
  return createClient({
    ...endpoint,
    request_timeout: timeoutMs,
    max_open_connections: 16,
    keep_alive: { idle_socket_ttl: 10_000 },
    compression: { request: false, response: false },
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: {
      date_time_input_format: 'best_effort',
      output_format_json_quote_64bit_integers: 1,
      output_format_json_quote_denormals: 1,
      max_query_size: String(STATEMENT_BYTES_MAX),
    },
  })
}

/** Answers of ClickHouse that say "not now": too slow, no memory, too many parts, too many queries, read-only, no room on the disk. */
const PASSING_CODES: ReadonlySet<string> = new Set(['159', '173', '202', '241', '242', '243', '252', '394'])

function storageError(sql: string, error: unknown): FleetmeterError {
  const statement = sql.replace(/\s+/g, ' ').trim().slice(0, 120)
  const code = error instanceof ClickHouseError ? error.code : undefined
  return new FleetmeterError('FM_STORAGE', `ClickHouse does not execute "${statement}…"`, {
    cause: error,
    // Set when the statement itself is refused: trying again is of no use to whoever waits for an answer.
    fields: code === undefined || PASSING_CODES.has(code) ? {} : { refusedWith: code },
  })
}
