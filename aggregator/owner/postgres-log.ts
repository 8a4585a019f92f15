/**
 * The owner log in PostgreSQL, for several aggregators of which one is the owner.
 *
 *     append ──▶ [ group ] ──▶ one statement: is the generation mine? then insert n, n+1, … ──▶ answers
 *                 gathers while the one before is under way      │
 *                                                               └── not mine: fenced, nothing is appended here ever again
 *
 * A group is one statement and so one transaction, in which the server waits for nobody: a process that is stopped in the midst of it
 * holds no lock. Where its outcome is not known, since the connection broke, the same rows are sent again at the same positions and
 * nobody is answered meanwhile: either they go in, or they are there already. An outcome that stays unknown ends the term: whoever
 * takes over reads what there is.
 *
 * What is answered from memory needs a {@link PostgresLog.confirm}: an owner that was replaced does not know it.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Queries } from '../directory/database.ts'
import type { LoggedRecord, OwnerLog, OwnerRecord } from './owner-log.ts'
import { behindRows } from './owner-log.ts'
import { MINE, PARTITION } from './owner-table.ts'

export interface PostgresLogOptions {
  readonly queries: Queries
  /** Of this term, from {@link OwnerTable.claim}. */
  readonly generation: number
  /** Told once, when the term is over; nothing of what memory has is to be answered any more. */
  readonly lost: (why: string) => void
  /** How long an outcome may be unknown, ms. */
  readonly holdMs: number
  /** ms. */
  readonly monotonic: () => number
  readonly log: Logger
}

interface Waiting {
  readonly records: readonly OwnerRecord[]
  readonly bytes: number
  readonly resolve: (first: number) => void
  readonly reject: (error: Error) => void
}

const GROUP_RECORDS_MAX = 2000
/** Characters of bodies. */
const GROUP_TEXT_MAX = 4 * 1024 * 1024
/** Of records that wait: beyond it they are refused, and who sent them sends them again. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024
/** What a record costs besides its text. */
const RECORD_BYTES = 300
const READ_RECORDS = 500
const RELEASED_AT_ONCE = 5000
const RETRY_MS = 100
/** /readyz says so long that an append was refused: the next one may go in. */
const PROBLEM_MS = 5000
const UNIQUE_VIOLATION = '23505'
/** Of server states: broken connection, shutdown, crash. Whether a statement was committed is not known. */
const UNKNOWN = /^(08|57P)/

const APPEND = `WITH ${MINE},
  added AS (INSERT INTO owner_log (partition, n, gen, kind, tenant, key, at, body)
    SELECT $1, $3::bigint + i - 1, $2, kind, tenant, key, at, body
    FROM mine, unnest($4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[]) WITH ORDINALITY AS r (kind, tenant, key, at, body, i) RETURNING 1)
  SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM mine) AS mine`
const CONFIRM = 'SELECT count(*) AS mine FROM owner WHERE partition = $1 AND gen = $2'
const RELEASE = `WITH ${MINE},
  old AS (SELECT n FROM owner_log WHERE partition = $1 AND n <= $3 ORDER BY n LIMIT ${RELEASED_AT_ONCE})
  DELETE FROM owner_log USING mine, old WHERE partition = $1 AND owner_log.n = old.n RETURNING 1`

export class PostgresLog implements OwnerLog {
  readonly generation: number
  readonly #options: PostgresLogOptions
  #begin = 0
  #end = 0
  /** Position of the next record. */
  #next = 1
  #queue: Waiting[] = []
  #waitingBytes = 0
  #draining: Promise<void> | undefined
  /** Why the term is over. */
  #over: string | undefined
  #confirmedAt: number
  #failure: { readonly at: number; readonly message: string } | undefined
  #lost = 0
  #counts = { groups: 0, records: 0, bytes: 0, failures: 0 }

  constructor(options: PostgresLogOptions) {
    this.#options = options
    this.generation = options.generation
    this.#confirmedAt = options.monotonic()
  }

  get end(): number {
    return this.#end
  }

  get begin(): number {
    return this.#begin
  }

