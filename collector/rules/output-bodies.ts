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
import type { Field } from './output-entry.ts'
import { entryHead, SAMPLE_FIELD_BYTES, SampleField, writeBehind } from './output-entry.ts'
import type { OutputGroups } from './output-groups.ts'
import { commonOf } from './output-groups.ts'
import type { SampleHistogram } from './sample-histogram.ts'

export interface OutputBody {
  readonly tenant: string
  readonly body: Uint8Array<ArrayBuffer>
  /** Outputs in it. */
  readonly outputs: number
}

/** With the last group's: they stand together. */
const OUTPUTS_PER_BODY = 5000
const TAG_HISTOGRAM = 0x22

const NOWHERE = -1

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

  floats(groups: OutputGroups, group: number, time: number, values: Float64Array): void {
    groups.make(group)
    const tenant = groups.tenantOf(group)
    const body = this.#bodyOf(tenant)
    body.addRow(groups, group, time, values, this.#sample)
    if (body.outputs >= OUTPUTS_PER_BODY) this.#close(tenant, body)
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
    if (body.outputs >= OUTPUTS_PER_BODY) this.#close(tenant, body)
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

class OpenBody {
  outputs = 0
  readonly #snappy = new SnappyWriter()
  /** The series before, and how many bytes its sample has. */
  #groups: OutputGroups | undefined
  #group = 0
  #series = 0
  #field = 0

  /** A series with the field of its sample. */
  add(groups: OutputGroups, group: number, series: number, field: Field): void {
    this.#write(groups, group, series, field.pos)
    this.#snappy.literal(field.buf, 0, field.pos)
    this.#wrote(groups, group, series, field.pos)
    this.outputs++
  }

  /** All series of a group. Hot: nearly all outputs come so, and behind the group of the window before. */
  addRow(groups: OutputGroups, group: number, time: number, values: Float64Array, sample: SampleField): void {
    const { rows, width } = groups
    const before = this.#groups === groups && this.#series === width - 1 ? this.#group : NOWHERE
    const behind = before === NOWHERE ? 0 : groups.serial[before]!
    const isUsual =
      behind !== 0 && this.#field === SAMPLE_FIELD_BYTES && sample.ofValue(time, 0).pos === SAMPLE_FIELD_BYTES
    if (isUsual && rows.has(group, behind)) {
      rows.write(group, this.#snappy)
      for (let i = 0; i < width; i++) rows.putSample(group, i, sample.ofValue(time, values[i]!))
      this.#wrote(groups, group, width - 1, SAMPLE_FIELD_BYTES)
      this.outputs += width
      return
    }
    const isAgain = isUsual && groups.follows[group] === behind
    for (let i = 0; i < width; i++) this.add(groups, group, i, sample.ofValue(time, values[i]!))
    if (isAgain) groups.prepareRow(group, before)
  }

  #wrote(groups: OutputGroups, group: number, series: number, field: number): void {
    this.#groups = groups
    this.#group = group
    this.#series = series
    this.#field = field
  }

  #write(groups: OutputGroups, group: number, series: number, field: number): void {
    const bytes = groups.bytesOf(group)
    const start = groups.startOf(group, series)
    const end = groups.endOf(group, series)
    const before = this.#groups
    // Where what it has in common with the series before is written down.
    const place = before === undefined ? NOWHERE : this.#compare(before, groups, group, series)
    if (place === NOWHERE) {
      const head = entryHead(end - start + field)
      this.#snappy.literal(head.buf, 0, head.pos)
      this.#snappy.literal(bytes, start, end)
      return
    }
    const sizeBefore = before!.endOf(this.#group, this.#series) - before!.startOf(this.#group, this.#series)
    const label = { bytes, start, end, head: groups.head[place]!, tail: groups.tail[place]!, before: sizeBefore }
    writeBehind(this.#snappy, label, this.#field, field)
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
