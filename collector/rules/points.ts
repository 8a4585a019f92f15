/**
 * Points of one window, of neighbouring series, in columns:
 *
 *     0 ──────── settled ──────────── count
 *     of each series in the        as they came; repeats, replaced
 *     order of time; one point     and late ones among them
 *     for each instant
 *
 * Taking a point is six writes at the end. Points usually come in the order of time; where they do not, settling sorts them by series
 * and time, and of several points of a series for one instant the latest arrival stays. 28 bytes a point, at most twice that while
 * they grow.
 */
import type { PointColumns, PointMemory } from './point-columns.ts'

/** Series of the same reference but for these bits share a piece. */
export const PIECE_BITS = 10
const PIECE_SERIES = 1 << PIECE_BITS
const NO_TIME = 0xffffffff
/** By series of a piece, for a moment. */
const newest = new Uint32Array(PIECE_SERIES)

export class Points {
  count = 0
  settled = 0
  readonly #memory: PointMemory
  #columns: PointColumns
  // Those of the columns, for the hot path.
  ref!: Uint32Array
  membership!: Uint32Array
  before!: Uint32Array
  words!: Uint32Array
  values!: Float64Array
  at!: Float64Array

  /** @param memory gives the columns, and gets them back. @param capacity points that are expected */
  constructor(memory: PointMemory, capacity: number) {
    this.#memory = memory
    this.#columns = memory.take(capacity)
    this.#show()
  }

  push(ref: number, membership: number, before: number, low: number, high: number, at: number): void {
    const i = this.count
    if (i === this.ref.length) this.#grow()
    this.ref[i] = ref
    this.membership[i] = membership
    this.before[i] = before
    this.words[2 * i] = low
    this.words[2 * i + 1] = high
    this.at[i] = at
    this.count = i + 1
  }

  /**
   * Sorts what came since the last time in among the rest, by series. @param bySeries also where nothing needs to be sorted
   * @returns how many points that made superfluous
   */
  settle(sorter: Sorter, bySeries: boolean): number {
    const { count, ref, before, membership, words, at } = this
    if (!bySeries && this.#isInOrder()) {
      this.settled = count
      return 0
    }
    const order = sorter.sort(this)
    const settled = this.#memory.take(count)
    let kept = 0
    for (let k = 0; k < count; k++) {
      const i = order[k]!
      const later = k + 1 < count ? order[k + 1]! : -1
      // The next one is of the same series and instant, and arrived later.
      if (later >= 0 && ref[later] === ref[i] && before[later] === before[i]) continue
      settled.ref[kept] = ref[i]!
      settled.membership[kept] = membership[i]!
      settled.before[kept] = before[i]!
      settled.words[2 * kept] = words[2 * i]!
      settled.words[2 * kept + 1] = words[2 * i + 1]!
      settled.at[kept] = at[i]!
      kept++
    }
    this.#use(settled)
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
    const { ref, before, count } = this
    newest.fill(NO_TIME)
    for (let i = 0; i < count; i++) {
      const series = ref[i]! & (PIECE_SERIES - 1)
      if (before[i]! >= newest[series]!) return false
      newest[series] = before[i]!
    }
    return true
  }

  #grow(): void {
    const { count, ref, membership, before, words, at } = this
    // Once they were sorted, and so given out, only late points come.
    const larger = this.#memory.take(this.settled === 0 ? 2 * count : count + 1)
    larger.ref.set(ref)
    larger.membership.set(membership)
    larger.before.set(before)
    larger.words.set(words)
    larger.at.set(at)
    this.#use(larger)
  }

  #use(columns: PointColumns): void {
    this.#memory.give(this.#columns)
    this.#columns = columns
    this.#show()
  }

  #show(): void {
    const { ref, membership, before, words, values, at } = this.#columns
    this.ref = ref
    this.membership = membership
    this.before = before
    this.words = words
    this.values = values
    this.at = at
  }
}

const DIGIT_BITS = 11
const DIGITS = 1 << DIGIT_BITS

/** Orders points by series, time and arrival; its memory is used again. */
export class Sorter {
  #order = new Uint32Array(0)
  #other = new Uint32Array(0)
  readonly #starts = new Uint32Array(DIGITS)

  /** @returns indices of the points, valid until the next call */
  sort(points: Points): Uint32Array {
    const { count } = points
    if (this.#order.length < count) {
      this.#order = new Uint32Array(count)
      this.#other = new Uint32Array(count)
    }
    for (let i = 0; i < count; i++) this.#order[i] = i
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) this.#byDigit(points.ref, count, shift)
    this.#sortRuns(points)
    return this.#order
  }

  /** One pass of a radix sort, least digit first: keeps the order of those that are equal. */
  #byDigit(refs: Uint32Array, count: number, shift: number): void {
    const starts = this.#starts.fill(0)
    for (let i = 0; i < count; i++) starts[(refs[i]! >>> shift) & (DIGITS - 1)]!++
    if (count === 0 || starts[(refs[0]! >>> shift) & (DIGITS - 1)] === count) return // all have the same digit
    let sum = 0
    for (let d = 0; d < DIGITS; d++) {
      const n = starts[d]!
      starts[d] = sum
      sum += n
    }
    const from = this.#order
    const into = this.#other
    for (let k = 0; k < count; k++) {
      const i = from[k]!
      into[starts[(refs[i]! >>> shift) & (DIGITS - 1)]!++] = i
    }
    this.#order = into
    this.#other = from
  }

  /** Within each series: usually in order as it came. */
  #sortRuns(points: Points): void {
    const { ref, before, count } = points
    const order = this.#order
    const compare = (a: number, b: number): number => compareInSeries(points, a, b)
    for (let start = 0, end = 0; start < count; start = end) {
      let previous = order[start]!
      const series = ref[previous]
      let sorted = true
      for (end = start + 1; end < count; end++) {
        const next = order[end]!
        if (ref[next] !== series) break
        sorted &&= before[previous]! > before[next]!
        previous = next
      }
      if (!sorted) order.subarray(start, end).sort(compare)
    }
  }
}

/** By time, then arrival; one arrival has one value, and if not, the order is still always the same. */
function compareInSeries({ before, at, words }: Points, a: number, b: number): number {
  return (
    before[b]! - before[a]! || at[a]! - at[b]! || words[2 * a + 1]! - words[2 * b + 1]! || words[2 * a]! - words[2 * b]!
  )
}
