/**
 * The series that a shard knows, found by the bytes that a sender uses for their labels.
 *
 *     label bytes as sent ──▶ entry (key-index.ts) ──▶ series: reference, last sample
 *                              (several entries may lead to one series: labels in another order, another door)
 *
 * Everything is in typed arrays: about 90 bytes a series besides the label bytes, and nothing for the garbage collector.
 *
 * Indices below `count` exist by construction, which is what the `!` on typed arrays relies on.
 */
import type { SeriesId } from '../../proto/wire/labels.ts'
import type { KeyIndex, MakeKeys } from './key-index.ts'
import { PortableKeys } from './key-index.ts'

/** How the bytes of an entry are to be read. */
export const KEY_PROTOBUF = 0 // label fields of remote write
export const KEY_CANONICAL = 1 // name and sorted labels, as `encodeCanonicalKey` writes them
export type KeyKind = typeof KEY_PROTOBUF | typeof KEY_CANONICAL

const NONE = -1
const NOT_SAID = { since: 0, from: Number.NEGATIVE_INFINITY }
const MIN_CAPACITY = 1024
const portableKeys: MakeKeys = (seed) => new PortableKeys(seed)

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

  #nextRef = 1
  /** Whose label blocks lead here. */
  readonly keys: KeyIndex
  readonly #seed: number
  readonly #makeKeys: MakeKeys

  /** @param seed random: a sender must not be able to choose labels that meet in the hash table */
  constructor(seed: number, makeKeys: MakeKeys = portableKeys) {
    this.#seed = seed
    this.#makeKeys = makeKeys
    this.keys = makeKeys(seed)
  }

  /** Memory for keys and columns, bytes. */
  get bytes(): number {
    return this.keys.bytes + this.ref.length * 70
  }

  /** Remembers a label block for a series; see {@link KeyIndex.remember}. */
  remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): void {
    const entry = this.keys.remember(bytes, view, start, end, scope, series)
    if (this.#firstEntry[series] === NONE) this.#firstEntry[series] = entry
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

  /** The start of a series is said again. */
  forgetStart(series: number): void {
    if (series < this.#since.length) this.#since[series] = Number.NaN
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
    return { bytes: this.keys.key(entry), kind: (this.keys.scope(entry) & 1) as KeyKind }
  }

  /** A table of the series used since `oldest` (ms), each with its first key only. References stay, numbers change. */
  retain(oldest: number): SeriesTable {
    const out = new SeriesTable(this.#seed, this.#makeKeys)
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
      out.remember(bytes, view, 0, bytes.length, this.keys.scope(this.#firstEntry[series]!), added)
    }
    out.#nextRef = this.#nextRef
    return out
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
