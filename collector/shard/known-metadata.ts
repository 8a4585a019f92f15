/**
 * The metadata that a shard has passed on, so that it is passed on once a day and not with every request: 2.0 senders repeat
 * it for every series in every request, 1.0 senders once a minute.
 *
 *     (tenant, message) ──▶ entry ◀── series: a repeat costs one comparison of bytes
 */

import { utf8Encode } from '../../proto/wire/bytes.ts'
import type { MetricMetadata } from '../../proto/wire/metadata.ts'
import { METRIC_TYPES } from '../../proto/wire/metadata.ts'
import type { MetadataRanges } from '../../proto/wire/remote-write-2.ts'

interface Entry {
  readonly type: number
  readonly help: Uint8Array
  readonly unit: Uint8Array
}

const DAY_MS = 86_400_000

export class KnownMetadata {
  readonly #bytesMax: number
  readonly #entries: Entry[] = []
  readonly #byKey = new Map<string, number>()
  /** By number of the series: entry + 1. */
  #bySeries = new Int32Array(1024)
  #bytes = 0
  /** Bytes of messages that may be passed on with the write in hand. */
  pending = 0
  #day = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** A write begins. On another day everything is passed on again, so that stored metadata lives as long as its metric. @param now ms */
  begin(now: number): void {
    this.pending = 0
    const day = Math.floor(now / DAY_MS)
    if (day === this.#day) return
    this.#day = day
    this.#entries.length = 0
    this.#byKey.clear()
    this.#bySeries.fill(0)
    this.#bytes = 0
  }

  get full(): boolean {
    return this.#bytes + this.pending >= this.#bytesMax
  }

  /** A message may be passed on with this write. */
  expect(message: Uint8Array): void {
    this.pending += message.length
  }

  /** Whether this is what the series had before. */
  repeats(series: number, { body, type, helpAt, helpLength, unitAt, unitLength }: MetadataRanges): boolean {
    const entry = this.#entries[(this.#bySeries[series] ?? 0) - 1]
    return (
      entry !== undefined &&
      entry.type === (type < METRIC_TYPES.length ? type : 0) &&
      same(entry.help, body, helpAt, helpLength) &&
      same(entry.unit, body, unitAt, unitLength)
    )
  }

  /** Whether a message is known; the series is then known to have it. */
  has(tenant: number, message: Uint8Array, series: number): boolean {
    const entry = this.#byKey.get(keyOf(tenant, message))
    if (entry === undefined) return false
    if (series >= 0) this.#connect(series, entry)
    return true
  }

  /** A message was passed on. */
  add(tenant: number, message: Uint8Array, { type, help, unit }: MetricMetadata): void {
    const key = keyOf(tenant, message)
    if (this.#byKey.has(key)) return
    this.#byKey.set(key, this.#entries.length)
    this.#entries.push({ type: METRIC_TYPES.indexOf(type), help: utf8Encode(help), unit: utf8Encode(unit) })
    this.#bytes += 2 * message.length + 200
  }

  /** Numbers of series mean others now. */
  forgetSeries(): void {
    this.#bySeries.fill(0)
  }

  #connect(series: number, entry: number): void {
    if (series >= this.#bySeries.length) {
      const grown = new Int32Array(Math.max(series + 1, this.#bySeries.length * 2))
      grown.set(this.#bySeries)
      this.#bySeries = grown
    }
    this.#bySeries[series] = entry + 1
  }
}

export function keyOf(tenant: number, message: Uint8Array): string {
  return `${tenant}\0${Buffer.from(message.buffer, message.byteOffset, message.length).toString('latin1')}`
}

function same(text: Uint8Array, body: Uint8Array, at: number, length: number): boolean {
  if (text.length !== length) return false
  for (let i = 0; i < length; i++) if (text[i] !== body[at + i]) return false
  return true
}
