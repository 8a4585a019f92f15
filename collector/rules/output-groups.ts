/**
 * The groups of a rule that have outputs: a number for each, and its output series as remote write writes their labels.
 *
 * Groups can be hundreds of thousands, all in use once a window: what is known of them is in columns, not in objects, which the
 * garbage collector would have to visit each.
 */
import { grown } from '../../proto/wire/grown.ts'
import { Writer } from '../../proto/wire/protobuf.ts'
import { writeSeries } from '../../proto/wire/remote-write.ts'
import { entryLength, preparedBehind, SAMPLE_FIELD_BYTES } from './output-entry.ts'
import type { GroupKey } from './output-labels.ts'
import { outputSeries } from './output-labels.ts'
import { PreparedRows } from './prepared-rows.ts'
import type { Rule } from './rule.ts'
import { SharedChunks } from './shared-chunks.ts'

/** How many bytes label blocks begin with, and end with, that are the same; together no more than the shorter one has. */
export interface Common {
  head: number
  tail: number
}

/** Of a[start..end) and b[from..to). */
export function commonOf(a: Uint8Array, start: number, end: number, b: Uint8Array, from: number, to: number): Common {
  const shorter = Math.min(end - start, to - from)
  let head = 0
  while (head < shorter && a[start + head] === b[from + head]) head++
  let tail = 0
  while (tail < shorter - head && a[end - 1 - tail] === b[to - 1 - tail]) tail++
  return { head, tail }
}

const CAPACITY_MIN = 64
const NONE = -1

let nextSerial = 1

export class OutputGroups {
  /** Numbers given out so far, those that are free again included. */
  length = 0
  /** Index of the rule. */
  readonly rule: number
  /** Series of a group. */
  readonly width: number
  /** By number: not given to another group, also not later; 0: its series are not made yet. */
  serial: Float64Array = new Float64Array(CAPACITY_MIN)
  /**
   * By number × width + series: what its label block has in common with that of the series before; of the first one, with the last
   * one of the group `follows`, by its serial: that which it was written behind, and in the next window usually is again.
   */
  head: Uint32Array
  tail: Uint32Array
  follows: Float64Array = new Float64Array(CAPACITY_MIN)
  /** Of groups that came twice behind the same one. */
  readonly rows: PreparedRows
  readonly #rule: Rule
  readonly #collector: string
  readonly #numbers = new Map<GroupKey, number>()
  readonly #keys: (GroupKey | undefined)[] = []
  /** By number: end of the last window that told of it, ms. */
  #lastEnd = new Float64Array(CAPACITY_MIN)
  readonly #free: number[] = []
  /** By shard and its number of a group: the key, and our number for it at last. */
  readonly #told: { readonly keys: GroupKey[]; numbers: Int32Array }[]
  readonly #tenants: string[] = []
  /** By number. */
  #tenant = new Int32Array(CAPACITY_MIN)
  #chunk = new Int32Array(CAPACITY_MIN)
  #start = new Uint32Array(CAPACITY_MIN)
  /** By number × width + series: where its label block ends in the chunk. */
  #ends: Uint32Array
  readonly #chunks = new SharedChunks()

  constructor(index: number, rule: Rule, collector: string, shards: number) {
    this.rule = index
    this.width = rule.outputs.reduce((n, output) => n + (output.kind === 'quantiles' ? output.phis.length : 1), 0)
    this.head = new Uint32Array(CAPACITY_MIN * this.width)
    this.tail = new Uint32Array(CAPACITY_MIN * this.width)
    this.#ends = new Uint32Array(CAPACITY_MIN * this.width)
    this.rows = new PreparedRows(this.width, CAPACITY_MIN)
    this.#told = Array.from({ length: shards }, () => ({ keys: [], numbers: new Int32Array(CAPACITY_MIN) }))
    this.#rule = rule
    this.#collector = collector
  }

  /** Groups that have a number. */
  get size(): number {
    return this.#numbers.size
  }

  /** From now on a shard means this group by a number of its own. */
  name(shard: number, theirs: number, key: GroupKey): void {
    const told = this.#told[shard]!
    told.keys[theirs] = key
    if (theirs >= told.numbers.length)
      told.numbers = grown(told.numbers, new Int32Array(Math.max(theirs + 1, 2 * told.numbers.length)))
    told.numbers[theirs] = NONE
  }

