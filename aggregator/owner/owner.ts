/**
 * The owner: what tasks and quotas are decided by goes through here, each event once.
 *
 *     events ──▶ admission ──▶ log (durable) ──▶ folds, tail, rows ──▶ answer
 *                                 ▲                 │
 *                                 └── records of the folds' own
 *
 * Nothing follows from a record before it is durable: append before effect. Each call is one step in one turn of the event loop, and
 * what follows from records is done in their order, so that there is nothing to lock. Rows of an event are inserted from here and from
 * nowhere else: a row in ClickHouse proves that the event was logged.
 *
 * The tail is every logged event whose row is not in ClickHouse yet: what is asked for by id or in a list is found there first.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { EventRow } from '../store/record-rows.ts'
import { eventRow } from '../store/record-rows.ts'
import type { RecordStore } from '../store/record-store.ts'
import type { Admitted } from './admission.ts'
import { Admission, eventKey } from './admission.ts'
import type { AppliedRecord, Fold } from './fold.ts'
import type { LoggedIds } from './logged-ids.ts'
import type { LoggedRecord, OwnerLog, OwnerRecord } from './owner-log.ts'
import { RecentIds } from './recent-ids.ts'
import type { SnapshotFiles } from './snapshot-file.ts'

export interface OwnerOptions {
  /** Most ids in the recent set. */
  readonly recentMax: number
  /** A snapshot is due after so many records. */
  readonly snapshotRecords: number
  readonly clock: Clock
  readonly faults: Faults
  readonly log: Logger
}

/** What there is of it: a table of ids in ClickHouse, snapshots, the log, rows on their way. */
export interface OwnerParts {
  readonly ids: LoggedIds
  readonly log: OwnerLog
  readonly snapshots: SnapshotFiles
  readonly store: RecordStore
  readonly folds: readonly Fold[]
}

/** A record whose value is at hand. */
interface Valued {
  readonly record: OwnerRecord
  readonly value: unknown
  /** Of an event: its own text, where it is at hand. */
  readonly json?: string
}

const EVENT = 'event'
/** Older than any event that is taken: with nothing logged, nothing has to be looked up. */
const NEVER = 0
const ROOM_LOOK_MS = 20

export class Owner implements Service {
  readonly name = 'owner'
  readonly #parts: OwnerParts
  readonly #options: OwnerOptions
  readonly #admission: Admission
  readonly #often: RateLimitedLog
  #recent: RecentIds
  /** By key; in the order of the log. */
  readonly #tail = new Map<string, EventRow>()
  /** What was appended is applied one after the other. */
  #order: Promise<unknown> = Promise.resolve()
  #appliedUpTo = 0
  #snapshotUpTo = 0
  #snapshotting: Promise<void> | undefined
  #foldFailures = 0
  #replayed = 0
  #ready = false
  #dropped = false

