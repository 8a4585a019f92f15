/**
 * What a batch carries besides samples: few in number, so each stands by itself instead of in columns.
 *
 *     extras  (kind 4)  n:varint, then each: kind:u8, metadata: tenant:string, others: ref:varint, then time:zigzag (change, ms),
 *                       arrival:zigzag (change, µs), message:block
 *     starts  (kind 5)  n:varint, then each: ref:varint from:zigzag (change, ms) since:zigzag (from - since, ms)
 *                       arrival:zigzag (change, µs)
 *
 * Messages are those of remote write 1.0: `Histogram`, `Exemplar`, `MetricMetadata`.
 */
import type { ByteReader } from './bytes.ts'
import { ByteWriter } from './bytes.ts'
import { WireError } from './wire-error.ts'

/** What a body can hold besides samples. Numbers are on the wire and on disk: new ones at the end. */
export const EXTRA_KINDS = ['histogram', 'exemplar', 'metadata'] as const
export type ExtraKind = (typeof EXTRA_KINDS)[number]

/** Everything that is counted and journalled one by one. */
export const ITEM_KINDS = ['sample', 'histogram', 'exemplar', 'metadata'] as const
export type ItemKind = (typeof ITEM_KINDS)[number]

/** A histogram or exemplar of a series, or the metadata of a metric. */
export type Extra =
  | {
      readonly kind: 'histogram' | 'exemplar'
      readonly ref: number
      /** ms since the epoch */
      readonly time: number
      /** µs since the epoch; the larger wins. */
      readonly arrival: number
      readonly message: Uint8Array
    }
  | { readonly kind: 'metadata'; readonly tenant: string; readonly arrival: number; readonly message: Uint8Array }

/** The samples of a series from a time on count since `since`, until the next such mark. */
export interface StartMark {
  readonly ref: number
  /** Time of the first sample that says so, ms since the epoch. */
  readonly from: number
  /** ms since the epoch; 0: samples from here on do not say. */
  readonly since: number
  /** µs since the epoch */
  readonly arrival: number
}

/** The two sections, as they come. */
export class ExtrasBuilder {
  readonly #extras = new ByteWriter(256)
  readonly #starts = new ByteWriter(256)
  #extraCount = 0
  #startCount = 0
  #time = 0
  #arrival = 0
  #from = 0
  #startArrival = 0

  get count(): number {
    return this.#extraCount
  }

  get bytes(): number {
    return this.#extras.pos + this.#starts.pos
  }

  extra(extra: Extra): void {
    const out = this.#extras
    out.u8(EXTRA_KINDS.indexOf(extra.kind))
    if (extra.kind === 'metadata') out.string(extra.tenant)
    else {
      out.varint(extra.ref)
      out.zigzag(extra.time - this.#time)
      this.#time = extra.time
    }
    out.zigzag(extra.arrival - this.#arrival)
    this.#arrival = extra.arrival
    out.block(extra.message)
    this.#extraCount++
  }

  start({ ref, from, since, arrival }: StartMark): void {
    const out = this.#starts
    out.varint(ref)
    out.zigzag(from - this.#from)
    this.#from = from
    out.zigzag(from - since)
    out.zigzag(arrival - this.#startArrival)
    this.#startArrival = arrival
    this.#startCount++
  }

  /** Writes the payload of the section of extras. */
  writeExtras(out: ByteWriter): void {
    out.varint(this.#extraCount)
    out.bytes(this.#extras.view())
  }

  get hasStarts(): boolean {
    return this.#startCount > 0
  }

  writeStarts(out: ByteWriter): void {
    out.varint(this.#startCount)
    out.bytes(this.#starts.view())
  }

  clear(): void {
    this.#extras.pos = 0
    this.#starts.pos = 0
    this.#extraCount = 0
    this.#startCount = 0
    this.#time = 0
    this.#arrival = 0
    this.#from = 0
    this.#startArrival = 0
  }
}

/** @throws WireError for bytes that no collector of this version writes */
export function readExtras(r: ByteReader): Extra[] {
  const count = r.length(r.left, 'number of extras')
  const extras: Extra[] = []
  let time = 0
  let arrival = 0
  for (let i = 0; i < count; i++) {
    const kind = EXTRA_KINDS[r.u8()]
    if (kind === undefined) throw new WireError('malformed', 'batch: a kind of extra is not known')
    if (kind === 'metadata') {
      const tenant = r.string()
      arrival += r.zigzag()
      extras.push({ kind, tenant, arrival, message: r.block() })
      continue
    }
    const ref = r.varint()
    time += r.zigzag()
    arrival += r.zigzag()
    extras.push({ kind, ref, time, arrival, message: r.block() })
  }
  ended(r)
  return extras
}

/** @throws WireError for bytes that no collector of this version writes */
export function readStarts(r: ByteReader): StartMark[] {
  const count = r.length(r.left, 'number of starts')
  const starts: StartMark[] = []
  let from = 0
  let arrival = 0
  for (let i = 0; i < count; i++) {
    const ref = r.varint()
    from += r.zigzag()
    const since = from - r.zigzag()
    arrival += r.zigzag()
    starts.push({ ref, from, since, arrival })
  }
  ended(r)
  return starts
}

function ended(r: ByteReader): void {
  if (r.left > 0) throw new WireError('malformed', `batch: a section has ${r.left} bytes too many`)
}