  /** The number of a group that a window, by its end, tells of; -1: the shard has not named it here. */
  numberOf(shard: number, theirs: number, end: number): number {
    const { keys, numbers } = this.#told[shard]!
    const key = keys[theirs]
    if (key === undefined) return NONE
    let number = numbers[theirs]!
    if (number === NONE || this.#keys[number] !== key) {
      number = this.#number(key)
      numbers[theirs] = number
    }
    if (end > this.#lastEnd[number]!) this.#lastEnd[number] = end
    return number
  }

  #number(key: GroupKey): number {
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const number = this.#free.pop() ?? this.length++
    if (number >= this.serial.length) this.#grow()
    this.#numbers.set(key, number)
    this.#keys[number] = key
    this.#lastEnd[number] = Number.NEGATIVE_INFINITY
    this.serial[number] = 0
    return number
  }

  /** Makes the series of a group, where that was not done: before the functions below are asked. @param number one in use */
  make(number: number): void {
    if (this.serial[number] !== 0) return
    const { tenant, series } = outputSeries(this.#rule, this.#keys[number]!, this.#collector)
    const writer = new Writer()
    const ends: number[] = []
    for (const { labels } of series) {
      writeSeries(writer, { labels, samples: [] })
      ends.push(writer.len)
    }
    const labels = writer.finish()
    this.#chunk[number] = this.#chunks.reserve(labels.length)
    const start = this.#chunks.start
    this.#start[number] = start
    this.bytesOf(number).set(labels, start)
    const first = number * this.width
    for (const [i, end] of ends.entries()) {
      this.#ends[first + i] = start + end
      if (i === 0) continue
      const { head, tail } = commonOf(labels, ends[i - 1]!, end, labels, ends[i - 2] ?? 0, ends[i - 1]!)
      this.head[first + i] = head
      this.tail[first + i] = tail
    }
    const known = this.#tenants.indexOf(tenant)
    this.#tenant[number] = known >= 0 ? known : this.#tenants.push(tenant) - 1
    this.serial[number] = nextSerial++
    this.follows[number] = 0
  }

  tenantOf(number: number): string {
    return this.#tenants[this.#tenant[number]!]!
  }

  /** What the label fields of a group's series stand in, one after the other. */
  bytesOf(number: number): Uint8Array {
    return this.#chunks.bytesOf(this.#chunk[number]!)
  }

  startOf(number: number, series: number): number {
    return series === 0 ? this.#start[number]! : this.#ends[number * this.width + series - 1]!
  }

  endOf(number: number, series: number): number {
    return this.#ends[number * this.width + series]!
  }

  /**
   * Prepares the outputs of a group to be written behind those of another, its `follows`, whose serial it has.
   * @param before number of that
   */
  prepareRow(number: number, before: number): void {
    const { width } = this
    const bytes = this.bytesOf(number)
    let length = 0
    for (let i = 0; i < width; i++)
      length += entryLength(this.endOf(number, i) - this.startOf(number, i)) + SAMPLE_FIELD_BYTES
    const entries = function* (groups: OutputGroups): Iterable<Uint8Array> {
      for (let i = 0; i < width; i++) {
        const [group, series] = i === 0 ? [before, width - 1] : [number, i - 1]
        const place = number * width + i
        yield preparedBehind({
          bytes,
          start: groups.startOf(number, i),
          end: groups.endOf(number, i),
          head: groups.head[place]!,
          tail: groups.tail[place]!,
          before: groups.endOf(group, series) - groups.startOf(group, series),
        })
      }
    }
    this.rows.prepare(number, this.serial[before]!, entries(this), length)
  }

  /** Numbers of groups that only windows ending here or before told of are free again. */
  forget(end: number): void {
    for (const [key, number] of this.#numbers) {
      if (this.#lastEnd[number]! > end) continue
      this.#numbers.delete(key)
      this.#keys[number] = undefined
      this.#free.push(number)
      if (this.serial[number] === 0) continue
      this.rows.forget(number)
      this.#chunks.release(this.#chunk[number]!)
    }
  }

  #grow(): void {
    const capacity = 2 * this.serial.length
    this.rows.grow(capacity)
    this.serial = grown(this.serial, new Float64Array(capacity))
    this.follows = grown(this.follows, new Float64Array(capacity))
    this.head = grown(this.head, new Uint32Array(capacity * this.width))
    this.tail = grown(this.tail, new Uint32Array(capacity * this.width))
    this.#lastEnd = grown(this.#lastEnd, new Float64Array(capacity))
    this.#tenant = grown(this.#tenant, new Int32Array(capacity))
    this.#chunk = grown(this.#chunk, new Int32Array(capacity))
    this.#start = grown(this.#start, new Uint32Array(capacity))
    this.#ends = grown(this.#ends, new Uint32Array(capacity * this.width))
  }
}
