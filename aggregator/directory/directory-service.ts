/**
 * The directories: one snapshot in memory that everybody reads, and one way to change it, one change after another:
 *
 *     lock the state in the database ─▶ read what others changed ─▶ decide on that snapshot ─▶ log of definitions (durable)
 *        ─▶ tables, version + 1 ─▶ commit ─▶ the next snapshot stands ─▶ answer
 *
 * A crash behind the log and before the commit leaves a change that was not answered and will be there: what the log has beyond the
 * tables is put into them before anything else. Other aggregators' changes are looked for every second.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Metrics } from '../../proto/runtime/metrics.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { ChangeAnswer, Decide } from './changes.ts'
import type { OperationalDatabase, Queries } from './database.ts'
import { isAway } from './database.ts'
import type { DefinitionLog, DefinitionRecord } from './definition-log.ts'
import type { EntryKind, EntryRecord } from './entry.ts'
import { EntryIds } from './entry-ids.ts'
import { migrate } from './migrations.ts'
import { Refusal } from './refusal.ts'
import type { KindRecord } from './snapshot.ts'
import { DirectorySnapshot } from './snapshot.ts'
import type { State } from './stored-entries.ts'
import { readAnswer, readEntries, readState, writeAnswer, writeEntries, writeState } from './stored-entries.ts'

export interface DirectoryOptions {
  readonly database: OperationalDatabase
  readonly log: DefinitionLog
  /** Most entries of all directories together. */
  readonly entriesMax: number
  /** How often it is looked whether another aggregator changed something, ms. */
  readonly refreshMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** That somebody may ask again, and is answered the same. */
export interface Repeatable {
  readonly credential: string
  readonly key: string
  /** Digest of the request: another one with the same key is a mistake. */
  readonly request: string
}

interface StoredAnswer extends Repeatable {
  readonly answer: ChangeAnswer
}

const KINDS: readonly EntryKind[] = ['membership', 'node', 'price', 'quota']
const START_WAIT_MS = 60_000
const RETRY_MS = 1000
const CHANGES_WAITING_MAX = 64
const ANSWERS_KEPT_HOURS = 24

export class DirectoryService implements Service {
  readonly name = 'directory'
  readonly #options: DirectoryOptions
  readonly #ids = new EntryIds()
  #snapshot = new DirectorySnapshot()
  #ready = false
  #loaded = false
  #stopped = false
  #problem: string | undefined
  #logDoubtful = false
  #timer: NodeJS.Timeout | undefined
  /** The end of everything that was asked so far: changes and refreshes happen one after another. */
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(options: DirectoryOptions) {
    this.#options = options
  }

  /** The directories of now. Keep it for as long as several questions shall be of one moment. */
  get snapshot(): DirectorySnapshot {
    return this.#snapshot
  }

  /** Waits a minute for a server that is not there yet. @throws FleetmeterError */
  async start(): Promise<void> {
    const { database, log, logger } = this.#options
    for (const since = performance.now(); ; ) {
      try {
        await log.open(0)
        // A database that would be empty is made by the first change.
        if (!database.unmade || log.end > 0) await this.#load()
        break
      } catch (error) {
        // A server that answers with an error, and files that are damaged, will not do otherwise in a minute.
        const passing = isAway(error) && database.shared
        if (!passing || performance.now() - since > START_WAIT_MS) throw error
        logger.warn({ error: messageOf(error) }, `${database.name} is not ready yet`)
        await sleep(RETRY_MS)
      }
    }
    this.#ready = true
    this.#later()
  }

