/**
 * States of a rule's groups in one window, in columns: a row a group, in the order in which they were met. What a state is, and that
 * it depends on the samples alone, see group-state.ts; this is where many are folded at once, without an object each.
 */

import { grown } from '../../proto/wire/grown.ts'
import { ExactSum, twoSumError } from './exact-sum.ts'
import type { Needs } from './group-state.ts'
import { above, GroupState } from './group-state.ts'

const CAPACITY_MIN = 64
/** In the place of a row. */
export const NO_ROW = -1

export class GroupColumns {
  rows = 0
  /** By row: the number of the group. */
  group: Uint32Array = new Uint32Array(CAPACITY_MIN)
  count: Float64Array = new Float64Array(CAPACITY_MIN)
  min: Float64Array = new Float64Array(CAPACITY_MIN)
  max: Float64Array = new Float64Array(CAPACITY_MIN)
  lastTime: Float64Array = new Float64Array(CAPACITY_MIN)
  last: Float64Array = new Float64Array(CAPACITY_MIN)
  /** Their sum is that of the samples exactly; where two doubles do not suffice, it is that of `states`, and these are void. */
  sum: Float64Array = new Float64Array(CAPACITY_MIN)
  low: Float64Array = new Float64Array(CAPACITY_MIN)
  /** By row, where columns do not suffice: sums of several doubles, increases, values, buckets. */
  readonly states: Map<number, GroupState> = new Map()
  /** By row: 1 where `states` has one. */
  #hasState = new Uint8Array(CAPACITY_MIN)
  readonly needs: Needs
  #rowOf = new Int32Array(0)

  constructor(needs: Needs) {
    this.needs = needs
  }

  /** The row of a group; NO_ROW (-1) when it has none. @param make one where there is none */
  row(group: number, make: boolean): number {
    if (group >= this.#rowOf.length) {
      if (!make) return NO_ROW
      const grown = new Int32Array(Math.max(CAPACITY_MIN, group + 1, this.#rowOf.length * 2)).fill(NO_ROW)
      grown.set(this.#rowOf)
      this.#rowOf = grown
    }
    const known = this.#rowOf[group]!
    if (known !== NO_ROW || !make) return known
    if (this.rows === this.group.length) this.#grow()
    const row = this.rows++
    this.#rowOf[group] = row
    this.group[row] = group
    this.count[row] = 0
    this.sum[row] = 0
    this.low[row] = 0
    this.min[row] = Number.NaN
    this.max[row] = Number.NaN
    this.lastTime[row] = Number.NEGATIVE_INFINITY
    this.last[row] = Number.NaN
    return row
  }

  /** Without rows again. */
  clear(): void {
    for (let row = 0; row < this.rows; row++) this.#rowOf[this.group[row]!] = NO_ROW
    if (this.states.size > 0) {
      this.states.clear()
      this.#hasState.fill(0, 0, this.rows)
    }
    this.rows = 0
  }

  /** Folds a sample in. Hot. @param time ms */
  add(row: number, time: number, value: number): void {
    const { needs } = this
    this.count[row]!++
    if (needs.sum) this.#addToSum(row, value)
    if (needs.extremes) this.#extend(row, value)
    if (needs.last) this.#follow(row, time, value)
    if (needs.values) this.stateOf(row).values!.push(value)
    if (needs.buckets) this.stateOf(row).buckets!.observe(value)
  }

  /** What of a row's state is not in columns. */
  stateOf(row: number): GroupState {
    let state = this.states.get(row)
    if (state === undefined) {
      state = new GroupState(this.needs)
      state.sum?.add(this.sum[row]!)
      state.sum?.add(this.low[row]!)
      this.states.set(row, state)
      this.#hasState[row] = 1
    }
    return state
  }

  #addToSum(row: number, value: number): void {
    if (this.#hasState[row] === 0) {
      const before = this.sum[row]!
      const sum = before + value
      if (Math.abs(sum) < ExactSum.PLAIN_MAX && Math.abs(value) < ExactSum.PLAIN_MAX) {
        // What rounding took goes to what it took before; of terms of a few decimals that loses nothing.
        const lost = twoSumError(before, value, sum)
        const lowBefore = this.low[row]!
        const low = lowBefore + lost
        if (twoSumError(lowBefore, lost, low) === 0) {
          this.sum[row] = sum
          this.low[row] = low
          return
        }
      }
    }
    this.stateOf(row).sum!.add(value)
  }

  #extend(row: number, value: number): void {
    const min = this.min[row]!
    const max = this.max[row]!
    // biome-ignore lint/suspicious/noSelfCompare: NaN, without a call
    if (value < min || min !== min || (value === 0 && min === 0 && Object.is(value, -0))) this.min[row] = value
    // biome-ignore lint/suspicious/noSelfCompare: the same
    if (value > max || max !== max || (value === 0 && max === 0 && Object.is(value, 0))) this.max[row] = value
  }

  #follow(row: number, time: number, value: number): void {
    const newest = this.lastTime[row]!
    if (time > newest || (time === newest && above(value, this.last[row]!))) {
      this.lastTime[row] = time
      this.last[row] = value
    }
  }

  #grow(): void {
    const capacity = this.group.length * 2
    this.group = grown(this.group, new Uint32Array(capacity))
    this.count = grown(this.count, new Float64Array(capacity))
    this.min = grown(this.min, new Float64Array(capacity))
    this.max = grown(this.max, new Float64Array(capacity))
    this.lastTime = grown(this.lastTime, new Float64Array(capacity))
    this.last = grown(this.last, new Float64Array(capacity))
    this.sum = grown(this.sum, new Float64Array(capacity))
    this.low = grown(this.low, new Float64Array(capacity))
    this.#hasState = grown(this.#hasState, new Uint8Array(capacity))
  }
}
