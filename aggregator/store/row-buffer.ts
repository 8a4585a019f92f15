/**
 * Rows of `samples` on their way to ClickHouse, in columns that are the insert's bytes already. Rows come in the order of
 * their senders' requests, so that times and arrivals are mostly those of the row before, and are converted once.
 */
import type { SampleColumns } from '../../proto/wire/batch.ts'
import { ByteWriter } from '../../proto/wire/bytes.ts'
import { grown } from '../../proto/wire/grown.ts'
import type { Column } from './native.ts'
import { bytesOf, nativeBlock } from './native.ts'

const TWO_32 = 4294967296
const HOUR_MS = 3_600_000
/** How a LowCardinality column says what its positions are and where its keys stand: in itself. */
const LOW_CARDINALITY_UINT16 = 1
const LOW_CARDINALITY_UINT32 = 2
const LOW_CARDINALITY_OWN_KEYS = 1 << 9
/** Tenants of an insert whose positions fit into 16 bits: all inserts but those of very many tenants. */
const NARROW_TENANTS_MAX = 2 ** 16

export const SAMPLE_COLUMNS: readonly string[] = ['tenant', 'series', 'ts', 'e', 'v', 'at']

/** What rows say of a series, by its slot. */
export interface RowSeries {
  /** Four words each, low first. */
  readonly idWords: Uint32Array
  readonly tenants: readonly string[]
}

export class RowBuffer {
  count = 0
  /** Starts of the hours that rows fall into, ms. */
  readonly hours: Set<number> = new Set()
  /** By tenant its position among the keys, which is the order of insertion. */
  readonly #tenants = new Map<string, number>()
  #tenant: Uint32Array
  #series: Uint32Array
  #ts: Uint32Array
  #e: Uint8Array
  #v: Uint32Array
  #at: Uint32Array
  constructor(capacity = 4096) {
    this.#tenant = new Uint32Array(capacity)
    this.#series = new Uint32Array(capacity * 4)
    this.#ts = new Uint32Array(capacity * 2)
    this.#e = new Uint8Array(capacity)
    this.#v = new Uint32Array(capacity * 2)
    this.#at = new Uint32Array(capacity * 2)
  }

  /** Rows that it has memory for. */
  get capacity(): number {
    return this.#e.length
  }

  /** Forgets the rows and keeps the memory: blocks made of them are not valid any more. */
  clear(): void {
    this.count = 0
    this.hours.clear()
    this.#tenants.clear()
  }

  /**
   * Appends the samples [start, end) that are not older than `oldest`, ms. A loop over columns: a call for each sample would
   * have to put its times on the heap.
   * @param slots the series of each sample
   * @returns how many
   */
  append(
    { idWords, tenants }: RowSeries,
    { times, arrivals, exponents, words }: SampleColumns,
    slots: Int32Array,
    start: number,
    end: number,
    oldest: number,
  ): number {
    while (this.count + end - start > this.capacity) this.#grow()
    const [series, ts, v, at] = [this.#series, this.#ts, this.#v, this.#at]
    let row = this.count
    let tenant: string | undefined
    let number = 0
    let time = Number.NaN
    let timeLow = 0
    let timeHigh = 0
    let arrival = Number.NaN
    let arrivalLow = 0
    let arrivalHigh = 0
    for (let i = start; i < end; i++) {
      if (times[i]! < oldest) continue
      if (times[i] !== time) {
        time = times[i]!
        timeLow = time >>> 0
        timeHigh = Math.floor(time / TWO_32)
        this.hours.add(Math.floor(time / HOUR_MS) * HOUR_MS)
      }
      if (arrivals[i] !== arrival) {
        arrival = arrivals[i]!
        arrivalLow = arrival >>> 0
        arrivalHigh = Math.floor(arrival / TWO_32)
      }
      const slot = slots[i]!
      if (tenants[slot] !== tenant) {
        tenant = tenants[slot]!
        number = this.#tenantNumber(tenant)
      }
      this.#tenant[row] = number
      series[4 * row] = idWords[4 * slot]!
      series[4 * row + 1] = idWords[4 * slot + 1]!
      series[4 * row + 2] = idWords[4 * slot + 2]!
      series[4 * row + 3] = idWords[4 * slot + 3]!
      ts[2 * row] = timeLow
      ts[2 * row + 1] = timeHigh
      this.#e[row] = exponents[i]!
      v[2 * row] = words[2 * i]!
      v[2 * row + 1] = words[2 * i + 1]!
      at[2 * row] = arrivalLow
      at[2 * row + 1] = arrivalHigh
      row++
    }
    const appended = row - this.count
    this.count = row
    return appended
  }

  /** All rows as one block. */
  block(): Uint8Array[] {
    const n = this.count
    const columns: Column[] = [
      { name: 'tenant', type: 'LowCardinality(String)', data: this.#tenantColumn() },
      { name: 'series', type: 'UInt128', data: bytesOf(this.#series.subarray(0, n * 4)) },
      { name: 'ts', type: "DateTime64(3, 'UTC')", data: bytesOf(this.#ts.subarray(0, n * 2)) },
      { name: 'e', type: 'UInt8', data: this.#e.subarray(0, n) },
      { name: 'v', type: 'Int64', data: bytesOf(this.#v.subarray(0, n * 2)) },
      { name: 'at', type: "DateTime64(6, 'UTC')", data: bytesOf(this.#at.subarray(0, n * 2)) },
    ]
    return nativeBlock(n, columns)
  }

  /** Version of the keys; positions into keys that follow here; the keys; a position for each row. */
  #tenantColumn(): Uint8Array {
    const rows = this.#tenant.subarray(0, this.count)
    const narrow = this.#tenants.size <= NARROW_TENANTS_MAX
    const positions = bytesOf(narrow ? Uint16Array.from(rows) : rows)
    const width = narrow ? LOW_CARDINALITY_UINT16 : LOW_CARDINALITY_UINT32
    const out = new ByteWriter(64 + positions.length)
    for (const word of [1, 0, width | LOW_CARDINALITY_OWN_KEYS, 0, this.#tenants.size, 0]) out.u32(word)
    for (const tenant of this.#tenants.keys()) out.string(tenant)
    out.u32(this.count)
    out.u32(0)
    out.bytes(positions)
    return out.view()
  }

  #tenantNumber(tenant: string): number {
    let number = this.#tenants.get(tenant)
    if (number === undefined) {
      number = this.#tenants.size
      this.#tenants.set(tenant, number)
    }
    return number
  }

  #grow(): void {
    const capacity = this.#e.length * 2
    this.#tenant = grown(this.#tenant, new Uint32Array(capacity))
    this.#series = grown(this.#series, new Uint32Array(capacity * 4))
    this.#ts = grown(this.#ts, new Uint32Array(capacity * 2))
    this.#e = grown(this.#e, new Uint8Array(capacity))
    this.#v = grown(this.#v, new Uint32Array(capacity * 2))
    this.#at = grown(this.#at, new Uint32Array(capacity * 2))
  }
}
