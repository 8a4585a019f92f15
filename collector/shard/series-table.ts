/**
 * The series that a shard knows, found by the bytes that a sender uses for their labels.
 *
 *     label bytes as sent ──▶ entry ──▶ series: reference, last sample
 *                              (several entries may lead to one series: labels in another order, another door)
 *
 * A known series costs one comparison of bytes: senders repeat their order, so the entry that followed the last one before
 * is tried first ("expected"), and a hash is computed only when that fails. Equal bytes are the proof, never the hash.
 * Everything is in typed arrays: about 90 bytes a series besides the label bytes, and nothing for the garbage collector.
 *
 * Indices below `#entries` and `count` exist by construction, which is what the `!` on typed arrays relies on.
 */
import type { SeriesId } from '../../proto/wire/labels.ts'

/** How the bytes of an entry are to be read. */
export const KEY_PROTOBUF = 0 // label fields of remote write
export const KEY_CANONICAL = 1 // name and sorted labels, as `encodeCanonicalKey` writes them
export type KeyKind = typeof KEY_PROTOBUF | typeof KEY_CANONICAL

const NONE = -1
const NOT_SAID = { since: 0, from: Number.NEGATIVE_INFINITY }
const MIN_CAPACITY = 1024
/** Bytes compared by words are followed by this many that may be read and are never looked at. */
const PADDING = 8

export class SeriesTable {
  /** Series known; they are numbered from 0. */
  count = 0
  /** Number under which the series is known to aggregators; never used again within a session. */
  ref: Uint32Array = new Uint32Array(MIN_CAPACITY)
  /** Time of the newest sample, ms; NaN when there is none. */
  lastTime: Float64Array = new Float64Array(MIN_CAPACITY).fill(Number.NaN)
  /** Bits of its value, two words, low first. */
  lastWords: Uint32Array = new Uint32Array(MIN_CAPACITY * 2)
  /** Decimals of the series' latest value: where to look first. */
  exponent: Uint8Array = new Uint8Array(MIN_CAPACITY)
  /** 1 once a definition was put into a batch. */
  described: Uint8Array = new Uint8Array(MIN_CAPACITY)
  /** Arrival of its newest sample, ms: the oldest are forgotten first. */
  usedAt: Float64Array = new Float64Array(MIN_CAPACITY)
  /** Which sender brought it: a number of series-shares.ts. */
  owner: Uint32Array = new Uint32Array(MIN_CAPACITY)
  /** Write in which it was last touched, and the item that set its last sample there. */
  touchedBy: Uint32Array = new Uint32Array(MIN_CAPACITY)
  lastItem: Int32Array = new Int32Array(MIN_CAPACITY)
  /** Since when the series was last said to count, and from which sample on, ms; NaN: never said. Made when a sender says so. */
  #since: Float64Array = new Float64Array(0)
  #sinceFrom: Float64Array = new Float64Array(0)
  #tenant: Uint16Array = new Uint16Array(MIN_CAPACITY)
  #firstEntry: Int32Array = new Int32Array(MIN_CAPACITY)
  /** Four words a series. */
  #ids: Uint32Array = new Uint32Array(MIN_CAPACITY * 4)
  /** Open addressing over ids: series, or NONE. */
  #byId: Int32Array = new Int32Array(MIN_CAPACITY * 2).fill(NONE)

  #entries = 0
  #entryHash: Int32Array = new Int32Array(MIN_CAPACITY)
  #entrySeries: Int32Array = new Int32Array(MIN_CAPACITY)
  /** Tenant × 2 + kind: part of the key. */
  #entryScope: Int32Array = new Int32Array(MIN_CAPACITY)
  #keyAt: Float64Array = new Float64Array(MIN_CAPACITY)
  #keyLength: Int32Array = new Int32Array(MIN_CAPACITY)
  /** Entry that followed this one last time, or NONE. */
  #follows: Int32Array = new Int32Array(MIN_CAPACITY).fill(NONE)
  /** Open addressing over label bytes: entry, or NONE. */
  #byKey: Int32Array = new Int32Array(MIN_CAPACITY * 2).fill(NONE)
  #keys: Uint8Array = new Uint8Array(1 << 16)
  #keyView: DataView = new DataView(this.#keys.buffer)
  #keysEnd = 0

