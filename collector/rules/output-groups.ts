/** The groups of a rule that have outputs: a number for each, and its output series as remote write writes their labels. */
import { Writer } from '../../proto/wire/protobuf.ts'
import { writeSeries } from '../../proto/wire/remote-write.ts'
import type { GroupKey } from './output-labels.ts'
import { outputSeries } from './output-labels.ts'
import type { Rule } from './rule.ts'

/** A group's output series; but for `follows` it does not change. */
export interface OutputGroup {
  /** Index of the rule. */
  readonly rule: number
  readonly tenant: string
  /** Label fields of all its series, one series after the other, and where each ends. */
  readonly labels: Uint8Array
  readonly ends: readonly number[]
  /** No other group has it, also not later. */
  readonly serial: number
  /** What each of its series has in common with the one before. */
  readonly common: readonly Common[]
  /** The same of the first one and the last one of the group that it was written behind: in the next window it is so again. */
  follows: { readonly serial: number; readonly common: Common } | undefined
}

/** How many bytes two label blocks begin with, and end with, that are the same; together no more than the shorter one has. */
export interface Common {
  readonly head: number
  readonly tail: number
}

export const NOTHING_COMMON: Common = { head: 0, tail: 0 }

/** Of a[start..end) and b[from..to). */
export function commonOf(a: Uint8Array, start: number, end: number, b: Uint8Array, from: number, to: number): Common {
  const shorter = Math.min(end - start, to - from)
  let head = 0
  while (head < shorter && a[start + head] === b[from + head]) head++
  let tail = 0
  while (tail < shorter - head && a[end - 1 - tail] === b[to - 1 - tail]) tail++
  return { head, tail }
}

/** Many small texts share one piece of memory. */
const CHUNK_BYTES = 1 << 16
const NONE = -1

let nextSerial = 0

export class OutputGroups {
  /** Numbers given out so far, those that are free again included. */
  length = 0
  readonly #index: number
  readonly #rule: Rule
  readonly #collector: string
  readonly #numbers = new Map<GroupKey, number>()
  readonly #groups: (OutputGroup | undefined)[] = []
  readonly #keys: (GroupKey | undefined)[] = []
  /** By number: end of the last window that told of it, ms. */
  readonly #lastEnd: number[] = []
  readonly #free: number[] = []
  /** By shard and its number of a group: the key, and our number for it at last. */
  readonly #told: { readonly key: GroupKey; number: number }[][]
  #chunk = new Uint8Array(0)
  #chunkUsed = 0

  constructor(index: number, rule: Rule, collector: string, shards: number) {
    this.#told = Array.from({ length: shards }, () => [])
    this.#index = index
    this.#rule = rule
    this.#collector = collector
  }

  /** Groups that have a number. */
  get size(): number {
    return this.#numbers.size
  }

  /** From now on a shard means this group by a number of its own. */
  name(shard: number, theirs: number, key: GroupKey): void {
    this.#told[shard]![theirs] = { key, number: NONE }
  }

  /** The number of a group that a window, by its end, tells of; -1: the shard has not named it here. */
  numberOf(shard: number, theirs: number, end: number): number {
    const told = this.#told[shard]![theirs]
    if (told === undefined) return NONE
    if (this.#keys[told.number] !== told.key) told.number = this.#number(told.key)
    this.#lastEnd[told.number] = Math.max(this.#lastEnd[told.number]!, end)
    return told.number
  }

  #number(key: GroupKey): number {
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const number = this.#free.pop() ?? this.length++
    this.#numbers.set(key, number)
    this.#keys[number] = key
    this.#lastEnd[number] = Number.NEGATIVE_INFINITY
    return number
  }

  /** @param number one that was given out and is in use */
  get(number: number): OutputGroup {
    let group = this.#groups[number]
    if (group === undefined) {
      group = this.#make(this.#keys[number]!)
      this.#groups[number] = group
    }
    return group
  }

  /** Numbers of groups that only windows ending here or before told of are free again. */
  forget(end: number): void {
    for (const [key, number] of this.#numbers) {
      if (this.#lastEnd[number]! > end) continue
      this.#numbers.delete(key)
      this.#groups[number] = undefined
      this.#keys[number] = undefined
      this.#free.push(number)
    }
  }

  #make(key: GroupKey): OutputGroup {
    const { tenant, series } = outputSeries(this.#rule, key, this.#collector)
    const writer = new Writer()
    const ends: number[] = []
    for (const { labels } of series) {
      writeSeries(writer, { labels, samples: [] })
      ends.push(writer.len)
    }
    const labels = this.#keep(writer.finish())
    const common = ends.map((end, i) => {
      const start = ends[i - 1]
      return start === undefined ? NOTHING_COMMON : commonOf(labels, start, end, labels, ends[i - 2] ?? 0, start)
    })
    return { rule: this.#index, tenant, labels, ends, serial: nextSerial++, common, follows: undefined }
  }

  #keep(bytes: Uint8Array): Uint8Array {
    if (this.#chunkUsed + bytes.length > this.#chunk.length) {
      this.#chunk = new Uint8Array(Math.max(CHUNK_BYTES, bytes.length))
      this.#chunkUsed = 0
    }
    const kept = this.#chunk.subarray(this.#chunkUsed, this.#chunkUsed + bytes.length)
    kept.set(bytes)
    this.#chunkUsed += bytes.length
    return kept
  }
}
