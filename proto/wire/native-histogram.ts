/**
 * Native histograms: the message `Histogram` of remote write, the same in 1.0 and 2.0.
 *
 *     count = 1 (uint64) or 2 (double), sum = 3, schema = 4 (sint32), zero_threshold = 5, zero_count = 6 (uint64) or 7 (double)
 *     negative: spans = 8, deltas = 9 (sint64) or counts = 10 (double);  positive: spans = 11, deltas = 12 or counts = 13
 *     reset_hint = 14, timestamp = 15 (ms), custom_values = 16 (double), start_timestamp = 17 (ms, 2.0)
 *
 * Buckets are sparse: a span says how many buckets follow each other, and how far it is from the one before. In the message
 * integer counts are differences; here they are counts.
 * @see https://prometheus.io/docs/specs/native_histograms/
 */
import type { Reader } from './protobuf.ts'
import { Reader as ProtobufReader, Writer } from './protobuf.ts'
import { asWireError, enter, STALE_HIGH, STALE_LOW, skipUnknown, tag } from './remote-write.ts'
import { readInt64, readSint64, readUint64 } from './varint64.ts'
import { WireError } from './wire-error.ts'

export interface BucketSpan {
  /** Buckets between the end of the span before and this one; of the first span: index of its first bucket. */
  readonly offset: number
  readonly length: number
}

interface Shape {
  /** ms since the epoch */
  readonly timestamp: number
  /** Since when it counts, ms since the epoch; 0: not said. */
  readonly startTimestamp: number
  /** -4 to 52: a bucket's bounds differ by the factor 2^(2^-schema); {@link CUSTOM_BUCKETS}: by `customValues`. */
  readonly schema: number
  readonly zeroThreshold: number
  /** 0 unknown, 1 reset, 2 no reset, 3 gauge. */
  readonly resetHint: number
  readonly sum: number
  /** The sum is the stale marker: the series ends here. */
  readonly stale: boolean
  readonly positiveSpans: readonly BucketSpan[]
  readonly negativeSpans: readonly BucketSpan[]
  /** Upper bounds of the buckets under {@link CUSTOM_BUCKETS}, ascending, without +Inf. */
  readonly customValues: readonly number[]
}

/** Counts are whole numbers, or they are floats; never mixed. `positive` and `negative` have a count for each bucket. */
export type NativeHistogram = Shape &
  (
    | {
        readonly float: false
        readonly count: bigint
        readonly zeroCount: bigint
        readonly positive: readonly bigint[]
        readonly negative: readonly bigint[]
      }
    | {
        readonly float: true
        readonly count: number
        readonly zeroCount: number
        readonly positive: readonly number[]
        readonly negative: readonly number[]
      }
  )

export const CUSTOM_BUCKETS = -53
const SCHEMA_MIN = -4
const SCHEMA_MAX = 52 // above 8 nobody sends yet; Prometheus reads them too
const RESET_HINT_MAX = 3
/** Buckets, spans or bounds of one histogram; usual ones have at most 160. */
const ELEMENTS_MAX = 2000

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIELD = {
  countInt: 1,
  countFloat: 2,
  sum: 3,
  schema: 4,
  zeroThreshold: 5,
  zeroCountInt: 6,
  zeroCountFloat: 7,
  negativeSpans: 8,
  negativeDeltas: 9,
  negativeCounts: 10,
  positiveSpans: 11,
  positiveDeltas: 12,
  positiveCounts: 13,
  resetHint: 14,
  timestamp: 15,
  customValues: 16,
  startTimestamp: 17,
} as const

/** The fields as they stand in the message. */
class Fields {
  countInt: bigint | undefined
  countFloat: number | undefined
  zeroCountInt: bigint | undefined
  zeroCountFloat: number | undefined
  sum = 0
  stale = false
  schema = 0
  zeroThreshold = 0
  resetHint = 0
  timestamp = 0
  startTimestamp = 0
  readonly negativeSpans: BucketSpan[] = []
  readonly positiveSpans: BucketSpan[] = []
  readonly negativeDeltas: bigint[] = []
  readonly positiveDeltas: bigint[] = []
  readonly negativeCounts: number[] = []
  readonly positiveCounts: number[] = []
  readonly customValues: number[] = []
}

/**
 * Reads the message at body[start..end).
 * @returns the histogram; or, where it contradicts itself, its time and what is wrong with it, in words
 * @throws WireError when the bytes are no such message
 */
