/**
 * Labels in canonical form, and the identity of a series that follows from it.
 *
 * A series is a metric name and a set of labels without `__name__`. Canonical: sorted by the bytes of the names, each name
 * once. Its 128-bit id is part of the storage format and never changes:
 *
 *     bytes 8-15  first 8 bytes of SHA-256(UTF-8 of the name)
 *     bytes 0-7   first 8 bytes of SHA-256(per label: varint length, name, varint length, value)
 *
 * read as one little-endian UInt128. One metric is therefore one range of ids, and two collectors that never met give
 * the same series the same id. SHA-256, since a sender who can choose labels must not be able to make two series meet.
 */
import { ByteWriter, utf8Encode } from './bytes.ts'

/** A label's name and value. */
export type Label = readonly [name: string, value: string]

/** Sixteen bytes, the little-endian UInt128 that the database stores. */
export type SeriesId = Uint8Array

/** Orders strings as their UTF-8 bytes would be: code units, with surrogates moved above the rest of the basic plane. */
export function compareUtf8(a: string, b: string): number {
  const n = Math.min(a.length, b.length)
  for (let i = 0; i < n; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x !== y) {
      if (x >= 0xd800 && y >= 0xd800) {
        x = x >= 0xe000 ? x - 0x800 : x + 0x2000
        y = y >= 0xe000 ? y - 0x800 : y + 0x2000
      }
      return x - y
    }
  }
  return a.length - b.length
}

/** Sorts labels into canonical order, in place. */
export function sortLabels(labels: Label[]): Label[] {
  return labels.sort((a, b) => compareUtf8(a[0], b[0]))
}

/** The bytes under the low half of a series id. @param labels in canonical order, without `__name__` */
export function encodeLabels(labels: readonly Label[], out: ByteWriter = new ByteWriter()): Uint8Array {
  for (const [name, value] of labels) {
    out.string(name)
    out.string(value)
  }
  return out.take()
}

/** The hash comes from the runtime: this folder has none of its own. */
export type Sha256 = (data: Uint8Array) => Uint8Array

/** Computes ids; remembers the hash of the few metric names that it meets again and again. */
export class SeriesIds {
  readonly #sha256: Sha256
  readonly #names = new Map<string, Uint8Array>()
  readonly #scratch = new ByteWriter(1024)

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  /** @param labels in canonical order, without `__name__` */
  of(name: string, labels: readonly Label[]): SeriesId {
    return this.ofEncoded(name, encodeLabels(labels, this.#scratch))
  }

  /** @param labels as {@link encodeLabels} writes them */
  ofEncoded(name: string, labels: Uint8Array): SeriesId {
    let high = this.#names.get(name)
    if (high === undefined) {
      high = this.#sha256(utf8Encode(name)).subarray(0, 8)
      if (this.#names.size >= NAMES_KEPT) this.#names.clear()
      this.#names.set(name, high)
    }
    const id = new Uint8Array(16)
    id.set(this.#sha256(labels).subarray(0, 8), 0)
    id.set(high, 8)
    return id
  }
}

const NAMES_KEPT = 10_000 // a fleet has some hundred metric names; the bound is against a hostile sender

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The text as UTF-8 can hold it: a lone half of a surrogate pair, which JSON lets through, becomes U+FFFD. */
export function wellFormed(text: string): string {
  return /[\ud800-\udfff]/.test(text) ? decoder.decode(encoder.encode(text)) : text
}
