/**
 * Points of one window, of neighbouring series, in columns:
 *
 *     0 ──────── settled ──────────── count
 *     of each series in the        as they came; repeats, replaced
 *     order of time; one point     and late ones among them
 *     for each instant
 *
 * Taking a point is four writes at the end. Points usually come in the order of time; where they do not, or where somebody wants them
 * by series, settling sorts them by series and time, and of several points of a series for one instant the latest arrival stays.
 * 14 bytes a point, at most twice that while they grow; 8 more once they were sorted, before that 16 for each arrival; 4 KiB besides.
 */
import { grown } from '../../proto/wire/grown.ts'
import type { PointColumns, PointMemory } from './point-columns.ts'
import { CAPACITY_MIN } from './point-columns.ts'

/** Series of the same reference but for these bits share a piece. */
export const PIECE_BITS = 10
export const PIECE_SERIES: number = 1 << PIECE_BITS
const NO_TIME = 0xffffffff
const NO_MEMBERSHIP = -1
/** By series of a piece, for a moment. */
const newest = new Uint32Array(PIECE_SERIES)

export class Points {
  count = 0
  settled = 0
  /** By series of the piece; below 0: it has no point. A series that came under several has the last one. */
  readonly membership: Int32Array = new Int32Array(PIECE_SERIES).fill(NO_MEMBERSHIP)
  readonly #memory: PointMemory
  #columns: PointColumns
  // Those of the columns, for the hot path.
  series!: Uint16Array
  before!: Uint32Array
  words!: Uint32Array
  values!: Float64Array
  /** Arrivals, µs: of the points from `#runs` on each, or, once they were sorted, of every point. */
  #arrivals: number[] = []
  #runs: number[] = []
  #at: Float64Array | undefined = undefined
  #arrival: number = Number.NaN

  /** @param memory gives the columns, and gets them back. @param capacity points that are expected */
  constructor(memory: PointMemory, capacity: number) {
    this.#memory = memory
    this.#columns = memory.take(capacity)
    this.#show()
  }

  /** @param series its number in the piece. @param before its time, ms before the window's end. @param at µs */
  push(series: number, membership: number, before: number, low: number, high: number, at: number): void {
    const i = this.count
    if (i === this.series.length) this.#grow()
    if (at !== this.#arrival) this.#arrive(at)
    this.series[i] = series
    this.before[i] = before
    this.words[2 * i] = low
    this.words[2 * i + 1] = high
    this.membership[series] = membership
    if (this.#at !== undefined) this.#at[i] = at
    this.count = i + 1
  }

  /**
   * Sorts what came since the last time in among the rest, by series. @param bySeries also where nothing needs to be sorted
   * @returns how many points that made superfluous
   */
  settle(sorter: Sorter, bySeries: boolean): number {
    const { count, series, before, words } = this
    if (!bySeries && this.#isInOrder()) {
      this.settled = count
      if (series.length > CAPACITY_MIN && series.length > count * 1.5) this.#move(count) // it is kept for minutes
      return 0
    }
    const at = this.#eachArrival()
    const order = sorter.sort(this, at)
    const settled = this.#memory.take(count)
    const settledAt = new Float64Array(settled.capacity)
    let kept = 0
    for (let k = 0; k < count; k++) {
      const i = order[k]!
      const later = k + 1 < count ? order[k + 1]! : -1
      // The next one is of the same series and instant, and arrived later.
      if (later >= 0 && series[later] === series[i] && before[later] === before[i]) continue
      settled.series[kept] = series[i]!
      settled.before[kept] = before[i]!
      settled.words[2 * kept] = words[2 * i]!
      settled.words[2 * kept + 1] = words[2 * i + 1]!
      settledAt[kept] = at[i]!
      kept++
    }
    this.#use(settled)
    this.#at = settledAt
    this.#arrivals = []
    this.#runs = []
    this.count = kept
    this.settled = kept
    return count - kept
  }

  /** Gives its memory back. It is not to be used any more. */
  close(): void {
    this.#memory.give(this.#columns)
    this.count = 0
  }

  /** Whether each point of a series is later than the one before: then none is there twice. */
  #isInOrder(): boolean {
    const { series, before, count } = this
    newest.fill(NO_TIME)
    for (let i = 0; i < count; i++) {
      if (before[i]! >= newest[series[i]!]!) return false
      newest[series[i]!] = before[i]!
    }
    return true
  }

  #arrive(at: number): void {
    this.#arrival = at
    if (this.#at !== undefined) return
    this.#arrivals.push(at)
    this.#runs.push(this.count)
  }

  /** By point. */
  #eachArrival(): Float64Array {
    if (this.#at !== undefined) return this.#at
    const each = new Float64Array(this.count)
    for (const [i, start] of this.#runs.entries()) each.fill(this.#arrivals[i]!, start, this.#runs[i + 1] ?? this.count)
    return each
  }

  #grow(): void {
    // Once they were settled, and so given out, only late points come.
    this.#move(this.settled === 0 ? 2 * this.count : this.count + 1)
    if (this.#at !== undefined) this.#at = grown(this.#at, new Float64Array(this.series.length))
  }

  /** To columns for so many points, at least those that there are. */
  #move(capacity: number): void {
    const { count, series, before, words } = this
    const columns = this.#memory.take(capacity)
    columns.series.set(series.subarray(0, count))
    columns.before.set(before.subarray(0, count))
    columns.words.set(words.subarray(0, 2 * count))
    this.#use(columns)
  }

  #use(columns: PointColumns): void {
    this.#memory.give(this.#columns)
    this.#columns = columns
    this.#show()
  }

  #show(): void {
    const { series, before, words, values } = this.#columns
    this.series = series
    this.before = before
    this.words = words
    this.values = values
  }
}

/** Orders points by series, time and arrival; its memory is used again. */
export class Sorter {
  #order = new Uint32Array(0)
  readonly #starts = new Uint32Array(PIECE_SERIES)

  /** @param at arrivals by point. @returns indices of the points, valid until the next call */
  sort(points: Points, at: Float64Array): Uint32Array {
    const { count, series } = points
    if (this.#order.length < count) this.#order = new Uint32Array(count)
    const starts = this.#starts.fill(0)
    for (let i = 0; i < count; i++) starts[series[i]!]!++
    let sum = 0
    for (let s = 0; s < PIECE_SERIES; s++) {
      const n = starts[s]!
      starts[s] = sum
      sum += n
    }
    const order = this.#order
    for (let i = 0; i < count; i++) order[starts[series[i]!]!++] = i
    this.#sortRuns(points, at)
    return order
  }

  /** Within each series: usually in order as it came. */
  #sortRuns(points: Points, at: Float64Array): void {
    const { series, before, count } = points
    const order = this.#order
    const compare = (a: number, b: number): number => compareInSeries(points, at, a, b)
    for (let start = 0, end = 0; start < count; start = end) {
      let previous = order[start]!
      const own = series[previous]
      let sorted = true
      for (end = start + 1; end < count; end++) {
        const next = order[end]!
        if (series[next] !== own) break
        sorted &&= before[previous]! > before[next]!
        previous = next
      }
      if (!sorted) order.subarray(start, end).sort(compare)
    }
  }
}

/** By time, then arrival; one arrival has one value, and if not, the order is still always the same. */
function compareInSeries({ before, words }: Points, at: Float64Array, a: number, b: number): number {
  return (
    before[b]! - before[a]! || at[a]! - at[b]! || words[2 * a + 1]! - words[2 * b + 1]! || words[2 * a]! - words[2 * b]!
  )
}
