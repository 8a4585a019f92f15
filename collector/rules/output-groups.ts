/**
 * The groups of a rule that have outputs: a number for each, and its output series as remote write writes their labels.
 *
 * Groups can be hundreds of thousands, all in use once a window: what is known of them is in columns, not in objects, which the
 * garbage collector would have to visit each.
 */
import { grown } from '../../proto/wire/grown.ts'
import { Writer } from '../../proto/wire/protobuf.ts'
import { writeSeries } from '../../proto/wire/remote-write.ts'
import type { SnappyWriter } from '../../proto/wire/snappy-writer.ts'
import { preparedBehind, preparedLength } from './output-entry.ts'
import type { GroupKey } from './output-labels.ts'
import { outputSeries } from './output-labels.ts'
import type { Rule } from './rule.ts'

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

/** Texts of some hundred groups share a piece of memory, which goes with the last of them. */
const CHUNK_BYTES = 1 << 16
const CAPACITY_MIN = 64
const NONE = -1

let nextSerial = 1

interface Chunk {
  readonly bytes: Uint8Array
  used: number
  groups: number
}

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
  /** By number × width + series: where its label block ends in the chunk, and what is prepared of it, see {@link writePrepared}. */
  #ends: Uint32Array
  #preparedEnds: Uint32Array
  readonly #chunks: (Chunk | undefined)[] = []
  #filling = NONE

  constructor(index: number, rule: Rule, collector: string, shards: number) {
    this.rule = index
    this.width = rule.outputs.reduce((n, output) => n + (output.kind === 'quantiles' ? output.phis.length : 1), 0)
    this.head = new Uint32Array(CAPACITY_MIN * this.width)
    this.tail = new Uint32Array(CAPACITY_MIN * this.width)
    this.#ends = new Uint32Array(CAPACITY_MIN * this.width)
    this.#preparedEnds = new Uint32Array(CAPACITY_MIN * this.width)
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
    const ends = series.map(({ labels }) => {
      writeSeries(writer, { labels, samples: [] })
      return writer.len
    })
    const labels = writer.finish()
    const first = number * this.width
    const prepared: Uint8Array[] = []
    let size = labels.length
    for (const [i, end] of ends.entries()) {
      if (i > 0) {
        const [start, from] = [ends[i - 1]!, ends[i - 2] ?? 0]
        const { head, tail } = commonOf(labels, start, end, labels, from, start)
        this.head[first + i] = head
        this.tail[first + i] = tail
        prepared.push(preparedBehind({ bytes: labels, start, end, head, tail, before: start - from }).slice())
        size += prepared.at(-1)!.length
      }
      this.#ends[first + i] = end
      this.#preparedEnds[first + i] = size
    }
    const start = this.#keep(number, [labels, ...prepared])
    for (let i = first; i < first + this.width; i++) {
      this.#ends[i]! += start
      this.#preparedEnds[i]! += start
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
    return this.#chunks[this.#chunk[number]!]!.bytes
  }

  startOf(number: number, series: number): number {
    return series === 0 ? this.#start[number]! : this.#ends[number * this.width + series - 1]!
  }

  endOf(number: number, series: number): number {
    return this.#ends[number * this.width + series]!
  }

  /** Writes a series behind the one before of the same group, where both have a usual sample: all that stands in front of its own. Hot. */
  writePrepared(number: number, series: number, snappy: SnappyWriter): void {
    const place = number * this.width + series
    const ends = this.#preparedEnds
    const length = preparedLength(this.#ends[place]! - this.#ends[place - 1]!)
    snappy.elements(this.bytesOf(number), ends[place - 1]!, ends[place]!, length)
  }

  /** Numbers of groups that only windows ending here or before told of are free again. */
  forget(end: number): void {
    for (const [key, number] of this.#numbers) {
      if (this.#lastEnd[number]! > end) continue
      this.#numbers.delete(key)
      this.#keys[number] = undefined
      this.#free.push(number)
      if (this.serial[number] === 0) continue
      const chunk = this.#chunk[number]!
      if (--this.#chunks[chunk]!.groups === 0 && chunk !== this.#filling) this.#chunks[chunk] = undefined
    }
  }

  /** @returns where the first of the pieces is in the group's chunk, the others behind it */
  #keep(number: number, pieces: readonly Uint8Array[]): number {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    let chunk = this.#chunks[this.#filling]
    if (chunk === undefined || chunk.used + length > chunk.bytes.length) {
      if (chunk?.groups === 0) this.#chunks[this.#filling] = undefined
      chunk = { bytes: new Uint8Array(Math.max(CHUNK_BYTES, length)), used: 0, groups: 0 }
      const free = this.#chunks.indexOf(undefined)
      this.#filling = free >= 0 ? free : this.#chunks.length
      this.#chunks[this.#filling] = chunk
    }
    const start = chunk.used
    for (const piece of pieces) {
      chunk.bytes.set(piece, chunk.used)
      chunk.used += piece.length
    }
    chunk.groups++
    this.#chunk[number] = this.#filling
    this.#start[number] = start
    return start
  }

  #grow(): void {
    const capacity = 2 * this.serial.length
    this.serial = grown(this.serial, new Float64Array(capacity))
    this.follows = grown(this.follows, new Float64Array(capacity))
    this.head = grown(this.head, new Uint32Array(capacity * this.width))
    this.tail = grown(this.tail, new Uint32Array(capacity * this.width))
    this.#lastEnd = grown(this.#lastEnd, new Float64Array(capacity))
    this.#tenant = grown(this.#tenant, new Int32Array(capacity))
    this.#chunk = grown(this.#chunk, new Int32Array(capacity))
    this.#start = grown(this.#start, new Uint32Array(capacity))
    this.#ends = grown(this.#ends, new Uint32Array(capacity * this.width))
    this.#preparedEnds = grown(this.#preparedEnds, new Uint32Array(capacity * this.width))
  }
}
