/**
 * Prometheus remote write 1.0: the message under the snappy block, read in one pass.
 *
 *     WriteRequest  timeseries = 1, metadata = 3 (see metadata.ts)
 *     TimeSeries    labels = 1, samples = 2, exemplars = 3 (exemplar.ts), histograms = 4 (native-histogram.ts)
 *     Label         name = 1, value = 2 (strings)
 *     Sample        value = 1 (double), timestamp = 2 (int64, ms)
 *
 * The reader makes no object and no string: a series is handed over as the bytes of its label fields, a value as the two
 * halves of its bits, since a stale marker is a NaN whose bits must survive.
 * @see https://prometheus.io/docs/specs/prw/remote_write_spec/
 */

import { utf8Decode } from './bytes.ts'
import type { Label } from './labels.ts'
import { isReaderError, Reader, Writer } from './protobuf.ts'
import { readInt64 } from './varint64.ts'
import { WireError } from './wire-error.ts'

/** High and low word of the NaN that marks the end of a series. */
export const STALE_HIGH = 0x7ff00000
export const STALE_LOW = 2

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
export const tag = (field: number, type: number): number => (field << 3) | type

const REQUEST_TIMESERIES = tag(1, LENGTH)
const REQUEST_METADATA = tag(3, LENGTH)
const SERIES_LABELS = tag(1, LENGTH)
const SERIES_SAMPLES = tag(2, LENGTH)
const SERIES_EXEMPLARS = tag(3, LENGTH)
const SERIES_HISTOGRAMS = tag(4, LENGTH)
const LABEL_NAME = tag(1, LENGTH)
const LABEL_VALUE = tag(2, LENGTH)
const SAMPLE_VALUE = tag(1, FIXED64)
const SAMPLE_TIMESTAMP = tag(2, VARINT)
const SAMPLE_START = tag(3, VARINT)

/** What takes the parts of a request of either version, in the order of the body. */
export interface PartsSink {
  /**
   * A sample of the current series.
   * @param timestamp ms since the epoch, any int64 (rounded beyond 2^53)
   * @param start since when its counter counts, ms since the epoch; 0: not said (1.0 never does)
   */
  sample(timestamp: number, valueLow: number, valueHigh: number, start: number): void
  /** A native histogram of the current series: its message is body[start..end). */
  histogram(body: Uint8Array, start: number, end: number): void
}

/** What takes a request's parts, in the order of the body. */
export interface WriteRequestSink extends PartsSink {
  /**
   * Asked at the start of each series: does the label block at `pos` begin with that of the series that usually follows?
   * @returns the length of that block when its bytes are equal, else 0; `series` comes next in both cases
   */
  expect(body: Uint8Array, pos: number, end: number): number
  /** The next series; `body[start..end)` are its label fields as sent, maybe the ones just expected. */
  series(body: Uint8Array, start: number, end: number): void
  /** The parts since the last `series` were given to one whose labels were not complete yet: forget them, they come again. */
  retract(): void
  /** An exemplar of the current series: its message is body[start..end). */
  exemplarMessage(body: Uint8Array, start: number, end: number): void
  /** Metadata of a metric family: the message is body[start..end). */
  metadataMessage(body: Uint8Array, start: number, end: number): void
}

/**
 * Reads a whole request. Unknown fields are skipped; the last of a repeated singular field wins.
 * @throws WireError `malformed` or `truncated`; the sink then holds a part of the body and must drop it
 */
export function readWriteRequest(body: Uint8Array, sink: WriteRequestSink): void {
  const reader = new Reader(body)
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  try {
    while (reader.pos < body.length) {
      const field = reader.tag()
      if (field === REQUEST_TIMESERIES) {
        const end = enter(reader, body.length)
        readSeries(reader, view, end, sink)
        reader.len = body.length
      } else if (field === REQUEST_METADATA) {
        const end = enter(reader, body.length)
        sink.metadataMessage(body, reader.pos, end)
        leave(reader, end, body.length)
      } else skipUnknown(reader, field, REQUEST_TIMESERIES)
    }
  } catch (error) {
    throw asWireError(error, reader)
  }
}

