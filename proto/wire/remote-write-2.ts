/**
 * Prometheus remote write 2.0: `io.prometheus.write.v2.Request`, the message under the snappy block.
 *
 *     Request     symbols = 4 (strings), timeseries = 5
 *     TimeSeries  labels_refs = 1 (uint32, packed or not), samples = 2, histograms = 3, exemplars = 4, metadata = 5
 *     Sample      value = 1 (double), timestamp = 2 (int64, ms), start_timestamp = 3
 *     Exemplar    labels_refs = 1, value = 2, timestamp = 3
 *     Metadata    type = 1, help_ref = 3, unit_ref = 4
 *
 * Labels are pairs of numbers of the request's own symbols. A series is handed over as the label fields that 1.0 would send:
 * one series has one key, whichever way it comes. Fields may come in any order, so symbols are looked for first, and in each
 * series the labels.
 * @see https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
 */
import { utf8Decode } from './bytes.ts'
import type { Exemplar } from './exemplar.ts'
import type { Label } from './labels.ts'
import { sortLabels } from './labels.ts'
import { Reader } from './protobuf.ts'
import type { PartsSink } from './remote-write.ts'
import { asWireError, enter, leave, readSample, skipUnknown, tag } from './remote-write.ts'
import { readInt64 } from './varint64.ts'
import { WireError } from './wire-error.ts'

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const REQUEST_SYMBOLS = tag(4, LENGTH)
const REQUEST_TIMESERIES = tag(5, LENGTH)
const SERIES_LABELS_PACKED = tag(1, LENGTH)
const SERIES_LABELS = tag(1, VARINT)
const SERIES_SAMPLES = tag(2, LENGTH)
const SERIES_HISTOGRAMS = tag(3, LENGTH)
const SERIES_EXEMPLARS = tag(4, LENGTH)
const SERIES_METADATA = tag(5, LENGTH)
const EXEMPLAR_VALUE = tag(2, FIXED64)
const EXEMPLAR_TIMESTAMP = tag(3, VARINT)
const METADATA_TYPE = tag(1, VARINT)
const METADATA_HELP = tag(3, VARINT)
const METADATA_UNIT = tag(4, VARINT)
const LABEL_FIELD = tag(1, LENGTH)
const NAME_FIELD = tag(1, LENGTH)
const VALUE_FIELD = tag(2, LENGTH)

const KNOWN = [SERIES_LABELS, SERIES_SAMPLES, SERIES_HISTOGRAMS, SERIES_EXEMPLARS, SERIES_METADATA]
/** A body of 128 MiB may hold 64 million empty symbols; no sender needs them, and each costs memory here. */
const SYMBOLS_MAX = 4_000_000
const REFS_MAX = 100_000
const EXEMPLAR_LABELS_MAX = 64

/** What takes a request's parts, in the order of the body. */
export interface Request2Sink extends PartsSink {
  /** The next series; `labels[0..end)` are its label fields as 1.0 writes them, in the order sent. */
  series(labels: Uint8Array, start: number, end: number): void
  /** The next series, whose references lead nowhere or are no pairs. Its parts follow. */
  unreadableSeries(): void
  /** An exemplar of the current series; undefined when its references lead nowhere, are no pairs, or its labels are not UTF-8. */
  exemplar(exemplar: Exemplar | undefined): void
  /** What the current series' metric is. Texts are ranges of the body; undefined when a reference leads nowhere. */
  seriesMetadata(metadata: MetadataRanges | undefined): void
}

/** The texts of metadata, where they stand in the body. The object is used again for the next one. */
export interface MetadataRanges {
  body: Uint8Array
  type: number
  helpAt: number
  helpLength: number
  unitAt: number
  unitLength: number
}

/**
 * Reads a whole request. Unknown fields are skipped.
 * @param labelBytesMax most bytes that the labels of all series may have together once written out: a few references can stand
 *   for very much text
 * @throws WireError `malformed`, `truncated` or `too_large`; the sink then holds a part of the body and must drop it
 */
export function readRequest2(body: Uint8Array, sink: Request2Sink, labelBytesMax: number): void {
  const reader = new Reader(body)
  try {
    new RequestReader(body, sink, labelBytesMax).read(reader)
  } catch (error) {
    throw asWireError(error, reader)
  }
}

class RequestReader {
  readonly #body: Uint8Array
  readonly #view: DataView
  readonly #sink: Request2Sink
  #labelBytesLeft: number
  #symbols = 0
  #starts = new Int32Array(1024)
  #lengths = new Int32Array(1024)
  #refs = new Int32Array(64)
  #refCount = 0
  #block = new Uint8Array(1024)
  readonly #metadata: MetadataRanges

