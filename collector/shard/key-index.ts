/**
 * Label blocks as senders spell them, and the series they lead to: one implementation per memory, all behind `KeyIndex`.
 *
 * A known series costs one comparison of bytes: senders repeat their order, so the entry that followed the last one before
 * is tried first ("expected"), and a hash is computed only when that fails. Equal bytes are the proof, never the hash.
 */

const NONE = -1
const MIN_CAPACITY = 1024
/** Bytes compared by words are followed by this many that may be read and are never looked at. */
const PADDING = 8

export interface KeyIndex {
  /** Distinct label blocks, at least as many as series. They are numbered from 0. */
  readonly entries: number
  /** Memory, bytes. */
  readonly bytes: number
  /** A body begins: what was expected of the one before does not count. */
  begin(): void
  /**
   * Whether the bytes at `pos` begin with the key of the entry that followed the previous one last time.
   * @returns the length of that key, else 0
   */
  expect(bytes: Uint8Array, view: DataView, pos: number, end: number, scope: number): number
  /** The series under a key, which becomes the previous one; -1 when the key is new. */
  find(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number): number
  /** Remembers a key for a series; it becomes the previous one. @returns its entry */
  remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): number
  /** The bytes of an entry; valid until the next one is remembered. */
  key(entry: number): Uint8Array
  scope(entry: number): number
}

/** Makes an empty index. @param seed random: a sender must not be able to choose labels that meet in the hash table */
export type MakeKeys = (seed: number) => KeyIndex

/** In typed arrays: runs everywhere. */
export class PortableKeys implements KeyIndex {
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

  #previous = NONE
  #expected = NONE
  #expectedLength = NONE
  readonly #seed: number
  readonly #secrets: readonly [number, number, number]

  constructor(seed: number) {
    this.#seed = seed | 0
    const secret = (n: number): number => {
      const h = Math.imul((seed ^ (seed >>> 15)) + Math.imul(n, 0x9e3779b1), 0x85ebca6b)
      return Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    }
    this.#secrets = [secret(1), secret(2) | 1, secret(3) | 1]
  }

  get entries(): number {
    return this.#entries
  }

  get bytes(): number {
    return this.#keys.length + this.#entryHash.length * 36
  }

  begin(): void {
    this.#expectedLength = NONE
  }

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

  find(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number): number {
    const length = end - start
    const entry = length === this.#expectedLength ? this.#expected : this.#lookUp(bytes, view, start, length, scope)
    this.#expectedLength = NONE
    if (entry < 0) return NONE
    this.#step(entry)
    return this.#entrySeries[entry]!
  }

  remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): number {
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
    this.#placeKey(entry)
    this.#step(entry)
    return entry
  }

  key(entry: number): Uint8Array {
    const at = this.#keyAt[entry]!
    return this.#keys.subarray(at, at + this.#keyLength[entry]!)
  }

  scope(entry: number): number {
    return this.#entryScope[entry]!
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

  /** Secrets are in every step: see the core's. */
  #hash(bytes: Uint8Array, view: DataView, start: number, length: number, scope: number): number {
    const [s1, s2, s3] = this.#secrets
    let h = this.#seed ^ length ^ Math.imul(scope, 0x27d4eb2f)
    let i = start
    for (const end4 = start + (length & ~3); i < end4; i += 4) {
      h ^= Math.imul(view.getInt32(i, true) ^ s1, s2)
      h = Math.imul((h << 13) | (h >>> 19), s3)
    }
    let rest = 0
    for (const end = start + length; i < end; i++) rest = (rest << 8) | bytes[i]!
    h ^= Math.imul(rest ^ s1, s2)
    h = Math.imul((h << 13) | (h >>> 19), s3)
    h = Math.imul(h ^ (h >>> 13), 0x85ebca6b)
    return h ^ (h >>> 16)
  }

  #placeKey(entry: number): void {
    const mask = this.#byKey.length - 1
    let slot = this.#entryHash[entry]! & mask
    while (this.#byKey[slot]! >= 0) slot = (slot + 1) & mask
    this.#byKey[slot] = entry
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
}

function grow<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}
