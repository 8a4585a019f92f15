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
import type { OutputGroups } from './output-groups.ts'
import { commonOf } from './output-groups.ts'
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
/** Where the bits of the value stand in the field of a sample. */
const VALUE_AT = 3

/** Bodies under way, one a tenant. */
export class OutputBodies implements OutputSink {
  readonly #give: (body: OutputBody) => void
  readonly #open = new Map<string, OpenBody>()
  #tenant = ''
  #current: OpenBody | undefined
  readonly #sample = new SampleField()

  /** @param give takes a body that is full; its bytes are good until it returns */
  constructor(give: (body: OutputBody) => void) {
    this.#give = give
  }

  float(groups: OutputGroups, group: number, series: number, time: number, value: number): void {
    this.#add(groups, group, series, this.#sample.ofValue(time, value))
  }

  histogram(groups: OutputGroups, group: number, series: number, time: number, histogram: SampleHistogram): void {
    const field = new ByteWriter()
    field.u8(TAG_HISTOGRAM)
    field.block(encodeHistogram(native(histogram, time)))
    this.#add(groups, group, series, field)
  }

  /** A stale marker in its place: there is no way to unsay a sample. */
  none(groups: OutputGroups, group: number, series: number, time: number): void {
    this.#add(groups, group, series, this.#sample.ofBits(time, STALE_LOW, STALE_HIGH))
  }

  /** Gives what was written and is not given yet. */
  flush(): void {
    for (const [tenant, body] of this.#open) if (body.outputs > 0) this.#close(tenant, body)
    this.#open.clear() // tenants may not come again
    this.#current = undefined
  }

  #add(groups: OutputGroups, group: number, series: number, field: Field): void {
    groups.make(group)
    const tenant = groups.tenantOf(group)
    const body = this.#bodyOf(tenant)
    body.add(groups, group, series, field)
    if (body.outputs === SERIES_PER_BODY) this.#close(tenant, body)
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
    const { outputs } = body
    this.#give({ tenant, body: body.finish(), outputs })
  }
}

/** The first `pos` bytes. */
interface Field {
  readonly buf: Uint8Array
  readonly pos: number
}

class OpenBody {
  outputs = 0
  readonly #snappy = new SnappyWriter()
  readonly #head = new ByteWriter(16)
  /** The series before, and where its label block stands in the body. */
  #groups: OutputGroups | undefined
  #group = 0
  #series = 0
  #at = 0

  /** A series with the field of its sample. Hot. */
  add(groups: OutputGroups, group: number, series: number, field: Field): void {
    const snappy = this.#snappy
    const bytes = groups.bytesOf(group)
    const start = groups.startOf(group, series)
    const end = groups.endOf(group, series)
    const size = end - start
    const before = this.#groups
    // Where what it has in common with the series before is written down.
    const place = before === undefined ? NOWHERE : this.#compare(before, groups, group, series)
    const head = place === NOWHERE ? 0 : groups.head[place]!
    const tail = place === NOWHERE ? 0 : groups.tail[place]!
    this.#head.pos = 0
    this.#head.u8(TAG_SERIES)
    this.#head.varint(size + field.pos)
    snappy.literal(this.#head.buf, 0, this.#head.pos)
    const at = snappy.length
    if (head > 0) snappy.copy(at - this.#at, head, bytes, start)
    snappy.literal(bytes, start + head, end - tail)
    if (tail > 0) {
      const sizeBefore = before!.endOf(this.#group, this.#series) - before!.startOf(this.#group, this.#series)
      snappy.copy(at + size - this.#at - sizeBefore, tail, bytes, end - tail)
    }
    snappy.literal(field.buf, 0, field.pos)
    this.#groups = groups
    this.#group = group
    this.#series = series
    this.#at = at
    this.outputs++
  }

  /** The block, valid until something is added: then the next one begins. */
  finish(): Uint8Array<ArrayBuffer> {
    this.outputs = 0
    this.#groups = undefined
    return this.#snappy.finish()
  }

  /** What a series has in common with the one before: in which place of the group's columns it stands; NOWHERE: not known. */
  #compare(before: OutputGroups, groups: OutputGroups, group: number, series: number): number {
    const { width, follows } = groups
    const place = group * width + series
    if (before === groups && this.#group === group && series === this.#series + 1) return place
    if (series !== 0 || this.#series !== before.width - 1) return NOWHERE
    const last = before.serial[this.#group]!
    if (follows[group] !== last) {
      const { head, tail } = commonOf(
        groups.bytesOf(group),
        groups.startOf(group, 0),
        groups.endOf(group, 0),
        before.bytesOf(this.#group),
        before.startOf(this.#group, this.#series),
        before.endOf(this.#group, this.#series),
      )
      groups.head[place] = head
      groups.tail[place] = tail
      follows[group] = last
    }
    return place
  }
}

const NOWHERE = -1
const BITS = new Uint32Array(2)
const FLOAT = new Float64Array(BITS.buffer)

/** The field of a sample, valid until the next one. Most have the time of the one before. */
class SampleField implements Field {
  readonly #writer = new ByteWriter(32)
  #time = Number.NaN

  get buf(): Uint8Array {
    return this.#writer.buf
  }

  get pos(): number {
    return this.#writer.pos
  }

  ofValue(time: number, value: number): this {
    FLOAT[0] = value
    return this.ofBits(time, BITS[0]!, BITS[1]!)
  }

  ofBits(time: number, low: number, high: number): this {
    if (time !== this.#time) this.#begin(time)
    this.#writer.patchU32(VALUE_AT, low)
    this.#writer.patchU32(VALUE_AT + 4, high)
    return this
  }

  #begin(time: number): void {
    const writer = this.#writer
    writer.pos = 0
    writer.u8(TAG_SAMPLE)
    writer.u8(0)
    writer.u8(TAG_VALUE)
    writer.u32(0)
    writer.u32(0)
    writer.u8(TAG_TIME)
    writer.varint(time)
    writer.buf[1] = writer.pos - 2
    this.#time = time
  }
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