  constructor(body: Uint8Array, sink: Request2Sink, labelBytesMax: number) {
    this.#body = body
    this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    this.#sink = sink
    this.#labelBytesLeft = labelBytesMax
    this.#metadata = { body, type: 0, helpAt: 0, helpLength: 0, unitAt: 0, unitLength: 0 }
  }

  read(reader: Reader): void {
    const { length } = this.#body
    while (reader.pos < length) {
      const field = reader.tag()
      if (field === REQUEST_SYMBOLS) this.#symbol(reader)
      else if (field === REQUEST_TIMESERIES) reader.skip(reader.size())
      else skipUnknown(reader, field, REQUEST_SYMBOLS, REQUEST_TIMESERIES)
    }
    reader.pos = 0
    while (reader.pos < length) {
      const field = reader.tag()
      if (field === REQUEST_TIMESERIES) {
        const end = enter(reader, length)
        this.#series(reader, end)
        reader.len = length
      } else skipUnknown(reader, field)
    }
  }

  #symbol(reader: Reader): void {
    const size = reader.size()
    const at = reader.pos
    reader.skip(size)
    if (this.#symbols === SYMBOLS_MAX)
      throw new WireError('too_large', `write request: more than ${SYMBOLS_MAX} symbols`)
    if (this.#symbols === this.#starts.length) {
      this.#starts = doubled(this.#starts)
      this.#lengths = doubled(this.#lengths)
    }
    this.#starts[this.#symbols] = at
    this.#lengths[this.#symbols++] = size
  }

  #series(reader: Reader, end: number): void {
    const start = reader.pos
    this.#refCount = 0
    while (reader.pos < end) {
      const field = reader.tag()
      if (field === SERIES_LABELS) this.#ref(reader.uint32())
      else if (field === SERIES_LABELS_PACKED) {
        const packedEnd = enter(reader, end)
        while (reader.pos < packedEnd) this.#ref(reader.uint32())
        reader.len = end
      } else reader.skipType(field & 7, 0, field >>> 3)
    }
    reader.pos = start
    const blockEnd = this.#labelFields()
    if (blockEnd < 0) this.#sink.unreadableSeries()
    else this.#sink.series(this.#block, 0, blockEnd)
    while (reader.pos < end) {
      const field = reader.tag()
      if (field === SERIES_SAMPLES) readSample(reader, this.#view, end, this.#sink, true)
      else if (field === SERIES_LABELS || field === SERIES_LABELS_PACKED) reader.skipType(field & 7, 0, field >>> 3)
      else if (field === SERIES_HISTOGRAMS || field === SERIES_EXEMPLARS || field === SERIES_METADATA) {
        const partEnd = enter(reader, end)
        if (field === SERIES_METADATA) this.#seriesMetadata(reader, partEnd)
        else if (field === SERIES_EXEMPLARS) this.#exemplar(reader, partEnd)
        else this.#sink.histogram(this.#body, reader.pos, partEnd)
        leave(reader, partEnd, end)
      } else skipUnknown(reader, field, ...KNOWN)
    }
  }

