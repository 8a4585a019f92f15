/**
 * Decides about every sample of a write, against the series' last samples and against each other.
 *
 *     refused     the series or the time is not allowed
 *     duplicate   equal, bit for bit, to the series' last sample, or to one of this write for the same instant
 *     replaced    another value for the same instant follows in the same write: they would have one arrival
 *     accepted    everything else, also what is older than the last sample: the store makes repeats harmless by identity
 *
 * Last samples are set while judging, so that a write is judged against itself; `undo` puts them back.
 */

import { Instants } from './instants.ts'
import { OVERFLOW } from './overflow.ts'
import { REFUSAL_CODES } from './refusals.ts'
import type { Scratch } from './scratch.ts'
import { KEPT_SAMPLES, refusalOf } from './scratch.ts'
import type { SeriesTable } from './series-table.ts'
import { ACCEPTED, DUPLICATE, REFUSED, REPLACED, Verdicts } from './verdicts.ts'

export const TOO_OLD: number = REFUSED + REFUSAL_CODES.indexOf('too_old')
export const TOO_NEW: number = REFUSED + REFUSAL_CODES.indexOf('too_new')
const NO_ITEM = -1

/** Times that are allowed, ms, inclusive. */
export interface TimeBounds {
  readonly oldest: number
  readonly newest: number
}

export class Judge {
  readonly #scratch: Scratch
  readonly verdicts: Verdicts = new Verdicts()
  #write = 0
  /** Series touched in this write, with their last samples before it. */
  #undoCount = 0
  #undoSeries = new Int32Array(4096)
  #undoTimes = new Float64Array(4096)
  #undoWords = new Uint32Array(8192)
  /** Items of this write by series and time; made only when a series goes back in time within a write. */
  #instants: Instants | undefined
  readonly #seed: number

  /** @param seed of a hash table */
  constructor(scratch: Scratch, seed: number) {
    this.#scratch = scratch
    this.#seed = seed
  }

  /** Judges all samples in the scratch columns. */
  judge(table: SeriesTable, bounds: TimeBounds): void {
    const { count, series, times } = this.#scratch
    this.verdicts.reserve(count)
    const { bytes } = this.verdicts
    this.#write = (this.#write % 0xffffffff) + 1
    this.#undoCount = 0
    this.#instants = undefined
    for (let i = 0; i < count; i++) {
      const s = series[i]!
      const time = times[i]!
      bytes[i] =
        s < 0
          ? REFUSED + refusalOf(s)
          : time < bounds.oldest
            ? TOO_OLD
            : time > bounds.newest
              ? TOO_NEW
              : s >= OVERFLOW
                ? ACCEPTED // repeats are known in the window
                : this.#compare(table, s, time, i)
    }
  }

  /** Puts the last samples back as they were before the write. */
  undo(table: SeriesTable): void {
    for (let u = 0; u < this.#undoCount; u++) {
      const s = this.#undoSeries[u]!
      table.lastTime[s] = this.#undoTimes[u]!
      table.lastWords[2 * s] = this.#undoWords[2 * u]!
      table.lastWords[2 * s + 1] = this.#undoWords[2 * u + 1]!
      table.touchedBy[s] = 0
    }
  }

  /** Gives memory back that only an unusually large write needed. Between writes only. */
  release(): void {
    this.#instants = undefined
    this.verdicts.release()
    if (this.#undoSeries.length <= KEPT_SAMPLES) return
    this.#undoCount = 0
    this.#undoSeries = new Int32Array(4096)
    this.#undoTimes = new Float64Array(4096)
    this.#undoWords = new Uint32Array(8192)
  }

  /** Sets the verdicts of this item and, where it is superseded, of an earlier one. */
  #compare(table: SeriesTable, s: number, time: number, item: number): number {
    const last = table.lastTime[s]!
    const { words } = this.#scratch
    if (time === last) {
      if (table.lastWords[2 * s] === words[2 * item] && table.lastWords[2 * s + 1] === words[2 * item + 1])
        return DUPLICATE
      if (table.touchedBy[s] === this.#write && table.lastItem[s] !== NO_ITEM)
        this.verdicts.bytes[table.lastItem[s]!] = REPLACED
      this.#setLast(table, s, time, item)
      this.#instants?.set(item)
      return ACCEPTED
    }
    if (!(time < last)) {
      this.#setLast(table, s, time, item)
      this.#instants?.set(item)
      return ACCEPTED
    }
    if (table.touchedBy[s] !== this.#write) {
      this.#touch(table, s)
      table.lastItem[s] = NO_ITEM
      this.#instants?.set(item)
      return ACCEPTED
    }
    return this.#compareWithWrite(s, time, item)
  }

  /** The series has gone back in time within this write: has the write this instant already? */
  #compareWithWrite(s: number, time: number, item: number): number {
    const { words } = this.#scratch
    if (this.#instants === undefined) {
      this.#instants = new Instants(this.#scratch, this.#seed)
      for (let i = 0; i < item; i++) if (this.verdicts.bytes[i] === ACCEPTED) this.#instants.set(i)
    }
    const earlier = this.#instants.get(s, time)
    if (earlier !== undefined) {
      if (words[2 * earlier] === words[2 * item] && words[2 * earlier + 1] === words[2 * item + 1]) return DUPLICATE
      this.verdicts.bytes[earlier] = REPLACED
    }
    this.#instants.set(item)
    return ACCEPTED
  }

  #setLast(table: SeriesTable, s: number, time: number, item: number): void {
    if (table.touchedBy[s] !== this.#write) this.#touch(table, s)
    table.lastTime[s] = time
    table.lastWords[2 * s] = this.#scratch.words[2 * item]!
    table.lastWords[2 * s + 1] = this.#scratch.words[2 * item + 1]!
    table.lastItem[s] = item
  }

  /** Notes the last sample before this write, once a series. */
  #touch(table: SeriesTable, s: number): void {
    table.touchedBy[s] = this.#write
    const u = this.#undoCount++
    if (u === this.#undoSeries.length) this.#growUndo()
    this.#undoSeries[u] = s
    this.#undoTimes[u] = table.lastTime[s]!
    this.#undoWords[2 * u] = table.lastWords[2 * s]!
    this.#undoWords[2 * u + 1] = table.lastWords[2 * s + 1]!
  }

  #growUndo(): void {
    const { length } = this.#undoSeries
    const series = new Int32Array(length * 2)
    const times = new Float64Array(length * 2)
    const words = new Uint32Array(length * 4)
    series.set(this.#undoSeries)
    times.set(this.#undoTimes)
    words.set(this.#undoWords)
    this.#undoSeries = series
    this.#undoTimes = times
    this.#undoWords = words
  }
}
