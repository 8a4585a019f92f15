/** The items of the bodies of one write that are no samples, in columns; the memory is used again for the next write. */
import type { ExtraKind } from '../../proto/wire/batch-extras.ts'
import { EXTRA_KINDS } from '../../proto/wire/batch-extras.ts'
import { grown } from '../../proto/wire/grown.ts'

const BYTES_KEPT = 1 << 20
const ITEMS_KEPT = 1 << 14
const CAPACITY = 256
const DETAILS_MAX = 100

export class Extras {
  count = 0
  /** Places in `EXTRA_KINDS`. */
  kinds: Uint8Array = new Uint8Array(CAPACITY)
  /** Number in the series table; below 0: refused, see `refusedSeries`. Of metadata: its tenant's number. */
  series: Int32Array = new Int32Array(CAPACITY)
  /** ms; NaN where there is none. */
  times: Float64Array = new Float64Array(CAPACITY)
  /** 1: known already, the message was not even written down. */
  repeats: Uint8Array = new Uint8Array(CAPACITY)
  /** Why an item is refused, beyond its reason. */
  readonly details: Map<number, string> = new Map()
  #ends: Float64Array = new Float64Array(CAPACITY)
  #bytes: Uint8Array = new Uint8Array(1 << 14)

  push(kind: ExtraKind, series: number, time: number, message: Uint8Array | undefined): void {
    const i = this.count
    if (i === this.kinds.length) this.#grow()
    this.kinds[i] = EXTRA_KINDS.indexOf(kind)
    this.series[i] = series
    this.times[i] = time
    this.repeats[i] = 0
    const start = this.#startOf(i)
    const length = message?.length ?? 0
    if (start + length > this.#bytes.length) this.#growBytes(start + length)
    if (message !== undefined) this.#bytes.set(message, start)
    this.#ends[i] = start + length
    this.count = i + 1
  }

  /** An item that is known already: its message is not written down. */
  pushRepeat(kind: ExtraKind): void {
    this.push(kind, 0, Number.NaN, undefined)
    this.repeats[this.count - 1] = 1
  }

  /** Of all messages. */
  get bytes(): number {
    return this.#startOf(this.count)
  }

  kind(i: number): ExtraKind {
    return EXTRA_KINDS[this.kinds[i]!]!
  }

  /** A view into memory that the next write uses again. */
  message(i: number): Uint8Array {
    return this.#bytes.subarray(this.#startOf(i), this.#ends[i])
  }

  /** Says why the next item is refused. Some are enough. */
  explain(detail: string): void {
    if (this.details.size < DETAILS_MAX) this.details.set(this.count, detail)
  }

  /** Forgets the items from here on. */
  truncate(count: number): void {
    if (this.details.size > 0) for (let item = count; item < this.count; item++) this.details.delete(item)
    this.count = count
  }

  /** Gives memory back that only an unusually large write needed. Between writes only. */
  release(): void {
    this.details.clear()
    if (this.kinds.length <= ITEMS_KEPT && this.#bytes.length <= BYTES_KEPT) return
    this.count = 0
    this.kinds = new Uint8Array(CAPACITY)
    this.series = new Int32Array(CAPACITY)
    this.times = new Float64Array(CAPACITY)
    this.repeats = new Uint8Array(CAPACITY)
    this.#ends = new Float64Array(CAPACITY)
    this.#bytes = new Uint8Array(1 << 14)
  }

  #startOf(i: number): number {
    return i === 0 ? 0 : this.#ends[i - 1]!
  }

  #grow(): void {
    const capacity = this.kinds.length * 2
    this.kinds = grown(this.kinds, new Uint8Array(capacity))
    this.series = grown(this.series, new Int32Array(capacity))
    this.times = grown(this.times, new Float64Array(capacity))
    this.repeats = grown(this.repeats, new Uint8Array(capacity))
    this.#ends = grown(this.#ends, new Float64Array(capacity))
  }

  #growBytes(needed: number): void {
    this.#bytes = grown(this.#bytes, new Uint8Array(Math.max(needed, this.#bytes.length * 2)))
  }
}