  /** What is not closed by the deadline is closed by the end of the process: that is safe. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await orAborted(this.#close(), deadline)
  }

  async #close(): Promise<void> {
    await this.#tail.catch(() => {}) // whoever asked was told
    await this.#options.database.close()
    await this.#options.log.close()
  }

  register(metrics: Metrics): void {
    metrics.gauge('directory_entries', 'Memberships, nodes, prices and quotas, by directory.', ['directory'], () =>
      KINDS.map((kind) => ({ labels: { directory: kind }, value: this.#snapshot.table(kind).all.length })),
    )
    metrics.gauge('directory_version', 'Changes of directories that are known here.', [], () => [
      { value: this.#snapshot.version },
    ])
  }

  /** What is in memory goes on to be answered while the database is away, and said to be so. */
  health(): Health {
    if (!this.#ready) return { ready: false, detail: 'reading the directories' }
    const problem = this.#problem
    return problem === undefined
      ? { ready: true }
      : { ready: true, detail: `directories cannot be changed: ${problem}` }
  }

  /**
   * Decides and does a change; durable once it resolves.
   * @param repeatable asked again with the same key, it is answered the same and nothing is done
   * @throws Refusal; FleetmeterError `FM_DATABASE`, `FM_DEFINITIONS`: whether it was done is then not known
   */
  change(decide: Decide, repeatable?: Repeatable): Promise<ChangeAnswer> {
    if (this.#waiting >= CHANGES_WAITING_MAX)
      throw new Refusal(503, 'SERVICE_UNAVAILABLE', `${CHANGES_WAITING_MAX} changes of directories wait already`, {
        headers: { 'Retry-After': '1' },
      })
    return this.#alone(() => this.#watched(() => this.#change(decide, repeatable)))
  }

  /** Takes over what others have changed, now. */
  refresh(): Promise<void> {
    return this.#alone(() => this.#watched(() => this.#refresh()))
  }

  async #load(): Promise<void> {
    const { database, log } = this.#options
    await database.open()
    await migrate(database)
    await database.transaction(async (queries) => {
      const { position } = await readState(queries, true)
      await log.open(position)
      const lost = log.end < position // whoever moved it away wants to go on; from now on it has everything again
      const { state, snapshot } = await this.#current(queries)
      if (lost) await writeState(queries, { ...state, position: await log.append(everything(snapshot)) })
      else await writeState(queries, state)
      this.#snapshot = snapshot
    })
    this.#loaded = true
  }

  async #change(decide: Decide, repeatable: Repeatable | undefined): Promise<ChangeAnswer> {
    const { database, log, clock, entriesMax } = this.#options
    if (!this.#loaded) await this.#load()
    const done = await database.transaction(async (queries) => {
      const { state, snapshot } = await this.#current(queries)
      const before =
        repeatable === undefined ? undefined : await readAnswer(queries, repeatable.credential, repeatable.key)
      if (before !== undefined) {
        await writeState(queries, state)
        return { answer: again(before, repeatable!.request), snapshot }
      }
      const now = clock.now()
      const version = state.version + 1
      const { answer, changes } = await decide(snapshot, { version, now, newId: () => this.#ids.next(now) })
      if (changes.length === 0) {
        await writeState(queries, state)
        return { answer, snapshot }
      }
      const next = await snapshot.with(version, changes)
      if (next.size > entriesMax)
        throw new Refusal(
          409,
          'CONFLICT',
          `Directories hold at most ${entriesMax} entries together: see directory_entries_max`,
        )
      const stored = repeatable === undefined ? undefined : { ...repeatable, answer }
      const position = await this.#logged(log, changes, stored)
      await writeEntries(queries, changes)
      if (stored !== undefined) await writeAnswer(queries, stored, ANSWERS_KEPT_HOURS)
      await writeState(queries, { version, position })
      return { answer, snapshot: next }
    })
    this.#snapshot = done.snapshot
    return done.answer
  }

  async #refresh(): Promise<void> {
    const { database } = this.#options
    const { version } = await readState(database, false)
    if (version === this.#snapshot.version) return
    this.#snapshot = await database.transaction(async (queries) => {
      await queries.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY')
      const state = await readState(queries, false)
      return this.#snapshot.with(state.version, await readEntries(queries, this.#snapshot.version))
    })
  }

  /** Locks the state; everything that is in the tables and in the log, together. Tables have it all, but the state itself. */
  async #current(queries: Queries): Promise<{ readonly state: State; readonly snapshot: DirectorySnapshot }> {
    const { log } = this.#options
    let state = await readState(queries, true)
    let snapshot = this.#snapshot
    if (state.version !== snapshot.version)
      snapshot = await snapshot.with(state.version, await readEntries(queries, snapshot.version))
    if (this.#logDoubtful) {
      await log.open(state.position)
      this.#logDoubtful = false
    }
    if (log.end <= state.position) return { state, snapshot }
    for await (const { position, records } of log.replay(state.position)) {
      const changes = records.filter(({ kind }) => kind !== 'answer').map(kindRecordOf)
      const version = changes.reduce((newest, { record }) => Math.max(newest, record.version), state.version)
      await writeEntries(queries, changes)
      for (const { kind, body } of records)
        if (kind === 'answer') await writeAnswer(queries, body as StoredAnswer, ANSWERS_KEPT_HOURS)
      snapshot = await snapshot.with(version, changes)
      state = { version, position }
    }
    return { state, snapshot }
  }

  async #logged(log: DefinitionLog, changes: readonly KindRecord[], answer: StoredAnswer | undefined): Promise<number> {
    const records = changes.map(definitionOf)
    if (answer !== undefined)
      records.push({ kind: 'answer', key: JSON.stringify([answer.credential, answer.key]), body: answer })
    try {
      return await log.append(records)
    } catch (error) {
      this.#logDoubtful = true
      throw error
    }
  }

  #alone<T>(action: () => Promise<T>): Promise<T> {
    if (this.#stopped) return Promise.reject(new FleetmeterError('FM_STOPPED', 'The directories are closed'))
    this.#waiting++
    const result = this.#tail.then(action, action)
    const over = (): void => {
      this.#waiting--
    }
    this.#tail = result.then(over, over)
    return result
  }

  /** Remembers whether the database and the log work. */
  async #watched<T>(action: () => Promise<T>): Promise<T> {
    try {
      const result = await action()
      this.#problem = undefined
      return result
    } catch (error) {
      this.#problem = error instanceof Refusal ? undefined : messageOf(error)
      throw error
    }
  }

  #later(): void {
    if (this.#stopped || !this.#options.database.shared) return
    this.#timer = setTimeout(() => {
      const problem = this.#problem
      this.refresh()
        .catch((error: unknown) => {
          if (problem === undefined)
            this.#options.logger.error({ error: messageOf(error) }, 'directories cannot be brought up to date')
        })
        .finally(() => this.#later())
    }, this.#options.refreshMs)
    this.#timer.unref()
  }
}

function definitionOf({ kind, record }: KindRecord): DefinitionRecord {
  return { kind, key: record.id, body: record }
}

function kindRecordOf({ kind, body }: DefinitionRecord): KindRecord {
  return { kind: kind as EntryKind, record: body as EntryRecord }
}

function everything(snapshot: DirectorySnapshot): DefinitionRecord[] {
  return KINDS.flatMap((kind) => snapshot.table(kind).all.map(({ record }) => definitionOf({ kind, record })))
}

/** @throws Refusal 422 when the key was of another request */
function again(before: { readonly request: string; readonly answer: unknown }, request: string): ChangeAnswer {
  if (before.request !== request)
    throw new Refusal(
      422,
      'IDEMPOTENCY_KEY_REUSED',
      'This Idempotency-Key was of another request: a new request needs a new key',
    )
  const answer = before.answer as ChangeAnswer
  return { ...answer, headers: { ...answer.headers, 'Idempotency-Replayed': 'true' } }
}