  get problem(): string | undefined {
    if (this.#failure === undefined || this.#options.monotonic() - this.#failure.at > PROBLEM_MS) return undefined
    return this.#failure.message
  }

  /** When the last exchange began in which the database said that the generation is this one, ms of the monotonic clock. */
  get confirmedAt(): number {
    return this.#confirmedAt
  }

  /** Records that the start found missing. */
  get damage(): { readonly lost: number } {
    return { lost: this.#lost }
  }

  /** Groups that went in, with their records and the characters of their bodies; groups that did not. */
  get counts(): Readonly<{ groups: number; records: number; bytes: number; failures: number }> {
    return this.#counts
  }

  async open(floor: number, needed: number, inTables = 0): Promise<void> {
    const [row] = await this.#query(
      'SELECT min(n) AS first, coalesce(max(n), 0) AS n FROM owner_log WHERE partition = $1',
      [PARTITION],
    )
    const first = row!['first']
    const end = Number(row!['n'])
    this.#lost = Math.max(0, floor - Math.max(end, needed))
    if (this.#lost > 0)
      this.#options.log.error(
        { records: this.#lost },
        'the owner log in PostgreSQL ends before its snapshot: acknowledged records are missing',
      )
    this.#end = Math.max(end, floor)
    const behind = behindRows(this.#end, inTables, this.#options.log)
    this.#next = behind + 1
    this.#begin = first === null ? behind : Number(first) - 1
  }

  append(records: readonly OwnerRecord[]): Promise<number> {
    return new Promise((resolve, reject) => {
      const bytes = records.reduce((sum, { body }) => sum + RECORD_BYTES + body.length, 0)
      const unstorable = records.find(({ kind, tenant, key }) => `${kind}${tenant}${key}`.includes('\0'))
      if (this.#over !== undefined) reject(notOwner(this.#over))
      else if (unstorable !== undefined)
        reject(new FleetmeterError('FM_OWNER_LOG', `A record of kind "${unstorable.kind}" has a name with U+0000`))
      else if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > WAITING_BYTES_MAX)
        reject(new FleetmeterError('FM_OWNER_LOG', 'PostgreSQL does not take records fast enough'))
      else {
        this.#queue.push({ records, bytes, resolve, reject })
        this.#waitingBytes += bytes
        this.#draining ??= this.#drain()
      }
    })
  }

  async confirm(): Promise<void> {
    await this.append([])
  }

  /** A beat that began then, ms of the monotonic clock, found the generation to be this one. */
  confirmed(at: number): void {
    this.#confirmedAt = Math.max(this.#confirmedAt, at)
  }

  async *read(after: number): AsyncIterable<readonly LoggedRecord[]> {
    for (let last = after; ; ) {
      const rows = await this.#query(
        `SELECT n, kind, tenant, key, at, body FROM owner_log WHERE partition = $1 AND n > $2 ORDER BY n LIMIT ${READ_RECORDS}`,
        [PARTITION, last],
      )
      if (rows.length === 0) return
      yield rows.map(({ n, kind, tenant, key, at, body }) => ({
        n: Number(n),
        kind: String(kind),
        tenant: String(tenant),
        key: String(key),
        at: Number(at),
        body: String(body),
      }))
      last = Number(rows.at(-1)!['n'])
    }
  }

  async release(upTo: number): Promise<void> {
    for (;;) {
      const rows = await this.#query(RELEASE, [PARTITION, this.generation, upTo])
      if (rows.length < RELEASED_AT_ONCE) return
    }
  }

  async close(): Promise<void> {
    await this.#draining
    this.#over ??= 'the owner log is closed'
  }

  /** The term is over: what waits is refused, as is all that comes. */
  abandon(why: string): void {
    this.#lose(why)
  }

  async #drain(): Promise<void> {
    await nextTurn() // what comes in the same turn is one group
    while (this.#queue.length > 0 && this.#over === undefined) {
      const group = this.#takeGroup()
      try {
        let first = await this.#write(group.flatMap(({ records }) => records))
        this.#failure = undefined
        for (const { records, resolve } of group) {
          resolve(first)
          first += records.length
        }
      } catch (error) {
        const refusal =
          error instanceof FleetmeterError && error.code === 'FM_OWNER_LOG'
            ? error
            : new FleetmeterError('FM_OWNER_LOG', `Cannot append to the owner log: ${messageOf(error)}`)
        this.#counts.failures++
        if (this.#over === undefined) this.#failure = { at: this.#options.monotonic(), message: messageOf(refusal) }
        for (const { reject } of group) reject(refusal)
      }
    }
    this.#draining = undefined
    if (this.#over !== undefined) this.#refuseAll(this.#over)
  }

  #takeGroup(): Waiting[] {
    let [records, text, calls] = [0, 0, 0]
    for (const waiting of this.#queue) {
      records += waiting.records.length
      for (const { body } of waiting.records) text += body.length
      if (calls > 0 && (records > GROUP_RECORDS_MAX || text > GROUP_TEXT_MAX)) break
      calls++
    }
    const group = this.#queue.splice(0, calls)
    for (const { bytes } of group) this.#waitingBytes -= bytes
    return group
  }

  /** @returns position of the first record */
  async #write(records: readonly OwnerRecord[]): Promise<number> {
    const { queries, monotonic, holdMs, log } = this.#options
    const first = this.#next
    const [sql, parameters] = records.length === 0 ? [CONFIRM, this.#own()] : [APPEND, this.#rows(first, records)]
    const since = monotonic()
    for (let isUncertain = false; ; ) {
      const began = monotonic()
      try {
        const [row] = await queries.query(sql, parameters)
        if (Number(row!['mine']) === 0) return this.#fenced('another aggregator is the owner now')
        this.confirmed(began)
        break
      } catch (error) {
        if (this.#over !== undefined) throw notOwner(this.#over)
        const state = stateOf(error)
        if (state === UNIQUE_VIOLATION && isUncertain && (await this.#isThere(first, records))) break
        if (state === UNIQUE_VIOLATION && !isUncertain) return this.#fenced('somebody else has appended')
        isUncertain ||= state === undefined || UNKNOWN.test(state)
        // Nothing was to be written; or the server says that nothing was.
        if (records.length === 0 || !isUncertain) throw error
        if (monotonic() - since > holdMs)
          return this.#fenced(`whether records were written is not known: ${messageOf(error)}`)
        if (this.#failure === undefined)
          log.warn({ error: messageOf(error) }, 'whether records are in the owner log is not known: asked again')
        this.#failure = { at: monotonic(), message: messageOf(error) }
        await sleep(RETRY_MS)
      }
    }
    if (records.length === 0) return first
    this.#next = first + records.length
    this.#end = this.#next - 1
    this.#counts.groups++
    this.#counts.records += records.length
    for (const { body } of records) this.#counts.bytes += body.length
    return first
  }

  /** Whether an earlier attempt has written these records. Nobody else writes with this generation. */
  async #isThere(first: number, records: readonly OwnerRecord[]): Promise<boolean> {
    try {
      const [row] = await this.#options.queries.query(
        'SELECT count(*) AS n FROM owner_log WHERE partition = $1 AND gen = $2 AND n >= $3 AND n < $4',
        [...this.#own(), first, first + records.length],
      )
      return Number(row!['n']) === records.length
    } catch {
      return false // asked again
    }
  }

  #own(): readonly unknown[] {
    return [PARTITION, this.generation]
  }

  #rows(first: number, records: readonly OwnerRecord[]): readonly unknown[] {
    const columns = (['kind', 'tenant', 'key', 'at', 'body'] as const).map((name) => records.map((one) => one[name]))
    return [...this.#own(), first, ...columns]
  }

  #fenced(why: string): never {
    this.#lose(why)
    throw notOwner(why)
  }

  #lose(why: string): void {
    if (this.#over !== undefined) return
    this.#over = why
    this.#options.lost(why)
    this.#refuseAll(why)
  }

  #refuseAll(why: string): void {
    this.#waitingBytes = 0
    for (const { reject } of this.#queue.splice(0)) reject(notOwner(why))
  }

  async #query(sql: string, parameters: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    try {
      return await this.#options.queries.query(sql, parameters)
    } catch (error) {
      throw new FleetmeterError('FM_OWNER_LOG', `The owner log does not answer: ${messageOf(error)}`)
    }
  }
}

/** Whether it is refused since this aggregator owns the log no more. */
export function isNotOwner(error: unknown): boolean {
  return error instanceof FleetmeterError && error.fields['notOwner'] === true
}

function notOwner(why: string): FleetmeterError {
  return new FleetmeterError('FM_OWNER_LOG', `This aggregator is not the owner: ${why}`, { fields: { notOwner: true } })
}

/** SQLSTATE; undefined: the server said nothing. */
function stateOf(error: unknown): string | undefined {
  return error instanceof FleetmeterError ? (error.fields['sqlState'] as string | undefined) : undefined
}