export function readHistogram(
  body: Uint8Array,
  start = 0,
  end: number = body.length,
): NativeHistogram | { readonly timestamp: number; readonly problem: string } {
  const reader = new ProtobufReader(body)
  reader.pos = start
  const fields = new Fields()
  try {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    while (reader.pos < end) {
      reader.len = end
      readField(reader, view, end, fields)
    }
  } catch (error) {
    if (error instanceof WireError && error.code === 'too_large')
      return { timestamp: fields.timestamp, problem: error.message }
    throw asWireError(error, reader)
  }
  const problem = formProblem(fields)
  if (problem !== undefined) return { timestamp: fields.timestamp, problem }
  const histogram = assemble(fields)
  const invalid = countProblem(histogram)
  return invalid === undefined ? histogram : { timestamp: fields.timestamp, problem: invalid }
}

/** Hostile bytes: every list is bounded while it is read, every nested message by the one around it. */
function readField(reader: Reader, view: DataView, end: number, fields: Fields): void {
  const field = reader.tag()
  const number = field >>> 3
  const packed = (field & 7) === LENGTH
  switch (number) {
    case FIELD.countInt:
      fields.countInt = readUint64(typed(reader, field, VARINT))
      fields.countFloat = undefined
      return
    case FIELD.countFloat:
      fields.countFloat = typed(reader, field, FIXED64).double()
      fields.countInt = undefined
      return
    case FIELD.sum: {
      const at = typed(reader, field, FIXED64).pos
      fields.sum = reader.double()
      fields.stale = view.getUint32(at, true) === STALE_LOW && view.getUint32(at + 4, true) === STALE_HIGH
      return
    }
    case FIELD.schema:
      fields.schema = typed(reader, field, VARINT).sint32()
      return
    case FIELD.zeroThreshold:
      fields.zeroThreshold = typed(reader, field, FIXED64).double()
      return
    case FIELD.zeroCountInt:
      fields.zeroCountInt = readUint64(typed(reader, field, VARINT))
      fields.zeroCountFloat = undefined
      return
    case FIELD.zeroCountFloat:
      fields.zeroCountFloat = typed(reader, field, FIXED64).double()
      fields.zeroCountInt = undefined
      return
    case FIELD.negativeSpans:
    case FIELD.positiveSpans: {
      const spans = number === FIELD.negativeSpans ? fields.negativeSpans : fields.positiveSpans
      push(spans, readSpan(typed(reader, field, LENGTH), end))
      return
    }
    case FIELD.negativeDeltas:
    case FIELD.positiveDeltas: {
      const deltas = number === FIELD.negativeDeltas ? fields.negativeDeltas : fields.positiveDeltas
      repeated(packed ? reader : typed(reader, field, VARINT), packed, end, () => push(deltas, readSint64(reader)))
      return
    }
    case FIELD.negativeCounts:
    case FIELD.positiveCounts:
    case FIELD.customValues: {
      const values =
        number === FIELD.customValues
          ? fields.customValues
          : number === FIELD.negativeCounts
            ? fields.negativeCounts
            : fields.positiveCounts
      repeated(packed ? reader : typed(reader, field, FIXED64), packed, end, () => push(values, reader.double()))
      return
    }
    case FIELD.resetHint:
      fields.resetHint = typed(reader, field, VARINT).uint32()
      return
    case FIELD.timestamp:
      fields.timestamp = readInt64(typed(reader, field, VARINT))
      return
    case FIELD.startTimestamp:
      fields.startTimestamp = readInt64(typed(reader, field, VARINT))
      return
    default:
      skipUnknown(reader, field)
  }
}

/** The same reader, for a field of the wire type that it must have. */
function typed(reader: Reader, field: number, type: number): Reader {
  if ((field & 7) !== type)
    throw new WireError(
      'malformed',
      `histogram: field ${field >>> 3} at offset ${reader.pos} has wire type ${field & 7}`,
    )
  return reader
}

function repeated(reader: Reader, packed: boolean, end: number, one: () => void): void {
  if (!packed) {
    one()
    return
  }
  const packedEnd = enter(reader, end)
  while (reader.pos < packedEnd) one()
  reader.len = end
}

