/**
 * A shard without its thread: everything that decides what becomes of a sample, from the body to the batch.
 *
 *     take:  decode ─▶ judge ─▶ journal ─▶ apply (counters, outbox) ─▶ answer
 *     tick:  what is stored ─▶ cursor;  sync;  batches out of the outbox
 *
 * Nothing is applied before it is in the journal: where the append fails, the last values are put back, and the answer is
 * "retry". The core is synchronous and knows no clock; a test drives it through any crash.
 */
import { join } from 'node:path'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { ok } from '../../proto/runtime/outcome.ts'
import type { SeriesDefinition } from '../../proto/wire/batch.ts'
import { encodeDefinitions } from '../../proto/wire/batch.ts'
import type { Files } from '../journal/files.ts'
import type { Journal } from '../journal/journal.ts'
import type { JournalRecord } from '../journal/record.ts'
import type { TimedEmission } from '../rules/shard-rules.ts'
import type { SeriesLimits } from './body-decoder.ts'
import { JournalPlaces, RecentRecords } from './journal-places.ts'
import { KeptJournal } from './kept-journal.ts'
import type { BatchOrigin, OutgoingBatch } from './outbox.ts'
import { Outbox } from './outbox.ts'
import type { OverflowingMetric } from './overflow.ts'
import { OVERFLOW } from './overflow.ts'
import type { IncomingBody, Recorded, RecordVisitor, Taken } from './reception.ts'
import { Reception } from './reception.ts'
import type { RuleOptions } from './rule-feed.ts'
import { RuleHistory } from './rule-history.ts'
import type { WindowsHint } from './rule-windows.ts'
import { RuleWindows } from './rule-windows.ts'
import { ReplayFailure, SetAside } from './set-aside.ts'
import { ShardCounts } from './shard-counts.ts'

export interface ShardOptions {
  readonly directory: string
  readonly origin: BatchOrigin
  /**
   * Which time it is that this process opens the shard; absent: it does so once. Series are numbered anew each time, and what a
   * record counts as may change, so that aggregators must take nothing that they know of the batches before for this one's.
   */
  readonly opening?: number
  /** 0-999: last digits of every arrival, different for every writer of this collector. */
  readonly writer: number
  readonly limits: SeriesLimits
  /** A sample may be this much ahead of our clock, and this old, ms. */
  readonly futureMaxMs: number
  readonly lateMaxMs: number
  readonly journalBytesMax: number
  readonly segmentBytes: number
  /** Sync before every answer instead of once a second. */
  readonly syncEveryWrite: boolean
  /** A batch is closed at about this size, bytes. */
  readonly batchBytes: number
  readonly batchSamples: number
  /** Seed of the hash table. */
  readonly seed: number
  readonly rules: RuleOptions
}

export interface Tick {
  /** Wall clock, ms; it never goes back, and so stands still where the system's was set back. */
  readonly now: number
  /** A clock that always goes on, ms: what is done now and then is timed by it. The wall clock by default. */
  readonly monotonic?: number
  /** Ranges that aggregators have stored since the last tick. */
  readonly stored: readonly { readonly from: number; readonly to: number }[]
  /** How many batches and bytes the sender has room for. */
  readonly roomBatches: number
  readonly roomBytes: number
  /** The process is stopping: batches say that they are waited for. */
  readonly urgent: boolean
  /** The latest emission whose outputs are journalled, by its time, ms; 0: none yet. */
  readonly emissionsKept?: number
  /** Whether whoever takes what rules give out is ready for more; true by default. */
  readonly takesEmission?: boolean
}

const MICROS = 1000
const DAY_MS = 86_400_000
const NOBODY: RecordVisitor = { sample() {}, extra() {} }
/** An idle shard says how far it is this often. */
const SIGN_OF_LIFE_MS = 5000
/** Last values are restored from this much of the journal's end: they only save sending repeats. */
const REPLAY_BYTES = 16 * 1024 * 1024

export class ShardCore {
  readonly counts: ShardCounts
  readonly #options: ShardOptions
  readonly #files: Files
  readonly #kept: KeptJournal
  readonly #outbox: Outbox
  readonly #reception: Reception
  readonly #windows: RuleWindows
  readonly #aside: SetAside
  /** What was set aside is counted up to here. */
  #unreadableTo = 0
  #lastAtMs: number
  #lastBatch = Number.NEGATIVE_INFINITY
  #startsDay = 0