/** Starts a nested message: the reader cannot leave it. @returns its end */
export function enter(reader: Reader, outerEnd: number): number {
  const length = reader.size()
  const end = reader.pos + length
  if (end > outerEnd)
    throw new WireError(
      'truncated',
      `write request: a message at offset ${reader.pos} states ${length} bytes, ${outerEnd - reader.pos} are left`,
    )
  reader.len = end
  return end
}

/** Passes over what is left of a nested message. */
export function leave(reader: Reader, end: number, outerEnd: number): void {
  reader.pos = end
  reader.len = outerEnd
}

function readSeries(reader: Reader, view: DataView, end: number, sink: WriteRequestSink): void {
  const body = reader.buf
  const start = reader.pos
  const known = sink.expect(body, start, end)
  reader.pos = start + known
  while (reader.pos < end && body[reader.pos] === SERIES_LABELS) {
    reader.pos++
    reader.skip(reader.size())
  }
  sink.series(body, start, reader.pos)
  while (reader.pos < end) {
    const field = reader.tag()
    if (field === SERIES_SAMPLES) readSample(reader, view, end, sink)
    else if (field === SERIES_LABELS) {
      // Labels behind other fields: legal, never seen from a real sender. Read the series again with all of them in front.
      sink.retract()
      readReordered(body.subarray(start, end), sink)
      reader.pos = end
      return
    } else if (field === SERIES_EXEMPLARS || field === SERIES_HISTOGRAMS) {
      const partEnd = enter(reader, end)
      if (field === SERIES_EXEMPLARS) sink.exemplarMessage(body, reader.pos, partEnd)
      else sink.histogram(body, reader.pos, partEnd)
      leave(reader, partEnd, end)
    } else skipUnknown(reader, field, SERIES_LABELS, SERIES_SAMPLES, SERIES_EXEMPLARS, SERIES_HISTOGRAMS)
  }
}

/** A sample message of either version: 1.0 has no start, and skips that field as unknown. */
export function readSample(
  reader: Reader,
  view: DataView,
  seriesEnd: number,
  sink: PartsSink,
  withStart = false,
): void {
  const end = enter(reader, seriesEnd)
  let low = 0
  let high = 0
  let timestamp = 0
  let start = 0
  while (reader.pos < end) {
    const field = reader.tag()
    if (field === SAMPLE_VALUE) {
      const at = reader.pos
      reader.skip(8)
      low = view.getUint32(at, true)
      high = view.getUint32(at + 4, true)
    } else if (field === SAMPLE_TIMESTAMP) timestamp = readInt64(reader)
    else if (withStart && field === SAMPLE_START) start = readInt64(reader)
    else skipUnknown(reader, field, SAMPLE_VALUE, SAMPLE_TIMESTAMP)
  }
  reader.len = seriesEnd
  sink.sample(timestamp, low, high, start)
}

/** Copies a series with its label fields in front and reads that. */
function readReordered(series: Uint8Array, sink: WriteRequestSink): void {
  const ordered = new Uint8Array(series.length)
  const labels = copyFields(series, (field) => field === SERIES_LABELS, ordered, 0)
  copyFields(series, (field) => field !== SERIES_LABELS, ordered, labels)
  readSeries(new Reader(ordered), new DataView(ordered.buffer), ordered.length, sink)
}

/** Copies the fields that are wanted, one after the other. @returns where they end */
function copyFields(from: Uint8Array, wanted: (field: number) => boolean, into: Uint8Array, at: number): number {
  const reader = new Reader(from)
  let end = at
  while (reader.pos < from.length) {
    const start = reader.pos
    const field = reader.tag()
    reader.skipType(field & 7, 0, field >>> 3)
    if (!wanted(field)) continue
    into.set(from.subarray(start, reader.pos), end)
    end += reader.pos - start
  }
  return end
}

/** Skips a field that we do not know; a known field number under another wire type is an error, as in every decoder. */
export function skipUnknown(reader: Reader, field: number, ...known: number[]): void {
  for (const expected of known) {
    if (field >>> 3 === expected >>> 3)
      throw new WireError(
        'malformed',
        `write request: field ${field >>> 3} at offset ${reader.pos} has wire type ${field & 7}`,
      )
  }
  reader.skipType(field & 7, 0, field >>> 3)
}

/**
 * What was thrown while reading, as the sender's mistake.
 * @throws what it is given where the bytes are not to blame: that is a bug, and no sender may be told that its body is bad
 */