  #nextRef = 1
  #previous = NONE
  #expected = NONE
  #expectedLength = NONE
  readonly #seed: number

  /** @param seed random: a sender must not be able to choose labels that meet in the hash table */
  constructor(seed: number) {
    this.#seed = seed | 0
  }

  /** Distinct label blocks, at least as many as series. */
  get entries(): number {
    return this.#entries
  }

  /** Memory for keys and columns, bytes. */
  get bytes(): number {
    return this.#keys.length + this.ref.length * 70 + this.#entryHash.length * 36
  }

  /**
   * Whether the bytes at `pos` begin with the key of the entry that followed the previous one last time.
   * @returns the length of that key, else 0
   */
  expect(bytes: Uint8Array, view: DataView, pos: number, end: number, scope: number): number {
    this.#expectedLength = NONE
    const entry = this.#previous < 0 ? NONE : this.#follows[this.#previous]!
    if (entry < 0 || this.#entryScope[entry] !== scope) return 0
    const length = this.#keyLength[entry]!
    if (pos + length > end || !this.#equal(bytes, view, pos, length, entry)) return 0
    this.#expected = entry
    this.#expectedLength = length
    return length
  }

  /** The series under a key, which becomes the previous one; NONE when the key is new. */
  find(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number): number {
    const length = end - start
    const entry = length === this.#expectedLength ? this.#expected : this.#lookUp(bytes, view, start, length, scope)
    this.#expectedLength = NONE
    if (entry < 0) return NONE
    this.#step(entry)
    return this.#entrySeries[entry]!
  }

  /** Remembers a key for a series; it becomes the previous one. */
  remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): void {
    if (this.#entries === this.#entryHash.length) this.#growEntries()
    const length = end - start
    this.#reserveKey(length)
    const entry = this.#entries++
    this.#keys.set(bytes.subarray(start, end), this.#keysEnd)
    this.#keyAt[entry] = this.#keysEnd
    this.#keyLength[entry] = length
    this.#keysEnd += (length + 3) & ~3
    this.#entryHash[entry] = this.#hash(bytes, view, start, length, scope)
    this.#entryScope[entry] = scope
    this.#entrySeries[entry] = series
    this.#follows[entry] = NONE
    if (this.#firstEntry[series] === NONE) this.#firstEntry[series] = entry
    this.#placeKey(entry)
    this.#step(entry)
  }

  /** The series with this identity, or NONE. */
  withId(id: SeriesId, tenant: number): number {
    const words = new Uint32Array(id.buffer, id.byteOffset, 4)
    const mask = this.#byId.length - 1
    for (let slot = idHash(words, 0, tenant) & mask; ; slot = (slot + 1) & mask) {
      const series = this.#byId[slot]!
      if (series < 0) return NONE
      if (this.#tenant[series] === tenant && this.#sameId(series, words)) return series
    }
  }

  /** A new series with a fresh reference. */
  add(id: SeriesId, tenant: number): number {
    if (this.count === this.ref.length) this.#growSeries()
    const series = this.count++
    this.ref[series] = this.#nextRef++
    this.lastTime[series] = Number.NaN
    this.exponent[series] = 0
    this.described[series] = 0
    this.usedAt[series] = 0
    this.touchedBy[series] = 0
    if (series < this.#since.length) this.#since[series] = Number.NaN
    this.#tenant[series] = tenant
    this.#firstEntry[series] = NONE
    this.#ids.set(new Uint32Array(id.buffer, id.byteOffset, 4), series * 4)
    this.#placeId(series)
    return series
  }

  /** Since when the series was last said to count, and from which sample on, ms; 0 and -∞ when that was not said. */
  startOf(series: number): { readonly since: number; readonly from: number } {
    const since = this.#since[series] ?? Number.NaN
    return Number.isNaN(since) ? NOT_SAID : { since, from: this.#sinceFrom[series]! }
  }

  setStart(series: number, since: number, from: number): void {
    if (this.#since.length < this.ref.length) {
      this.#since = grow(this.#since, new Float64Array(this.ref.length).fill(Number.NaN))
      this.#sinceFrom = grow(this.#sinceFrom, new Float64Array(this.ref.length))
    }
    this.#since[series] = since
    this.#sinceFrom[series] = from
  }

  /** From now on all starts are said again. */
  forgetStarts(): void {
    this.#since.fill(Number.NaN)
  }

  tenantOf(series: number): number {
    return this.#tenant[series]!
  }

  idOf(series: number): SeriesId {
    return new Uint8Array(this.#ids.buffer, series * 16, 16).slice()
  }

  /** Whether a series has a key already. */
  hasKey(series: number): boolean {
    return this.#firstEntry[series]! >= 0
  }

  /** The bytes that first led to a series, and how to read them. */
  keyOf(series: number): { bytes: Uint8Array; kind: KeyKind } {
    const entry = this.#firstEntry[series]!
    const at = this.#keyAt[entry]!
    return {
      bytes: this.#keys.subarray(at, at + this.#keyLength[entry]!),
      kind: (this.#entryScope[entry]! & 1) as KeyKind,
    }
  }

  /** A body begins: what was expected of the one before does not count. */
  begin(): void {
    this.#expectedLength = NONE
  }

  /** A table of the series used since `oldest` (ms), each with its first key only. References stay, numbers change. */
  retain(oldest: number): SeriesTable {
    const out = new SeriesTable(this.#seed)
    for (let series = 0; series < this.count; series++) {
      if (this.usedAt[series]! < oldest) continue
      const added = out.add(this.idOf(series), this.tenantOf(series))
      out.ref[added] = this.ref[series]!
      out.lastTime[added] = this.lastTime[series]!
      out.lastWords[added * 2] = this.lastWords[series * 2]!
      out.lastWords[added * 2 + 1] = this.lastWords[series * 2 + 1]!
      out.exponent[added] = this.exponent[series]!
      out.described[added] = this.described[series]!
      out.usedAt[added] = this.usedAt[series]!
      out.owner[added] = this.owner[series]!
      const { bytes } = this.keyOf(series)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      out.remember(bytes, view, 0, bytes.length, this.#entryScope[this.#firstEntry[series]!]!, added)
    }
    out.#nextRef = this.#nextRef
    return out
  }

  #step(entry: number): void {
    if (this.#previous >= 0) this.#follows[this.#previous] = entry
    this.#previous = entry
  }

  #lookUp(bytes: Uint8Array, view: DataView, start: number, length: number, scope: number): number {
    const hash = this.#hash(bytes, view, start, length, scope)
    const mask = this.#byKey.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#byKey[slot]!
      if (entry < 0) return NONE
      if (
        this.#entryHash[entry] === hash &&
        this.#entryScope[entry] === scope &&
        this.#keyLength[entry] === length &&
        this.#equal(bytes, view, start, length, entry)
      )
        return entry
    }
  }

  /** Hot: four bytes a step. */
  #equal(bytes: Uint8Array, view: DataView, start: number, length: number, entry: number): boolean {
    const keys = this.#keys
    const keyView = this.#keyView
    let k = this.#keyAt[entry]!
    let i = start
    for (const end4 = start + (length & ~3); i < end4; i += 4, k += 4) {
      if (view.getInt32(i, true) !== keyView.getInt32(k, true)) return false
    }
    for (const end = start + length; i < end; i++, k++) if (bytes[i] !== keys[k]) return false
    return true
  }

  #hash(bytes: Uint8Array, view: DataView, start: number, length: number, scope: number): number {
    let h = this.#seed ^ length ^ Math.imul(scope, 0x27d4eb2f)
    let i = start
    for (const end4 = start + (length & ~3); i < end4; i += 4) {
      h = Math.imul(h ^ view.getInt32(i, true), 0x9e3779b1)
      h ^= h >>> 15
    }
    for (const end = start + length; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
    h = Math.imul(h ^ (h >>> 13), 0x85ebca6b)
    return h ^ (h >>> 16)
  }

  #placeKey(entry: number): void {
    const mask = this.#byKey.length - 1
    let slot = this.#entryHash[entry]! & mask
    while (this.#byKey[slot]! >= 0) slot = (slot + 1) & mask
    this.#byKey[slot] = entry
  }

  #placeId(series: number): void {
    const mask = this.#byId.length - 1
    let slot = idHash(this.#ids, series * 4, this.#tenant[series]!) & mask
    while (this.#byId[slot]! >= 0) slot = (slot + 1) & mask
    this.#byId[slot] = series
  }

  #sameId(series: number, words: Uint32Array): boolean {
    const at = series * 4
    return (
      this.#ids[at] === words[0] &&
      this.#ids[at + 1] === words[1] &&
      this.#ids[at + 2] === words[2] &&
      this.#ids[at + 3] === words[3]
    )
  }

  #reserveKey(length: number): void {
    if (this.#keysEnd + length + PADDING <= this.#keys.length) return
    const grown = new Uint8Array(Math.max(this.#keys.length * 2, this.#keysEnd + length + PADDING))
    grown.set(this.#keys.subarray(0, this.#keysEnd))
    this.#keys = grown
    this.#keyView = new DataView(grown.buffer)
  }

  #growEntries(): void {
    const capacity = this.#entryHash.length * 2
    this.#entryHash = grow(this.#entryHash, new Int32Array(capacity))
    this.#entrySeries = grow(this.#entrySeries, new Int32Array(capacity))
    this.#entryScope = grow(this.#entryScope, new Int32Array(capacity))
    this.#keyAt = grow(this.#keyAt, new Float64Array(capacity))
    this.#keyLength = grow(this.#keyLength, new Int32Array(capacity))
    this.#follows = grow(this.#follows, new Int32Array(capacity))
    this.#byKey = new Int32Array(capacity * 2).fill(NONE)
    for (let entry = 0; entry < this.#entries; entry++) this.#placeKey(entry)
  }

  #growSeries(): void {
    const capacity = this.ref.length * 2
    this.ref = grow(this.ref, new Uint32Array(capacity))
    this.lastTime = grow(this.lastTime, new Float64Array(capacity))
    this.lastWords = grow(this.lastWords, new Uint32Array(capacity * 2))
    this.exponent = grow(this.exponent, new Uint8Array(capacity))
    this.described = grow(this.described, new Uint8Array(capacity))
    this.usedAt = grow(this.usedAt, new Float64Array(capacity))
    this.owner = grow(this.owner, new Uint32Array(capacity))
    this.touchedBy = grow(this.touchedBy, new Uint32Array(capacity))
    this.lastItem = grow(this.lastItem, new Int32Array(capacity))
    this.#tenant = grow(this.#tenant, new Uint16Array(capacity))
    this.#firstEntry = grow(this.#firstEntry, new Int32Array(capacity))
    this.#ids = grow(this.#ids, new Uint32Array(capacity * 4))
    this.#byId = new Int32Array(capacity * 2).fill(NONE)
    for (let series = 0; series < this.count; series++) this.#placeId(series)
  }
}

/** Ids are hashes already; the tenant only has to move them apart. */
function idHash(words: Uint32Array, at: number, tenant: number): number {
  return words[at]! ^ words[at + 2]! ^ Math.imul(tenant, 0x9e3779b1)
}

function grow<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}
