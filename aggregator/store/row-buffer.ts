/**
 * Rows of `samples` on their way to ClickHouse, in columns that are the insert's bytes already: nothing is converted per
 * row but two times into 64-bit integers.
 */
import type { SeriesId } from '../../proto/wire/labels.ts'
import type { Column } from './native.ts'
import { bytesOf, nativeBlock, stringColumn } from './native.ts'

const TWO_32 = 4294967296
const HOUR_MS = 3_600_000

export const SAMPLE_COLUMNS: readonly string[] = ['tenant', 'series', 'ts', 'e', 'v', 'at']

export class RowBuffer {
  count = 0
  /** Starts of the hours that rows fall into, ms. */
  readonly hours: Set<number> = new Set()
  #tenants: string[] = []
  #tenant: Uint16Array
  #series: Uint8Array
  #ts: Uint32Array
  #e: Uint8Array
  #v: Uint32Array
  #at: Uint32Array
  #hour = Number.NaN

  constructor(capacity = 4096) {
    this.#tenant = new Uint16Array(capacity)
    this.#series = new Uint8Array(capacity * 16)
    this.#ts = new Uint32Array(capacity * 2)
    this.#e = new Uint8Array(capacity)
    this.#v = new Uint32Array(capacity * 2)
    this.#at = new Uint32Array(capacity * 2)
  }

  /**
   * @param time ms since the epoch; @param at µs since the epoch
   * @param low low word of the value or mantissa, see SampleColumns
   */
  push(tenant: string, id: SeriesId, time: number, exponent: number, low: number, high: number, at: number): void {
    const i = this.count
    if (i === this.#e.length) this.#grow()
    this.#tenant[i] = this.#tenantNumber(tenant)
    this.#series.set(id, i * 16)
    putInt64(this.#ts, i, time)
    this.#e[i] = exponent
    this.#v[2 * i] = low
    this.#v[2 * i + 1] = high
    putInt64(this.#at, i, at)
    const hour = Math.floor(time / HOUR_MS) * HOUR_MS
    if (hour !== this.#hour) {
      this.#hour = hour
      this.hours.add(hour)
    }
    this.count = i + 1
  }

  /** All rows as one block. */
  block(): Uint8Array[] {
    const n = this.count
    const columns: Column[] = [
      { name: 'tenant', type: 'String', data: this.#tenantColumn() },
      { name: 'series', type: 'UInt128', data: this.#series.subarray(0, n * 16) },
      { name: 'ts', type: "DateTime64(3, 'UTC')", data: bytesOf(this.#ts.subarray(0, n * 2)) },
      { name: 'e', type: 'UInt8', data: this.#e.subarray(0, n) },
      { name: 'v', type: 'Int64', data: bytesOf(this.#v.subarray(0, n * 2)) },
      { name: 'at', type: "DateTime64(6, 'UTC')", data: bytesOf(this.#at.subarray(0, n * 2)) },
    ]
    return nativeBlock(n, columns)
  }

  #tenantColumn(): Uint8Array {
    const tenants = this.#tenants
    const numbers = this.#tenant
    const n = this.count
    return stringColumn(
      (function* () {
        for (let i = 0; i < n; i++) yield tenants[numbers[i]!]!
      })(),
    )
  }

  #tenantNumber(tenant: string): number {
    if (this.#tenants[0] === tenant) return 0
    const known = this.#tenants.indexOf(tenant)
    return known >= 0 ? known : this.#tenants.push(tenant) - 1
  }

  #grow(): void {
    const capacity = this.#e.length * 2
    this.#tenant = grown(this.#tenant, new Uint16Array(capacity))
    this.#series = grown(this.#series, new Uint8Array(capacity * 16))
    this.#ts = grown(this.#ts, new Uint32Array(capacity * 2))
    this.#e = grown(this.#e, new Uint8Array(capacity))
    this.#v = grown(this.#v, new Uint32Array(capacity * 2))
    this.#at = grown(this.#at, new Uint32Array(capacity * 2))
  }
}

/** A whole number below 2^53 as two words, two's complement, low first. */
function putInt64(words: Uint32Array, i: number, value: number): void {
  words[2 * i] = value
  words[2 * i + 1] = Math.floor(value / TWO_32)
}

function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}
