/**
 * Outputs of rules as bodies of remote write 1.0: they take the way of every other sample, through a journal of their own.
 *
 * The label block of an output is much like that of the one before: the body is written as snappy at once, with what both begin
 * and end with as copies from there, instead of written out and searched for repetitions.
 */
import { ByteWriter } from '../../proto/wire/bytes.ts'
import type { NativeHistogram } from '../../proto/wire/native-histogram.ts'
import { encodeHistogram } from '../../proto/wire/native-histogram.ts'
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import { SnappyWriter } from '../../proto/wire/snappy-writer.ts'
import type { OutputSink } from './merger.ts'
import type { Common, OutputGroup } from './output-groups.ts'
import { commonOf, NOTHING_COMMON } from './output-groups.ts'
import type { SampleHistogram } from './sample-histogram.ts'

export interface OutputBody {
  readonly tenant: string
  readonly body: Uint8Array<ArrayBuffer>
  /** Outputs in it. */
  readonly outputs: number
}

const SERIES_PER_BODY = 5000
const TAG_SERIES = 0x0a
const TAG_SAMPLE = 0x12
const TAG_HISTOGRAM = 0x22
const TAG_VALUE = 0x09
const TAG_TIME = 0x10
const BITS = new Uint32Array(2)
const FLOAT = new Float64Array(BITS.buffer)

/** Bodies under way, one a tenant. */
export class OutputBodies implements OutputSink {
  readonly #open = new Map<string, OpenBody>()
  #tenant = ''
  #current: OpenBody | undefined
  readonly #closed: OutputBody[] = []

  float(group: OutputGroup, series: number, time: number, value: number): void {
    FLOAT[0] = value
    this.#add(group, series, sampleField(time, BITS[0]!, BITS[1]!))
  }

  histogram(group: OutputGroup, series: number, time: number, histogram: SampleHistogram): void {
    const field = new ByteWriter()
    field.u8(TAG_HISTOGRAM)
    field.block(encodeHistogram(native(histogram, time)))
    this.#add(group, series, field.view())
  }

  /** A stale marker in its place: there is no way to unsay a sample. */
  none(group: OutputGroup, series: number, time: number): void {
    this.#add(group, series, sampleField(time, STALE_LOW, STALE_HIGH))
  }

  /** What was written since the last time. */
  take(): OutputBody[] {
    for (const [tenant, body] of this.#open) this.#close(tenant, body)
    return this.#closed.splice(0)
  }

  #add(group: OutputGroup, series: number, field: Uint8Array): void {
    const body = this.#bodyOf(group.tenant)
    body.add(group, series, field)
    if (body.outputs === SERIES_PER_BODY) this.#close(group.tenant, body)
  }

  #bodyOf(tenant: string): OpenBody {
    if (this.#current !== undefined && tenant === this.#tenant) return this.#current
    const body = this.#open.get(tenant) ?? new OpenBody()
    this.#open.set(tenant, body)
    this.#tenant = tenant
    this.#current = body
    return body
  }

  #close(tenant: string, body: OpenBody): void {
    this.#open.delete(tenant)
    this.#current = undefined
    this.#closed.push({ tenant, body: body.snappy.finish(), outputs: body.outputs })
  }
}

class OpenBody {
  outputs = 0
  readonly snappy = new SnappyWriter()
  readonly #head = new ByteWriter(16)
  /** The series before, and where its label block stands in the body. */
  #group: OutputGroup | undefined
  #series = 0
  #at = 0

  /** A series with the field of its sample. */
  add(group: OutputGroup, series: number, field: Uint8Array): void {
    const { snappy } = this
    const { labels, ends } = group
    const start = startOf(group, series)
    const end = ends[series]!
    this.#head.pos = 0
    this.#head.u8(TAG_SERIES)
    this.#head.varint(end - start + field.length)
    snappy.literal(this.#head.buf, 0, this.#head.pos)
    const { head, tail } = this.#common(group, series)
    const at = snappy.length
    const before = this.#group === undefined ? 0 : this.#group.ends[this.#series]! - startOf(this.#group, this.#series)
    snappy.copy(at - this.#at, head, labels, start)
    snappy.literal(labels, start + head, end - tail)
    snappy.copy(at + end - start - this.#at - before, tail, labels, end - tail)
    snappy.literal(field, 0, field.length)
    this.#group = group
    this.#series = series
    this.#at = at
    this.outputs++
  }

  /** What a series has in common with the one before. */
  #common(group: OutputGroup, series: number): Common {
    const before = this.#group
    if (before === undefined) return NOTHING_COMMON
    if (before === group && series === this.#series + 1) return group.common[series]!
    const usual = series === 0 && this.#series === before.ends.length - 1
    if (usual && group.follows?.serial === before.serial) return group.follows.common
    const start = startOf(group, series)
    const from = startOf(before, this.#series)
    const common = commonOf(group.labels, start, group.ends[series]!, before.labels, from, before.ends[this.#series]!)
    if (usual) group.follows = { serial: before.serial, common }
    return common
  }
}

function startOf({ ends }: OutputGroup, series: number): number {
  return series === 0 ? 0 : ends[series - 1]!
}

const sample = new ByteWriter(32)

/** The field of a sample; valid until the next one. */
function sampleField(time: number, low: number, high: number): Uint8Array {
  sample.pos = 0
  sample.u8(TAG_SAMPLE)
  sample.u8(0)
  sample.u8(TAG_VALUE)
  sample.u32(low)
  sample.u32(high)
  sample.u8(TAG_TIME)
  sample.varint(time)
  sample.buf[1] = sample.pos - 2
  return sample.view()
}

function native(histogram: SampleHistogram, timestamp: number): NativeHistogram {
  const { countInt, zeroCountInt, positiveDeltas, negativeDeltas, ...shape } = histogram
  return {
    ...shape,
    timestamp,
    startTimestamp: 0,
    stale: false,
    customValues: [],
    float: false,
    count: BigInt(countInt),
    zeroCount: BigInt(zeroCountInt),
    positive: countsOf(positiveDeltas),
    negative: countsOf(negativeDeltas),
  }
}

function countsOf(deltas: readonly number[]): bigint[] {
  let count = 0
  return deltas.map((delta) => {
    count += delta
    return BigInt(count)
  })
}