function push<T>(list: T[], value: T): void {
  if (list.length === ELEMENTS_MAX)
    throw new WireError('too_large', `it has more than ${ELEMENTS_MAX} buckets, spans or bounds`)
  list.push(value)
}

function readSpan(reader: Reader, outerEnd: number): BucketSpan {
  const end = enter(reader, outerEnd)
  let offset = 0
  let length = 0
  while (reader.pos < end) {
    const field = reader.tag()
    if (field === tag(1, VARINT)) offset = reader.sint32()
    else if (field === tag(2, VARINT)) length = reader.uint32()
    else skipUnknown(reader, field, tag(1, VARINT), tag(2, VARINT))
  }
  reader.len = outerEnd
  return { offset, length }
}

/** What is wrong with the fields before counts are looked at. */
function formProblem(f: Fields): string | undefined {
  const custom = f.schema === CUSTOM_BUCKETS
  if (!custom && (f.schema < SCHEMA_MIN || f.schema > SCHEMA_MAX))
    return `schema ${f.schema} is not one of ${SCHEMA_MIN} to ${SCHEMA_MAX}, ${CUSTOM_BUCKETS}`
  if (f.resetHint > RESET_HINT_MAX) return `reset_hint ${f.resetHint} is not one of 0 to ${RESET_HINT_MAX}`
  const float = f.countFloat !== undefined
  if (
    float
      ? f.zeroCountInt !== undefined || f.positiveDeltas.length + f.negativeDeltas.length > 0
      : f.zeroCountFloat !== undefined || f.positiveCounts.length + f.negativeCounts.length > 0
  )
    return 'whole and float counts are mixed'
  if (!(f.zeroThreshold >= 0)) return `zero_threshold ${f.zeroThreshold} is not 0 or more`
  return (
    spansProblem('positive', f.positiveSpans, float ? f.positiveCounts.length : f.positiveDeltas.length, custom) ??
    spansProblem('negative', f.negativeSpans, float ? f.negativeCounts.length : f.negativeDeltas.length, custom) ??
    (custom ? customProblem(f) : f.customValues.length > 0 ? `custom_values with schema ${f.schema}` : undefined)
  )
}

function spansProblem(
  side: string,
  spans: readonly BucketSpan[],
  buckets: number,
  custom: boolean,
): string | undefined {
  let length = 0
  for (const [i, span] of spans.entries()) {
    if (span.offset < 0 && (i > 0 || custom)) return `${side} span ${i} has offset ${span.offset}`
    length += span.length
  }
  return length === buckets ? undefined : `${side} spans have ${length} buckets, there are counts for ${buckets}`
}

function customProblem(f: Fields): string | undefined {
  const bounds = f.customValues
  for (const [i, bound] of bounds.entries()) {
    if (Number.isNaN(bound) || bound === Number.POSITIVE_INFINITY) return `custom_values[${i}] is ${bound}`
    if (i > 0 && !(bound > bounds[i - 1]!)) return `custom_values[${i}] is not above the one before`
  }
  const reach = f.positiveSpans.reduce((n, span) => n + span.offset + span.length, 0)
  if (reach > bounds.length + 1) return `buckets reach to ${reach}, custom_values give ${bounds.length + 1}`
  if (f.negativeSpans.length > 0) return 'negative buckets with custom_values'
  if ((f.zeroCountInt ?? 0n) !== 0n || (f.zeroCountFloat ?? 0) !== 0 || f.zeroThreshold !== 0)
    return 'a zero bucket with custom_values'
  return undefined
}

function assemble(f: Fields): NativeHistogram {
  const { timestamp, startTimestamp, schema, zeroThreshold, resetHint, sum, stale } = f
  const { positiveSpans, negativeSpans, customValues } = f
  const shape: Shape = {
    timestamp,
    startTimestamp,
    schema,
    zeroThreshold,
    resetHint,
    sum,
    stale,
    positiveSpans,
    negativeSpans,
    customValues,
  }
  // The spread stands last: with properties behind it V8 puts objects where only a full collection finds them.
  if (f.countFloat !== undefined)
    return {
      float: true,
      count: f.countFloat,
      zeroCount: f.zeroCountFloat ?? 0,
      positive: f.positiveCounts,
      negative: f.negativeCounts,
      ...shape,
    }
  return {
    float: false,
    count: f.countInt ?? 0n,
    zeroCount: f.zeroCountInt ?? 0n,
    positive: running(f.positiveDeltas),
    negative: running(f.negativeDeltas),
    ...shape,
  }
}