  constructor(parts: OwnerParts, options: OwnerOptions) {
    this.#parts = parts
    this.#options = options
    this.#recent = new RecentIds(NEVER, options.recentMax)
    this.#often = new RateLimitedLog(10_000, () => options.clock.monotonic())
    this.#admission = new Admission({
      recent: () => this.#recent,
      inTail: (key) => this.#tail.has(key),
      lookUp: (events) => parts.ids.among(events),
      append: async (events) => {
        await this.#append(events.map(recordOf))
      },
    })
  }

  get counts(): Readonly<{ lookUps: number; lookedUp: number; foldFailures: number; replayed: number }> {
    return { ...this.#admission.counts, foldFailures: this.#foldFailures, replayed: this.#replayed }
  }

  get recent(): { readonly ids: number; readonly t0: number } {
    return { ids: this.#recent.count, t0: this.#recent.t0 }
  }

  /** W: every record up to here is in the folds. */
  get appliedUpTo(): number {
    return this.#appliedUpTo
  }

  /** Logged events whose rows are not in ClickHouse yet, in the order of the log. */
  get tail(): ReadonlyMap<string, EventRow> {
    return this.#tail
  }

  async start(): Promise<void> {
    const { ids, log, snapshots, store, folds } = this.#parts
    const snapshot = await snapshots.load()
    for (const fold of folds) {
      const state = snapshot?.folds[fold.name]
      if (state !== undefined) fold.restore(state)
    }
    const known = snapshot ?? { appliedUpTo: 0, storedUpTo: 0 }
    // Asked before the log is looked at, whose own rows only come behind its records: an owner that was replaced meanwhile finds no loss.
    const inTables = await ids.newestPosition()
    await log.open(
      Math.max(known.appliedUpTo, known.storedUpTo),
      Math.min(known.appliedUpTo, known.storedUpTo),
      inTables,
    )
    const { appliedUpTo, storedUpTo } = snapshot ?? { appliedUpTo: log.begin, storedUpTo: log.begin }
    const needed = Math.min(appliedUpTo, storedUpTo)
    this.#recent = await ids.recent(this.#options.recentMax)
    this.#appliedUpTo = appliedUpTo
    this.#snapshotUpTo = appliedUpTo
    store.follow(storedUpTo, (upTo) => this.#stored(upTo))
    for await (const records of log.read(needed)) {
      // Rows of a log that is longer than memory: as many wait as at any other time.
      while (!store.hasRoom(0) && !this.#dropped) await new Promise((resolve) => setTimeout(resolve, ROOM_LOOK_MS))
      for (const record of records) {
        this.#apply(
          { value: JSON.parse(record.body) as unknown, ...record },
          record.n > appliedUpTo,
          record.n > storedUpTo,
        )
        this.#replayed++
      }
    }
    for (const fold of folds) fold.begin?.((records) => this.append(records))
    this.#ready = true
  }

  /** What came in is in ClickHouse, as far as there is time, and in a snapshot. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#ready = false
    const { log, store } = this.#parts
    const tooLate = new Promise<void>((resolve) => {
      if (deadline.aborted) resolve()
      else deadline.addEventListener('abort', () => resolve(), { once: true })
    })
    await Promise.race([this.#order, tooLate])
    await Promise.race([store.settled(), tooLate])
    await this.#snapshot()
    await log.close()
  }

  /** Another one owns the log: what is still under way here leaves no trace. */
  drop(): void {
    this.#ready = false
    this.#dropped = true
    this.#parts.store.follow(0, () => {})
  }

  health(): Health {
    const problem = this.#parts.log.problem
    if (!this.#ready) return { ready: false, detail: 'the owner log is being read' }
    return problem === undefined ? { ready: true } : { ready: false, detail: problem }
  }

  /** Logs those of the events that are not logged yet. @returns what became of each, in their order */
  take(events: readonly ReceivedEvent[]): Promise<Admitted[]> {
    if (events.length > 0) this.#options.faults('owner.append.before')
    return this.#admission.admit(events)
  }

  /** Appends records of a fold. @see Append */
  append(records: readonly OwnerRecord[]): Promise<number> {
    return this.#append(records.map((record) => ({ record, value: JSON.parse(record.body) as unknown })))
  }

  #append(valued: readonly Valued[]): Promise<number> {
    const durable = this.#parts.log.append(valued.map(({ record }) => record))
    durable.catch(() => {}) // whoever waits for what follows is told
    const applied = this.#order.then(async () => {
      const first = await durable
      this.#options.faults('owner.append.after')
      for (let i = 0; i < valued.length; i++) {
        const { record, value, json } = valued[i]!
        this.#apply({ n: first + i, value, ...record }, true, true, json)
      }
      return first
    })
    this.#order = applied.then(
      () => this.#snapshotWhenDue(),
      () => {},
    )
    return applied
  }

  /** What follows from a record that is durable. @param json of its event, where it is at hand */
  #apply(record: AppliedRecord, toFolds: boolean, toTables: boolean, json?: string): void {
    if (this.#dropped) return
    if (record.kind === EVENT) {
      const received = record.value as ReceivedEvent
      const row = eventRow(received, record.n, json ?? eventJson(record))
      this.#recent.add(record.tenant, record.key, row.ts)
      if (toTables) {
        this.#tail.set(eventKey(record.tenant, record.key), row)
        this.#parts.store.addLogged(record.n, { events: [row] })
      }
    } else if (toTables) this.#parts.store.addLogged(record.n, {})
    for (const fold of this.#parts.folds) {
      if (toFolds) this.#guarded(fold, record, () => fold.apply(record))
      if (toTables && fold.rows !== undefined)
        this.#guarded(fold, record, () => this.#parts.store.addLogged(record.n, fold.rows!(record)))
    }
    this.#appliedUpTo = Math.max(this.#appliedUpTo, record.n)
  }

  /** A record that a fold cannot use must not keep the next ones from it. At a replay it fails again: the state is the same. */
  #guarded(fold: Fold, record: LoggedRecord, action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#foldFailures++
      this.#often.once(fold.name, (held) =>
        this.#options.log.error({ fold: fold.name, n: record.n, error: messageOf(error), held }, 'record not applied'),
      )
    }
  }

  #stored(upTo: number): void {
    for (const [key, { n }] of this.#tail) {
      if (n > upTo) break
      this.#tail.delete(key)
    }
    for (const fold of this.#parts.folds) fold.stored?.(upTo)
  }

  #snapshotWhenDue(): void {
    if (this.#dropped || this.#appliedUpTo - this.#snapshotUpTo < this.#options.snapshotRecords) return
    this.#snapshotting ??= this.#snapshot()
  }

  async #snapshot(): Promise<void> {
    const { folds, log, snapshots, store } = this.#parts
    const appliedUpTo = this.#appliedUpTo
    this.#snapshotUpTo = appliedUpTo
    try {
      const states = Object.fromEntries(folds.map((fold) => [fold.name, fold.snapshot()]))
      await log.release(await snapshots.save({ appliedUpTo, storedUpTo: store.storedUpTo, folds: states }))
    } catch (error) {
      this.#options.log.warn(
        { error: messageOf(error) },
        'no snapshot of the owner could be made: its log stays longer',
      )
    }
    this.#snapshotting = undefined
  }
}

function recordOf(received: ReceivedEvent): Valued {
  const { tenant, at, road, topic, event } = received
  // The event stands last, so that its own text can be cut out of it.
  const head = JSON.stringify({ tenant, at, road, topic })
  const json = JSON.stringify(event)
  const body = `${head.slice(0, -1)},"event":${json}}`
  return { record: { kind: EVENT, tenant, key: event.event_id, at, body }, value: received, json }
}

/** The text of the event in the body of its record. */
function eventJson({ tenant, at, body, value }: AppliedRecord): string {
  const { road, topic } = value as ReceivedEvent
  return body.slice(JSON.stringify({ tenant, at, road, topic }).length + ',"event":'.length - 1, -1)
}