  /**
   * Opens the shard's directory and replays its journal, as often as there are records in it that cannot be replayed: see SetAside.
   * @param counts those of a shard that was closed just now in this process go on
   * @param replayed told how many bytes have been read, of how many
   * @param failed told of each record that was set aside for a defect
   * @throws FleetmeterError when the directory cannot be used. @throws ReplayFailure when a record cannot be set aside
   */
  static open(
    files: Files,
    options: ShardOptions,
    faults: Faults,
    counts: ShardCounts,
    replayed: (done: number, of: number) => void,
    failed: (why: string) => void,
  ): ShardCore {
    for (;;) {
      try {
        return new ShardCore(files, options, faults, counts, replayed)
      } catch (error) {
        if (!(error instanceof ReplayFailure && error.isSetAside)) throw error
        failed(error.message)
        counts.readAgain()
      }
    }
  }

  /** As {@link open}, but that a record that cannot be replayed is thrown as a ReplayFailure. */
  constructor(
    files: Files,
    options: ShardOptions,
    faults: Faults = () => {},
    counts: ShardCounts = new ShardCounts(),
    replayed: (done: number, of: number) => void = () => {},
  ) {
    this.counts = counts
    this.#files = files
    this.#options = options
    this.#reception = new Reception(options.limits, options.seed)
    const recent = new RecentRecords(REPLAY_BYTES)
    const places = new JournalPlaces()
    const visit = (record: JournalRecord, stored: boolean): void => {
      recent.push(record)
      places.note(record)
      if (!stored) this.counts.recovered(record.door, record.kinds)
    }
    const writer = `${options.origin.collector}/${options.origin.shard}`
    this.#kept = new KeptJournal(files, { ...options, writer }, faults, this.counts, visit, replayed)
    const { hint } = this.#kept
    this.#outbox = new Outbox(batchOrigin(options), this.#kept.cursorWritten, options)
    this.#lastAtMs = Math.floor(Math.max(this.#journal.lastAt, hint?.at ?? 0) / MICROS)
    this.#windows = new RuleWindows(options, this.#reception, this.counts, this.#openHistory(places, hint?.kept ?? 0))
    this.#aside = new SetAside(files, join(options.directory, 'quarantine'))
    try {
      for (const record of recent.records) this.#restoreLastValues(record)
      const state = { lastAt: this.#lastAtMs, cursor: this.#kept.cursorWritten }
      this.#windows.restore(this.#journal, places, hint ?? NO_HINT, state, (record, visitor) =>
        this.#replay(record, visitor),
      )
    } catch (error) {
      this.#journal.close()
      throw error
    }
    replayed(1, 1)
  }

  get journal(): Pick<Journal, 'bytes' | 'segments' | 'end' | 'recovery'> {
    return this.#journal
  }

