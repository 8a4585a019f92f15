/** An output in a body of remote write: its series with one sample, and how it is written as snappy behind the one before. */
import { ByteWriter } from '../../proto/wire/bytes.ts'
import { SnappyWriter } from '../../proto/wire/snappy-writer.ts'

const TAG_SERIES = 0x0a
const TAG_SAMPLE = 0x12
const TAG_VALUE = 0x09
const TAG_TIME = 0x10
/** The field of a sample of our days, of 2004 to 2109: where the bits of its value stand, and its time, a varint to the end. */
export const SAMPLE_FIELD_BYTES = 18
export const VALUE_AT = 3
export const TIME_AT = 12

/** The first `pos` bytes. */
export interface Field {
  readonly buf: Uint8Array
  readonly pos: number
}

/** What stands in front of a series' labels, valid until the next one. @param bytes of labels and samples */
export function entryHead(bytes: number): Field {
  HEAD.pos = 0
  HEAD.u8(TAG_SERIES)
  HEAD.varint(bytes)
  return HEAD
}

const HEAD = new ByteWriter(16)

/** A label block, bytes [start, end), and how much of it, from both ends, is as in the one before, which has `before` bytes. */
export interface BehindAnother {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly head: number
  readonly tail: number
  readonly before: number
}

/**
 * Head and labels of an entry, with what is as in the one before as copies from there.
 * @param field bytes of the sample of the one before, and of this one's
 */
export function writeBehind(snappy: SnappyWriter, label: BehindAnother, fieldBefore: number, field: number): void {
  const { bytes, start, end, head, tail, before } = label
  const size = end - start
  const first = entryHead(size + field)
  snappy.literal(first.buf, 0, first.pos)
  const back = before + fieldBefore + first.pos
  if (head > 0) snappy.copy(back, head, bytes, start)
  snappy.literal(bytes, start + head, end - tail)
  if (tail > 0) snappy.copy(back + size - before, tail, bytes, end - tail)
}

const PREPARED = new SnappyWriter()

/** The same as elements of snappy, where both fields have {@link SAMPLE_FIELD_BYTES}; valid until the next call. */
export function preparedBehind(label: BehindAnother): Uint8Array {
  writeBehind(PREPARED, label, SAMPLE_FIELD_BYTES, SAMPLE_FIELD_BYTES)
  return PREPARED.finishElements()
}

/** Bytes of head and labels of an entry whose sample has {@link SAMPLE_FIELD_BYTES}. */
export function entryLength(labelBytes: number): number {
  return entryHead(labelBytes + SAMPLE_FIELD_BYTES).pos + labelBytes
}

const BITS = new Uint32Array(2)
const FLOAT = new Float64Array(BITS.buffer)

/** The field of a sample, valid until the next one. Most have the time of the one before. */
export class SampleField implements Field {
  /** Bits of the value. */
  low = 0
  high = 0
  /** The bytes of the time as two numbers, where the field has {@link SAMPLE_FIELD_BYTES}. */
  timeLow = 0
  timeHigh = 0
  readonly #writer = new ByteWriter(32)
  #time = Number.NaN

  get buf(): Uint8Array {
    this.#writer.patchU32(VALUE_AT, this.low)
    this.#writer.patchU32(VALUE_AT + 4, this.high)
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
    this.low = low
    this.high = high
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
    const { buf, pos } = writer
    buf[1] = pos - 2
    this.timeLow = buf[TIME_AT]! | (buf[TIME_AT + 1]! << 8) | (buf[TIME_AT + 2]! << 16) | (buf[TIME_AT + 3]! << 24)
    this.timeHigh = buf[TIME_AT + 4]! | (buf[TIME_AT + 5]! << 8)
    this.#time = time
  }
}

/** One of our days: its value and time are put in later. */
export const SAMPLE_FIELD: Uint8Array = new SampleField().ofValue(2 ** 41, 0).buf.slice(0, SAMPLE_FIELD_BYTES)
