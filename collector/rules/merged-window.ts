/**
 * What the shards told of one window of a rule, and what was given out of it, in columns: a place for each group, and in the columns
 * of outputs one for each series of a group.
 *
 * Groups are numbered by the merger; a number that this window was not told of has no part here and nothing given.
 */

import { grown } from '../../proto/wire/grown.ts'
import type { Part } from './part.ts'
import type { SampleHistogram } from './sample-histogram.ts'
import { sameHistogram } from './sample-histogram.ts'

const NO_PART = -1

// What stands in an output's place.
const NONE = 0
const FLOAT = 1
const HISTOGRAM = 2

/** Where a shard tells of a group. */
interface ShardParts {
  readonly parts: Part[]
  /** By group: which of them, or NO_PART, and which group it is there. */
  part: Int32Array
  row: Int32Array
}

export class MergedWindow {
  /** Numbers of groups told of are below. */
  groups = 0
  readonly #width: number
  /** By output (group × width + series): which kind was given out, and the value of a float. */
  #kinds: Uint8Array
  #values: Float64Array
  readonly #histograms = new Map<number, SampleHistogram>()
  readonly #shards: readonly ShardParts[]
  /** The last part of the group that {@link partsOf} was asked of, and which group it is there. */
  part: Part | undefined = undefined
  row = 0
  /** Groups that may differ from what was given out, in the order in which they were told; and 1 for each of them. */
  #changed: Int32Array
  #changedCount = 0
  #isChanged: Uint8Array

  /** @param width outputs of a group. @param capacity groups that there is room for at first */
  constructor(shards: number, width: number, capacity: number) {
    this.#width = width
    this.#shards = Array.from({ length: shards }, () => ({
      parts: [],
      part: new Int32Array(capacity).fill(NO_PART),
      row: new Int32Array(capacity),
    }))
    this.#kinds = new Uint8Array(capacity * width)
    this.#values = new Float64Array(capacity * width)
    this.#isChanged = new Uint8Array(capacity)
    this.#changed = new Int32Array(capacity)
  }

  /** Before a complete part: what the shard told is void. */
  clear(shard: number): void {
    const told = this.#shards[shard]!
    for (let group = 0; group < told.part.length; group++) {
      if (told.part[group] === NO_PART) continue
      told.part[group] = NO_PART
      this.#change(group)
    }
    told.parts.length = 0
  }

  /** A part to come, of {@link tell}. @returns its number */
  push(shard: number, part: Part): number {
    return this.#shards[shard]!.parts.push(part) - 1
  }

  /** The shard tells of a group in row `row` of a part; what it told of it before is void. */
  tell(shard: number, group: number, part: number, row: number): void {
    if (group >= this.#isChanged.length) this.#grow(group + 1)
    const told = this.#shards[shard]!
    told.part[group] = part
    told.row[group] = row
    this.groups = Math.max(this.groups, group + 1)
    this.#change(group)
  }

  /** How many shards have a part of a group; the last of them is {@link part} then. */
  partsOf(group: number): number {
    let count = 0
    for (let shard = 0; shard < this.#shards.length; shard++) {
      const { parts, part, row } = this.#shards[shard]!
      const at = part[group] ?? NO_PART
      if (at === NO_PART) continue
      this.part = parts[at]!
      this.row = row[group]!
      count++
    }
    return count
  }

  /** Calls back with each shard's part of a group, and the row. */
  eachPart(group: number, visit: (part: Part, row: number) => void): void {
    for (const { parts, part, row } of this.#shards) {
      const at = part[group] ?? NO_PART
      if (at !== NO_PART) visit(parts[at]!, row[group]!)
    }
  }

  /** Groups that may differ; the next ones are collected from now on. */
  takeChanged(): Int32Array {
    const changed = this.#changed.slice(0, this.#changedCount)
    this.#changedCount = 0
    for (const group of changed) this.#isChanged[group] = 0
    return changed
  }

  /** A float stands in an output's place now. @returns whether that is new, bit for bit */
  setFloat(group: number, series: number, value: number): boolean {
    const place = group * this.#width + series
    if (this.#kinds[place] === FLOAT && Object.is(this.#values[place], value)) return false
    if (this.#kinds[place] === HISTOGRAM) this.#histograms.delete(place)
    this.#kinds[place] = FLOAT
    this.#values[place] = value
    return true
  }

  /** The same of a histogram. */
  setHistogram(group: number, series: number, histogram: SampleHistogram): boolean {
    const place = group * this.#width + series
    const given = this.#histograms.get(place)
    if (given !== undefined && sameHistogram(given, histogram)) return false
    this.#kinds[place] = HISTOGRAM
    this.#histograms.set(place, histogram)
    return true
  }

  /** The same of nothing. */
  setNone(group: number, series: number): boolean {
    const place = group * this.#width + series
    if (this.#kinds[place] === NONE) return false
    if (this.#kinds[place] === HISTOGRAM) this.#histograms.delete(place)
    this.#kinds[place] = NONE
    return true
  }

  #change(group: number): void {
    if (this.#isChanged[group] === 1) return
    this.#isChanged[group] = 1
    this.#changed[this.#changedCount++] = group
  }

  #grow(needed: number): void {
    const capacity = Math.max(needed, this.#isChanged.length * 2)
    for (const told of this.#shards) {
      told.part = grown(told.part, new Int32Array(capacity).fill(NO_PART))
      told.row = grown(told.row, new Int32Array(capacity))
    }
    this.#kinds = grown(this.#kinds, new Uint8Array(capacity * this.#width))
    this.#values = grown(this.#values, new Float64Array(capacity * this.#width))
    this.#isChanged = grown(this.#isChanged, new Uint8Array(capacity))
    this.#changed = grown(this.#changed, new Int32Array(capacity))
  }
}