  get #journal(): Journal {
    return this.#kept.journal
  }

  get cursor(): number {
    return this.#outbox.cursor
  }

  get series(): number {
    return this.#reception.table.count
  }

  /** The latest arrival that was given out, ms. */
  get lastAt(): number {
    return this.#lastAtMs
  }

  /** Why the shard cannot keep anything at the moment; undefined when it can. */
  get state(): string | undefined {
    return this.#kept.state
  }

  /** There is enough for a batch: a tick is due. */
  get due(): boolean {
    return this.#outbox.behind || this.#outbox.full
  }

  /** Windows of rules are given out only in part: a tick is due. */
  get emitting(): boolean {
    return this.#windows.emitting
  }

  /**
   * Takes bodies in one write. They share one arrival, so of two values for one instant only the later is kept.
   * @param now wall clock, ms
   */
  take(now: number, bodies: readonly IncomingBody[]): Outcome<Taken>[] {
    const bounds = { oldest: now - this.#options.lateMaxMs, newest: now + this.#options.futureMaxMs }
    const at = Math.max(now, this.#lastAtMs + 1)
    const received = this.#reception.receive(now, bodies, bounds, this.#windows.takesOverflow(at))
    const records = this.#reception.recordsOf(
      received,
      this.#journal.end,
      at * MICROS + this.#options.writer,
      this.#windows.willDrop(at),
    )
    const failure = records.length === 0 ? undefined : this.#append(records.map(({ record }) => record))
    if (failure !== undefined) {
      this.#reception.undo()
      return received.map((body) => body.outcome ?? failure)
    }
    this.#reception.count(received, this.counts)
    if (records.length > 0) this.#apply(records, at)
    return received.map((body) => body.outcome ?? ok(this.#reception.answer(body)))
  }

  /** What is stored moves the cursor; then as many batches as there is room for. */
  tick(tick: Tick): { readonly batches: OutgoingBatch[]; readonly emission: TimedEmission | undefined } {
    this.#reception.release()
    this.#sayStartsDaily(tick.now)
    for (const { from, to } of tick.stored)
      this.#outbox.stored(from, to, (door, kinds) => this.counts.stored(door, kinds))
    this.#windows.settle(tick.emissionsKept ?? 0)
    const at = tick.monotonic ?? tick.now
    this.#kept.sync(at)
    this.#moveCursor(at, tick.now)
    this.#kept.probe(at)
    const batches: OutgoingBatch[] = []
    let bytes = 0
    while (batches.length < tick.roomBatches && bytes < tick.roomBytes) {
      if (this.#outbox.behind && !this.#refill()) break
      // While behind, what has come already is not all in this batch. What comes later gets a later arrival.
      const watermark = this.#outbox.behind ? 0 : tick.now
      this.#lastAtMs = Math.max(this.#lastAtMs, watermark)
      const batch = this.#outbox.cut(watermark, tick.urgent)
      if (batch === undefined) break
      batches.push(batch)
      bytes += batch.bytes.length
    }
    if (batches.length > 0) this.#lastBatch = at
    else if (tick.roomBatches > 0 && !this.#outbox.behind && Math.abs(at - this.#lastBatch) >= SIGN_OF_LIFE_MS) {
      this.#lastBatch = at
      batches.push(this.#outbox.sign(tick.now))
    }
    if (tick.takesEmission === false) return { batches, emission: undefined }
    // What is taken from now on has a later arrival than what was given out.
    this.#lastAtMs = Math.max(this.#lastAtMs, tick.now)
    const emission = this.#windows.emit(tick.now, this.#lastAtMs, tick.urgent)
    const { session } = this.#options.origin
    return { batches, emission: emission === undefined ? undefined : { ...emission, session } }
  }

  /** See {@link RuleWindows}: what rules make of the samples, apart from the windows' way through a tick. */
  get windows(): Pick<RuleWindows, 'bounds' | 'bound' | 'emitAgain' | 'settle' | 'figures'> {
    return this.#windows
  }

  /** The metrics that overflow most. */
  get overflowing(): readonly OverflowingMetric[] {
    return this.#reception.overflow.top
  }

  /** Makes the batches from a position on again; answers to those given out must not be reported any more. */
  rewind(from: number): void {
    this.#outbox.rewind(from, this.#reception.table)
  }

  /** Definitions for references that an aggregator does not know, as a section of a batch; those that we forgot are missing. */
  describe(refs: readonly number[]): { readonly found: number; readonly section: Uint8Array<ArrayBuffer> } {
    const wanted = new Set(refs)
    const found: SeriesDefinition[] = []
    const { table } = this.#reception
    for (let series = 0; series < table.count; series++) {
      if (wanted.has(table.ref[series]!)) found.push(this.#reception.define(series))
    }
    return { found: found.length, section: encodeDefinitions(found) }
  }

  /** Syncs, writes the cursor and closes the files. What is not stored stays in the journal. */
  close(now: number): void {
    this.#kept.hurry()
    this.#kept.sync(now)
    this.#moveCursor(now, now)
    this.#journal.close()
  }

  #openHistory({ first }: JournalPlaces, kept: number): RuleHistory {
    const path = join(this.#options.directory, 'rules')
    const moment = { lastAt: this.#lastAtMs, kept, first }
    return RuleHistory.open(this.#files, path, this.#options.rules.rules, moment, (error) => {
      const reason = `Cannot write down that rules have changed, in "${path}": ${messageOf(error)}${remedyOf(error)}`
      this.#kept.begin('append', reason)
      this.counts.cursorFailures++
    })
  }

  #append(records: readonly JournalRecord[]): Outcome<never> | undefined {
    const failure = this.#kept.append(records, () => this.counts.windowsUnkept++)
    if (failure !== undefined) return failure
    const unsynced = this.#options.syncEveryWrite ? this.#kept.force() : undefined
    if (unsynced === undefined) this.#kept.appended()
    return unsynced
  }

  /** What follows from the append; the last values were set by the judge. */
  #apply(records: readonly Recorded[], atMs: number): void {
    this.#lastAtMs = atMs
    this.#outbox.shed(this.#reception.table, this.#reception.scratch.count + this.#reception.extras.count)
    for (const { record, body } of records) {
      this.#outbox.shedHuge(this.#reception.table)
      const { behind } = this.#outbox
      const plain = this.#reception.plainSamples(body, atMs)
      if (plain !== undefined) {
        const dropped = this.#windows.takingAll(record, plain)
        if (behind) continue
        const { table, scratch, describe } = this.#reception
        this.#outbox.putAll(table, scratch, plain, record.at, describe)
        this.#reach(record, dropped)
        continue
      }
      const visitor = this.#windows.taking(record, behind ? NOBODY : this.#intoOutbox(record.at))
      this.#reception.commit(body, atMs, visitor)
      visitor.done()
      if (!behind) this.#reach(record, visitor.dropped)
    }
  }

  #reach({ door, kinds, position, count }: JournalRecord, dropped: number): void {
    this.#outbox.reach(door, [kinds[0]! - dropped, ...kinds.slice(1)], position + count)
  }

  #intoOutbox(arrival: number): RecordVisitor {
    const { table, scratch, extras, describe } = this.#reception
    return {
      sample: (i) => this.#outbox.put(table, scratch, i, arrival, describe),
      extra: (i) => {
        const tenant = extras.kind(i) === 'metadata' ? this.#reception.tenant(extras.series[i]!) : ''
        this.#outbox.putExtra(table, extras, i, arrival, tenant, describe)
      },
    }
  }

  /**
   * Reads the journal into the outbox until that has enough for a batch, or the journal has no more.
   * @returns false where it cannot be read: what is there waits
   */
  #refill(): boolean {
    try {
      this.#readIntoOutbox()
      this.#kept.over('read')
      return true
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#kept.begin('read', error.message)
      return false
    }
  }

  #readIntoOutbox(): void {
    while (!this.#outbox.full) {
      const [record] = this.#journal.read(this.#outbox.builtTo, 1)
      if (record === undefined) {
        this.#outbox.caughtUp(this.#journal.end)
        return
      }
      const end = record.position + record.count
      if (this.#outbox.passes(record.position, end)) continue
      this.#reception.forgetIdleSeries(this.#lastAtMs) // what is read again has no bounds of its own
      const visitor = this.#windows.again(record, this.#intoOutbox(record.at))
      if (!this.#replay(record, visitor)) this.#countUnreadable(record)
      visitor.done()
      this.#reach(record, visitor.dropped)
    }
  }

  #restoreLastValues(record: JournalRecord): void {
    const { table, scratch } = this.#reception
    const sample = (i: number): void => {
      const { series, times, words } = scratch
      const s = series[i]!
      if (s >= OVERFLOW) return
      if (times[i]! < table.lastTime[s]!) return
      table.lastTime[s] = times[i]!
      table.lastWords[2 * s] = words[2 * i]!
      table.lastWords[2 * s + 1] = words[2 * i + 1]!
    }
    this.#replay(record, { ...NOBODY, sample })
  }

  /** @returns false for a record that is sound by its checksum, and yet passed over: it is kept for a person */
  #replay(record: JournalRecord, visitor: RecordVisitor): boolean {
    if (this.#aside.has(record)) return false
    let readable: boolean
    try {
      readable = this.#reception.replay(record, visitor)
    } catch (defect) {
      throw this.#aside.failed(record, defect)
    }
    if (!readable) this.#aside.unreadable(record)
    return readable
  }

  /** As the outbox passes it, once. */
  #countUnreadable({ position, count }: JournalRecord): void {
    if (position < this.#unreadableTo) return
    this.#unreadableTo = position + count
    this.counts.unreadable += count
  }

  /** Since when counters count is said again each day: what is said in the store expires like the samples. */
  #sayStartsDaily(now: number): void {
    const day = Math.floor(now / DAY_MS)
    if (day !== this.#startsDay) this.#reception.table.forgetStarts()
    this.#startsDay = day
  }

  /** @param at of the clock that goes on, ms */
  #moveCursor(at: number, now: number): void {
    this.#kept.moveCursor(at, () => ({
      position: Math.min(this.#outbox.cursor, this.#windows.position),
      at: this.#lastAtMs * MICROS + MICROS - 1,
      ...this.#windows.hint,
      keepFrom: this.#windows.keepFrom(now, this.#lastAtMs),
    }))
  }
}

function batchOrigin({ origin, opening }: ShardOptions): BatchOrigin {
  return opening === undefined ? origin : { ...origin, session: `${origin.session}-${opening}` }
}

const NO_HINT: WindowsHint = { windowsFrom: 0, kept: 0 }