export function asWireError(error: unknown, reader: Reader): WireError {
  if (error instanceof WireError) return error
  if (!isReaderError(error)) throw error
  return new WireError(
    error instanceof RangeError ? 'truncated' : 'malformed',
    `write request at offset ${reader.pos}: ${error.message}`,
  )
}

/**
 * The labels in a series' raw label fields, in the order sent.
 * @throws WireError when they are not label messages or not valid UTF-8; `too_large` when there are more than `max`
 */
export function readLabels(
  body: Uint8Array,
  start: number,
  end: number,
  max: number = Number.POSITIVE_INFINITY,
): Label[] {
  const reader = new Reader(body)
  const labels: Label[] = []
  try {
    reader.pos = start
    while (reader.pos < end) {
      reader.len = end
      reader.tag() // SERIES_LABELS: the caller cut the block by it
      const labelEnd = enter(reader, end)
      let name = ''
      let value = ''
      while (reader.pos < labelEnd) {
        const field = reader.tag()
        if (field === LABEL_NAME) name = readString(reader)
        else if (field === LABEL_VALUE) value = readString(reader)
        else skipUnknown(reader, field, LABEL_NAME, LABEL_VALUE)
      }
      if (labels.length >= max) throw new WireError('too_large', `write request: a series has more than ${max} labels`)
      labels.push([name, value])
    }
    return labels
  } catch (error) {
    throw asWireError(error, reader)
  }
}

function readString(reader: Reader): string {
  const length = reader.size()
  const at = reader.pos
  reader.skip(length)
  return utf8Decode(reader.buf.subarray(at, at + length))
}

export interface SampleToWrite {
  readonly timestamp: number
  readonly value: number
}

/** One series to send. Labels include `__name__` and are sorted by name, as the specification asks of senders. */
export interface SeriesToWrite {
  readonly labels: readonly Label[]
  readonly samples: readonly SampleToWrite[]
  /** Messages, encoded. */
  readonly exemplars?: readonly Uint8Array[]
  readonly histograms?: readonly Uint8Array[]
}

/** Encodes a request body (before snappy). @param metadata messages, encoded */
export function encodeWriteRequest(series: Iterable<SeriesToWrite>, metadata: Iterable<Uint8Array> = []): Uint8Array {
  const writer = new Writer() // Writer.create() would give a Buffer in Node, whose slice() is no copy
  for (const one of series) {
    writer.uint32(REQUEST_TIMESERIES).fork()
    writeSeries(writer, one)
    writer.ldelim()
  }
  for (const message of metadata) writer.uint32(REQUEST_METADATA).bytes(message)
  return writer.finish()
}

/** The fields of a `TimeSeries`. */
export function writeSeries(writer: Writer, { labels, samples, exemplars, histograms }: SeriesToWrite): void {
  for (const [name, value] of labels) {
    writer.uint32(SERIES_LABELS).fork()
    writer.uint32(LABEL_NAME).string(name)
    if (value !== '') writer.uint32(LABEL_VALUE).string(value)
    writer.ldelim()
  }
  for (const { timestamp, value } of samples) {
    writer.uint32(SERIES_SAMPLES).fork()
    if (!Object.is(value, 0)) writer.uint32(SAMPLE_VALUE).double(value)
    if (timestamp !== 0) writer.uint32(SAMPLE_TIMESTAMP).int64(timestamp)
    writer.ldelim()
  }
  for (const message of exemplars ?? []) writer.uint32(SERIES_EXEMPLARS).bytes(message)
  for (const message of histograms ?? []) writer.uint32(SERIES_HISTOGRAMS).bytes(message)
}

/** A sample of a `TimeSeries`, by the bits of its value. @param start the field that 2.0 has; 0: not said */
export function writeSampleBits(writer: Writer, timestamp: number, low: number, high: number, start: number): void {
  writer.uint32(SERIES_SAMPLES).fork()
  if (low !== 0 || high !== 0) writer.uint32(SAMPLE_VALUE).fixed32(low).fixed32(high)
  if (timestamp !== 0) writer.uint32(SAMPLE_TIMESTAMP).int64(timestamp)
  if (start !== 0) writer.uint32(SAMPLE_START).int64(start)
  writer.ldelim()
}
