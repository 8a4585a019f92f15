/**
 * What a shard's journal owes to windows of rules: which samples are only in windows, until when their records are needed, and
 * how windows come back after a restart.
 *
 *     taken ──▶ in windows ──▶ emitted ──▶ outputs journalled ("kept") ──▶ the record may go
 *                  ▲ restart: the journal's end, as far back as windows reach that are not kept for good
 */
import type { JournalRecord } from '../journal/record.ts'
import { DOORS } from '../journal/record.ts'
import type { Emission } from '../rules/shard-rules.ts'
import { UNCOUNTED } from '../rules/shard-rules.ts'
import { DroppedRecords } from './dropped-records.ts'
import type { JournalPlaces } from './journal-places.ts'
import { OVERFLOW } from './overflow.ts'
import type { PlainSamples, Reception, RecordVisitor, WillDrop } from './reception.ts'
import type { RuleOptions } from './rule-feed.ts'
import { RuleFeed } from './rule-feed.ts'
import type { RuleHistory } from './rule-history.ts'
import type { ShardCounts } from './shard-counts.ts'

/** Which windows of rules can be given out, after a restart: see RulesService. All ms; -∞: no bound. */
export interface WindowBounds {
  /** What is older is not complete. */
  readonly floor: number
  /** What was closed then is given out for good. */
  readonly closed: number
  /** By rule of the configuration: what was due then was given out by others, under names of its own. */
  readonly begins: readonly number[]
}

/** What the next process has to know of windows. */
export interface WindowsHint {
  /** Nothing that arrived up to here is in a window any more, µs. */
  readonly windowsFrom: number
  /** What was given out up to then is journalled, ms. */
  readonly kept: number
}

/** The journal that windows are made of again. */
interface Source {
  /** Arrival of the newest record that is gone, µs; 0: none is. */
  readonly horizon: number
  read(from: number, maxBytes: number): readonly JournalRecord[]
}

/** What all shards can give out. @param bounds of each, undefined: it has none */
export function commonBounds(bounds: readonly (WindowBounds | undefined)[]): WindowBounds {
  const known = bounds.filter((one) => one !== undefined)
  const rules = Math.max(0, ...known.map(({ begins }) => begins.length))
  return {
    floor: Math.max(...known.map(({ floor }) => floor)),
    closed: Math.max(...known.map(({ closed }) => closed)),
    begins: Array.from({ length: rules }, (_, rule) => Math.max(...known.map(({ begins }) => begins[rule]!))),
  }
}

/** Visits a record's items; `dropped` then says how many of its samples are not to be stored. */
export interface DroppingVisitor extends RecordVisitor {
  readonly dropped: number
}

const MICROS = 1000
/** Windows that took points are given out as often as they can be due at all. */
const EMIT_EVERY_MS = 1000
const NO_BOUNDS: WindowBounds = { floor: Number.NEGATIVE_INFINITY, closed: Number.NEGATIVE_INFINITY, begins: [] }

export class RuleWindows {
  readonly #feed: RuleFeed
  readonly #reception: Reception
  readonly #counts: ShardCounts
  readonly #futureMaxMs: number
  readonly #writer: number
  readonly #history: RuleHistory
  readonly #records = new DroppedRecords()
  #bounds = NO_BOUNDS
  #kept = 0
  #windowsFrom = 0
  #emittedAt = 0
  /** Time of the emission that is under way, ms. */
  #emitting: number | undefined
  /** What an earlier process has consumed is counted up to here. */
  #consumedTo = 0

  /** @param writer last digits of the shard's arrivals */
  constructor(
    options: { readonly rules: RuleOptions; readonly futureMaxMs: number; readonly writer: number },
    reception: Reception,
    counts: ShardCounts,
    history: RuleHistory,
  ) {
    this.#feed = new RuleFeed(options.rules, reception, history)
    this.#history = history
    this.#reception = reception
    this.#counts = counts
    this.#futureMaxMs = options.futureMaxMs
    this.#writer = options.writer
  }