function running(deltas: readonly bigint[]): bigint[] {
  let count = 0n
  return deltas.map((delta) => {
    count += delta
    return count
  })
}

/** A stale marker may carry anything: it is not a distribution. */
function countProblem(h: NativeHistogram): string | undefined {
  if (h.stale) return undefined
  if (h.float) {
    const negative = [h.count, h.zeroCount, ...h.positive, ...h.negative].find((n) => n < 0)
    return negative === undefined ? undefined : `a count is ${negative}`
  }
  let total = h.zeroCount
  for (const side of [h.positive, h.negative])
    for (const n of side) {
      if (n < 0n) return `a bucket counts ${n}`
      total += n
    }
  // Observations of NaN are in no bucket.
  if (Number.isNaN(h.sum) ? total > h.count : total !== h.count)
    return `its buckets count ${total} observations, count is ${h.count}`
  return undefined
}

/** The message again. What is zero is left out, as by every encoder of proto3, but for the counts, which say of what kind they are. */
export function encodeHistogram(h: NativeHistogram): Uint8Array {
  const w = new Writer()
  const double = (field: number, value: number): void => {
    if (!Object.is(value, 0)) w.uint32(tag(field, FIXED64)).double(value)
  }
  if (h.float) w.uint32(tag(FIELD.countFloat, FIXED64)).double(h.count)
  else writeUint64(w.uint32(tag(FIELD.countInt, VARINT)), h.count)
  if (h.stale) w.uint32(tag(FIELD.sum, FIXED64)).fixed32(STALE_LOW).fixed32(STALE_HIGH)
  else double(FIELD.sum, h.sum)
  if (h.schema !== 0) w.uint32(tag(FIELD.schema, VARINT)).sint32(h.schema)
  double(FIELD.zeroThreshold, h.zeroThreshold)
  if (h.float) w.uint32(tag(FIELD.zeroCountFloat, FIXED64)).double(h.zeroCount)
  else writeUint64(w.uint32(tag(FIELD.zeroCountInt, VARINT)), h.zeroCount)
  writeSide(w, FIELD.negativeSpans, h.negativeSpans, h.negative)
  writeSide(w, FIELD.positiveSpans, h.positiveSpans, h.positive)
  if (h.resetHint !== 0) w.uint32(tag(FIELD.resetHint, VARINT)).uint32(h.resetHint)
  if (h.timestamp !== 0) w.uint32(tag(FIELD.timestamp, VARINT)).int64(h.timestamp)
  if (h.customValues.length > 0) writeDoubles(w, FIELD.customValues, h.customValues)
  if (h.startTimestamp !== 0) w.uint32(tag(FIELD.startTimestamp, VARINT)).int64(h.startTimestamp)
  return w.finish()
}

/** Spans, then deltas or counts: the two fields behind that of the spans. */
function writeSide(
  w: Writer,
  spansField: number,
  spans: readonly BucketSpan[],
  counts: readonly bigint[] | readonly number[],
): void {
  for (const { offset, length } of spans) {
    w.uint32(tag(spansField, LENGTH)).fork()
    if (offset !== 0) w.uint32(tag(1, VARINT)).sint32(offset)
    if (length !== 0) w.uint32(tag(2, VARINT)).uint32(length)
    w.ldelim()
  }
  if (counts.length === 0) return
  if (typeof counts[0] === 'number') {
    writeDoubles(w, spansField + 2, counts as readonly number[])
    return
  }
  w.uint32(tag(spansField + 1, LENGTH)).fork()
  let before = 0n
  for (const count of counts as readonly bigint[]) {
    const delta = BigInt.asIntN(64, count - before)
    before = count
    writeUint64(w, BigInt.asUintN(64, (delta << 1n) ^ (delta >> 63n)))
  }
  w.ldelim()
}

function writeDoubles(w: Writer, field: number, values: readonly number[]): void {
  w.uint32(tag(field, LENGTH)).fork()
  for (const value of values) w.double(value)
  w.ldelim()
}

function writeUint64(w: Writer, value: bigint): void {
  // protobufjs writes 64 bits from two words.
  w.uint64({ low: Number(value & 0xffffffffn) | 0, high: Number(value >> 32n) | 0, unsigned: true } as never)
}