  #exemplar(reader: Reader, end: number): void {
    let value = 0
    let timestamp = 0
    this.#refCount = 0
    while (reader.pos < end) {
      const field = reader.tag()
      if (field === SERIES_LABELS) this.#ref(reader.uint32())
      else if (field === SERIES_LABELS_PACKED) {
        const packedEnd = enter(reader, end)
        while (reader.pos < packedEnd) this.#ref(reader.uint32())
        reader.len = end
      } else if (field === EXEMPLAR_VALUE) value = reader.double()
      else if (field === EXEMPLAR_TIMESTAMP) timestamp = readInt64(reader)
      else skipUnknown(reader, field, SERIES_LABELS, EXEMPLAR_VALUE, EXEMPLAR_TIMESTAMP)
    }
    const labels = this.#exemplarLabels()
    this.#sink.exemplar(labels === undefined ? undefined : { labels, value, timestamp })
  }

  #exemplarLabels(): Label[] | undefined {
    const count = this.#refCount
    if (count % 2 !== 0 || count > 2 * EXEMPLAR_LABELS_MAX) return undefined
    const labels: Label[] = []
    for (let i = 0; i < count; i += 2) {
      const name = this.#text(this.#refs[i]!)
      const value = this.#text(this.#refs[i + 1]!)
      if (name === undefined || value === undefined) return undefined
      labels.push([name, value])
    }
    return sortLabels(labels)
  }

  #text(ref: number): string | undefined {
    if (ref < 0 || ref >= this.#symbols) return undefined
    const at = this.#starts[ref]!
    const length = this.#lengths[ref]!
    this.#labelBytesLeft -= length
    if (this.#labelBytesLeft < 0) throw tooMuchText()
    try {
      return utf8Decode(this.#body.subarray(at, at + length))
    } catch (error) {
      if (error instanceof WireError) return undefined
      throw error
    }
  }

  #seriesMetadata(reader: Reader, end: number): void {
    let type = 0
    let help = 0
    let unit = 0
    while (reader.pos < end) {
      const field = reader.tag()
      if (field === METADATA_TYPE) type = reader.uint32()
      else if (field === METADATA_HELP) help = reader.uint32()
      else if (field === METADATA_UNIT) unit = reader.uint32()
      else skipUnknown(reader, field, METADATA_TYPE, METADATA_HELP, METADATA_UNIT)
    }
    if (type === 0 && help === 0 && unit === 0) return // says nothing, and Prometheus says it with every series
    // A reference of 0 is the empty text, also where a sender has no symbols at all.
    if ((help !== 0 && help >= this.#symbols) || (unit !== 0 && unit >= this.#symbols)) {
      this.#sink.seriesMetadata(undefined)
      return
    }
    const ranges = this.#metadata
    ranges.type = type
    ranges.helpAt = help === 0 ? 0 : this.#starts[help]!
    ranges.helpLength = help === 0 ? 0 : this.#lengths[help]!
    ranges.unitAt = unit === 0 ? 0 : this.#starts[unit]!
    ranges.unitLength = unit === 0 ? 0 : this.#lengths[unit]!
    // One long text for many series is as much text as they are series.
    this.#labelBytesLeft -= ranges.helpLength + ranges.unitLength
    if (this.#labelBytesLeft < 0) throw tooMuchText()
    this.#sink.seriesMetadata(ranges)
  }

  #ref(ref: number): void {
    if (this.#refCount === REFS_MAX)
      throw new WireError('too_large', `write request: a series has more than ${REFS_MAX} label references`)
    if (this.#refCount === this.#refs.length) this.#refs = doubled(this.#refs)
    this.#refs[this.#refCount++] = ref
  }

  /** Writes the label fields of the references in hand. @returns their end; -1 when they lead nowhere or are no pairs */
  #labelFields(): number {
    const count = this.#refCount
    if (count % 2 !== 0) return -1
    let size = 0
    for (let i = 0; i < count; i++) {
      const ref = this.#refs[i]!
      if (ref < 0 || ref >= this.#symbols) return -1
      size += this.#lengths[ref]! + 12 // two heads of at most 6 bytes for a pair's field and the string's own
    }
    this.#labelBytesLeft -= size
    if (this.#labelBytesLeft < 0) throw tooMuchText()
    if (size > this.#block.length) this.#block = new Uint8Array(2 * size)
    let at = 0
    for (let i = 0; i < count; i += 2) {
      const name = this.#refs[i]!
      const value = this.#refs[i + 1]!
      this.#block[at++] = LABEL_FIELD
      at = writeVarint(this.#block, at, fieldSize(this.#lengths[name]!) + fieldSize(this.#lengths[value]!))
      at = this.#copy(at, NAME_FIELD, name)
      at = this.#copy(at, VALUE_FIELD, value)
    }
    return at
  }

  /** An empty string is left out, as by every encoder of proto3. */
  #copy(start: number, field: number, symbol: number): number {
    const length = this.#lengths[symbol]!
    if (length === 0) return start
    this.#block[start] = field
    const at = writeVarint(this.#block, start + 1, length)
    const from = this.#starts[symbol]!
    for (let i = 0; i < length; i++) this.#block[at + i] = this.#body[from + i]! // most are too short for a call to pay
    return at + length
  }
}

function tooMuchText(): WireError {
  return new WireError('too_large', 'write request: its labels are too large once written out')
}

function fieldSize(length: number): number {
  return length === 0 ? 0 : 1 + varintSize(length) + length
}

function varintSize(n: number): number {
  let size = 1
  for (let rest = n; rest > 127; rest >>>= 7) size++
  return size
}

function writeVarint(into: Uint8Array, at: number, n: number): number {
  let pos = at
  let rest = n
  for (; rest > 127; rest >>>= 7) into[pos++] = (rest & 127) | 128
  into[pos++] = rest
  return pos
}

function doubled(from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const into = new Int32Array(from.length * 2)
  into.set(from)
  return into
}