  get figures(): { readonly points: number; readonly late: number; readonly full: number } {
    return { points: this.#feed.points, ...this.#feed.counts }
  }

  get hint(): WindowsHint {
    return { windowsFrom: this.#windowsFrom, kept: this.#kept }
  }

  /** What this shard's own journal gives. */
  get bounds(): WindowBounds {
    return this.#bounds
  }

  /** Position that the journal has to be kept from; Infinity: any. */
  get position(): number {
    return this.#records.first
  }

  /** Windows outside of these bounds are not given out: some shard does not have all of them. */
  bound({ floor, closed, begins }: WindowBounds): void {
    this.#feed.raiseFloor(floor)
    this.#feed.begin(begins)
    if (closed > Number.NEGATIVE_INFINITY) this.#feed.close(closed)
  }

  /** Windows are given out once more, but those that were closed at a time, ms. */
  emitAgain(closed: number): void {
    this.#feed.emitAgain(closed)
  }

  /**
   * Which samples of a write are not to be stored themselves, asked for one body after the other; undefined: none is.
   * @param atMs arrival of the write
   */
  willDrop(atMs: number): WillDrop | undefined {
    if (!this.#feed.drops) return undefined
    const at = atMs * MICROS + this.#writer
    let ahead = 0
    return (samples, into) => {
      const dropped = this.#feed.willDropAll(samples, at, ahead, into)
      ahead += samples.end - samples.start
      return dropped
    }
  }

  /** Whether samples of a write can go into windows instead of being stored, asked for one after the other. */
  takesOverflow(atMs: number): (item: number) => boolean {
    let ahead = 0
    return (item) => this.#feed.willDrop(item, atMs * MICROS + this.#writer, ahead++)
  }

  /** Puts the samples of a record that was just journalled into windows. @returns how many are not to be stored themselves */
  takingAll({ door, position, at }: JournalRecord, samples: PlainSamples): number {
    const { count, toldBy } = this.#feed.foldAll(samples, at, DOORS.indexOf(door))
    if (count > 0) this.#records.add(position, toldBy)
    return count
  }

  /** Puts the samples of a record that was just journalled into windows, and what is to be stored into the outbox. */
  taking(record: JournalRecord, outbox: RecordVisitor): DroppingVisitor & { done(): void } {
    const source = DOORS.indexOf(record.door)
    let dropped = 0
    let toldBy = 0
    return {
      sample: (i, drop) => {
        this.#feed.fold(i, record.at, drop ? source : UNCOUNTED)
        if (!drop) outbox.sample(i, drop)
        else {
          dropped++
          toldBy = Math.max(toldBy, this.#feed.toldBy(i, record.at))
        }
      },
      extra: outbox.extra,
      get dropped() {
        return dropped
      },
      done: () => {
        if (dropped > 0) this.#records.add(record.position, toldBy)
      },
    }
  }

  /** Puts what is to be stored of a record into the outbox; its samples went into windows before. */
  again(record: JournalRecord, outbox: RecordVisitor): DroppingVisitor & { done(): void } {
    let dropped = 0
    let before = 0
    return {
      sample: (i, drop) => {
        const fate = drop ? this.#feed.fateOfDropped(i, record.at) : 'not in a window'
        // Beyond the cardinality bounds it has no series to be stored under, and its window cannot be told of any more.
        const lost = fate === 'not in a window' && this.#reception.scratch.series[i]! >= OVERFLOW
        if (fate === 'not in a window' && !lost) outbox.sample(i, drop)
        else dropped++
        if (lost) this.#counts.overflowLost++
        if (lost || fate === 'given out') before++
      },
      extra: outbox.extra,
      get dropped() {
        return dropped
      },
      done: () => {
        // What an earlier process consumed after its cursor is counted as this one passes it, once.
        if (record.position < this.#consumedTo) return
        this.#consumedTo = record.position + record.count
        this.#counts.of(record.door, 'sample').consumed += before
      },
    }
  }

  /** What was given out up to a time is journalled, ms. */
  settle(kept: number): void {
    this.#kept = Math.max(this.#kept, kept)
    // Up to there, other rules have told of other windows.
    if (this.#kept > this.#history.keptBefore) this.#records.settle(this.#kept)
  }

  /** Whether windows are given out only in part: {@link emit} is to be called again soon. */
  get emitting(): boolean {
    return this.#emitting !== undefined
  }

  /** Windows that are due; undefined: not yet, or not all. @param lastAt what is taken from now on arrives later than this, ms */
  emit(now: number, lastAt: number, urgent: boolean): (Emission & { readonly time: number }) | undefined {
    if (this.#emitting === undefined) {
      if (!urgent && Math.abs(now - this.#emittedAt) < EMIT_EVERY_MS) return undefined
      this.#emittedAt = now
      this.#emitting = lastAt
    }
    const time = this.#emitting
    const emission = this.#feed.emit(time, urgent, this.#kept)
    if (emission === undefined) return undefined
    this.#emitting = undefined
    for (const { dropped } of emission.windows) {
      if (dropped === undefined) continue
      for (const [source, door] of DOORS.entries()) this.#counts.of(door, 'sample').consumed += dropped[source]!
    }
    return { ...emission, time }
  }

  /** Records that arrived after this are still needed to make windows again, µs. @param lastAt ms */
  keepFrom(now: number, lastAt: number): number {
    // Below the floor, that no window has a point does not mean that none of its points came.
    if (this.#feed.points === 0 && !this.#feed.isBelowFloor(lastAt)) this.#windowsFrom = lastAt * MICROS + MICROS - 1
    const start = this.#feed.oldestStart(Math.min(Math.max(now, lastAt), this.#kept)) - this.#futureMaxMs
    return Math.max(this.#windowsFrom, start * MICROS)
  }

  /**
   * Puts the end of the journal into windows again: as far back as any of them reaches that may still change, or is not kept yet.
   * What the journal no longer has of that makes windows incomplete, and those are never given out.
   * @param lastAt the latest arrival that was given out, ms. @param cursor everything up to here is stored
   * @param replay visits the accepted items of a record
   */
  restore(
    journal: Source,
    places: JournalPlaces,
    hint: WindowsHint,
    state: { readonly lastAt: number; readonly cursor: number },
    replay: (record: JournalRecord, visitor: RecordVisitor) => void,
  ): void {
    // That nothing was in a window is no longer so where the rules were others.
    this.#windowsFrom = hint.windowsFrom > this.#history.since ? hint.windowsFrom : 0
    this.#kept = hint.kept
    const closed = Math.min(state.lastAt, hint.kept)
    const begins = this.#history.begins(closed - this.#feed.reachMs)
    const from = Math.max(closed - this.#feed.reachMs - this.#futureMaxMs, this.#windowsFrom / MICROS)
    const complete = Math.max(journal.horizon, from * MICROS)
    const cut = complete > this.#windowsFrom && (journal.horizon > 0 || places.first < from)
    this.#bounds = { floor: cut ? complete / MICROS + this.#futureMaxMs : Number.NEGATIVE_INFINITY, closed, begins }
    this.#feed.raiseFloor(this.#bounds.floor)
    this.#feed.begin(begins)
    const start = places.firstAfter(from)
    if (start === undefined) return
    this.#feed.refold(closed, () => {
      for (let position = start; ; ) {
        const [record] = journal.read(position, 1)
        if (record === undefined) return
        this.#fold(record, state.cursor, replay)
        position = record.position + record.count
      }
    })
  }

  #fold(record: JournalRecord, cursor: number, replay: (record: JournalRecord, visitor: RecordVisitor) => void): void {
    const counted = record.position >= cursor
    const source = counted ? DOORS.indexOf(record.door) : UNCOUNTED
    let toldBy = 0
    replay(record, {
      sample: (i, drop) => {
        this.#feed.fold(i, record.at, drop ? source : UNCOUNTED)
        if (drop && this.#feed.fateOfDropped(i, record.at) === 'in a window')
          toldBy = Math.max(toldBy, this.#feed.toldBy(i, record.at))
      },
      extra: () => {},
    })
    if (toldBy > 0 && counted) this.#records.add(record.position, toldBy)
  }
}
