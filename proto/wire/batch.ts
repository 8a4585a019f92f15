/**
 * The batch: what a collector sends to an aggregator, over HTTP or Kafka. Version 2; version 1 is read too.
 *
 *     batch    = "FMB" version:u8 section*
 *     section  = kind:u8 length:u32 crc32c(payload):u32 payload
 *     header   (kind 1, first)  where the samples come from; see BatchHeader
 *     series   (kind 2)         definitions: ref:varint tenant:string id:16 bytes name:string n:varint (name value)*
 *     samples  (kind 3)         n:varint, then five columns, each length:varint and bytes
 *     extras, starts (kinds 4 and 5, where there are any)  histograms, exemplars, metadata; starts of counters: batch-extras.ts
 *
 * A series is described once in a session and referred to by number afterwards; a receiver that does not know a number asks,
 * and gets the same batch again with a series section in front: sections are independent for that.
 *
 * The columns, for n samples in the order of arrival. Together about three bytes a sample for DCGM-like figures:
 *
 *     refs      runs: varint(len × 2) = the next len refs each follow the one before; varint(zigzag(delta) × 2 + 1) = one jump
 *     times     runs: zigzag(change against the run before, ms), varint(length)
 *     arrivals  runs: zigzag(change against the run before, µs), varint(length)
 *     exponents four bits a sample, low half first: 0-9, or 15 = the value is a float64
 *     values    zigzag(mantissa), or 8 bytes little-endian under exponent 15
 */
import type { Extra, StartMark } from './batch-extras.ts'
import { ExtrasBuilder, readExtras, readStarts } from './batch-extras.ts'
import { ByteReader, ByteWriter, putZigzag } from './bytes.ts'
import { crc32c } from './crc32c.ts'
import { decimalExponent, decimalMantissa, mantissaUnder, RAW_FLOAT } from './decimal.ts'
import type { Label, SeriesId } from './labels.ts'
import { WireError } from './wire-error.ts'

/** A receiver refuses newer ones with 426, and the collector waits. */
export const BATCH_VERSION = 2
/** Version 1 had no extras and no starts. */
const BATCH_VERSION_OLDEST = 1
export const BATCH_CONTENT_TYPE = 'application/vnd.fleetmeter.batch'

const MAGIC: readonly number[] = [0x46, 0x4d, 0x42] // "FMB"
const HEADER = 1
const SERIES = 2
const SAMPLES = 3
const EXTRAS = 4
const STARTS = 5
const SECTION_HEAD = 9
const RAW_NIBBLE = 15
const TWO_32 = 4294967296
/** Room is made for the values of so many samples at once. */
const RUN_MAX = 4096
const VALUE_BYTES_MAX = 8

/** Most samples in one batch. Batches are cut between bodies, and a body holds fewer. */
export const BATCH_SAMPLES_MAX = 4_000_000

/** Where the samples of a batch come from. Positions count a journal's accepted samples. */
export interface BatchHeader {
  /** Id of the collector, kept in its directory. */
  readonly collector: string
  /** Random, new at every start of the collector: the scope of series references. */
  readonly session: string
  /** Journal that the range belongs to, and how many there are. */
  readonly shard: number
  readonly shards: number
  /** The batch holds the samples (from, to] of the journal. */
  readonly from: number
  readonly to: number
  /** Everything up to here was stored when the batch was sent. */
  readonly cursor: number
  /** Everything that arrived before this time (ms since the epoch) is in this batch or an earlier one. */
  readonly now: number
  /** The collector is stopping and waits: store at once. */
  readonly urgent: boolean
}

/** Says what a reference stands for. */
export interface SeriesDefinition {
  readonly ref: number
  readonly tenant: string
  readonly id: SeriesId
  readonly name: string
  /** In canonical order, without `__name__`. */
  readonly labels: readonly Label[]
}

/** Samples in columns, one element each. */
export interface SampleColumns {
  readonly count: number
  readonly refs: Uint32Array
  /** Sample times, ms since the epoch. */
  readonly times: Float64Array
  /** Arrival times, µs since the epoch; the last three digits name the writer. The larger wins. */
  readonly arrivals: Float64Array
  /** 0-9, or {@link RAW_FLOAT}. */
  readonly exponents: Uint8Array
  /** Two words a sample, low first: an Int64 mantissa, or the bits of a float64 under {@link RAW_FLOAT}. */
  readonly words: Uint32Array
  /** All that the columns lie in, so that it can be given back in one piece. */
  readonly memory: Uint8Array
}

/** A decoded batch. */
export interface Batch {
  readonly header: BatchHeader
  readonly definitions: readonly SeriesDefinition[]
  readonly samples: SampleColumns
  readonly extras: readonly Extra[]
  readonly starts: readonly StartMark[]
}

/** One whose definitions are read, once, as they are asked for. */
export interface OpenBatch extends Omit<Batch, 'definitions'> {
  readonly definitions: Iterable<SeriesDefinition>
}

/** What is to go into a batch, by sample; refs and exponents by series. */
export interface SamplesToSend {
  readonly series: Int32Array
  readonly refs: Uint32Array
  /** That fitted the last value of a series; then those that fit its values here. */
  readonly exponents: Uint8Array
  readonly times: Float64Array
  readonly values: Float64Array
  /** The values' bits, two words each. */
  readonly words: Uint32Array
}

/** Collects samples as they come and writes the columns directly; nothing is kept per sample. */
export class BatchBuilder {
  /** What is not a sample. */
  readonly extras: ExtrasBuilder = new ExtrasBuilder()
  #count = 0
  #definitions = 0
  readonly #series = new ByteWriter(1024)
  readonly #refs = new ByteWriter(1024)
  readonly #times = new ByteWriter(1024)
  readonly #arrivals = new ByteWriter(256)
  readonly #exponents = new ByteWriter(4096)
  readonly #values = new ByteWriter(16384)
  #lastRef = 0
  #refRun = 0
  #time = 0
  #lastTime = 0
  #timeRun = 0
  #arrival = 0
  #lastArrival = 0
  #arrivalRun = 0
  #nibble = 0

  get count(): number {
    return this.#count
  }

  /** Bytes so far, without the few of the header. */
  get bytes(): number {
    return (
      this.#series.pos +
      this.#refs.pos +
      this.#times.pos +
      this.#arrivals.pos +
      this.#exponents.pos +
      this.#values.pos +
      this.extras.bytes
    )
  }

  define(definition: SeriesDefinition): void {
    this.#definitions++
    writeDefinition(this.#series, definition)
  }

  /** A definition whose texts are UTF-8 already. @param labels `count` of them, as `encodeLabels` writes them */
  defineEncoded(ref: number, tenant: string, id: SeriesId, name: Uint8Array, count: number, labels: Uint8Array): void {
    const out = this.#series
    this.#definitions++
    out.varint(ref)
    out.string(tenant)
    out.bytes(id)
    out.block(name)
    out.varint(count)
    out.bytes(labels)
  }

  /** A sample whose value is mantissa / 10^exponent. */
  decimal(ref: number, time: number, arrival: number, exponent: number, mantissa: number): void {
    this.#place(ref, time, arrival, exponent)
    this.#values.zigzag(mantissa)
  }

  /** A sample whose value is these 64 bits. */
  float(ref: number, time: number, arrival: number, low: number, high: number): void {
    this.#place(ref, time, arrival, RAW_NIBBLE)
    this.#values.u32(low)
    this.#values.u32(high)
  }

  /** Samples [start, end) of columns, which have one arrival: as `decimal` or `float` of each. */
  samples(columns: SamplesToSend, start: number, end: number, arrival: number): void {
    if (this.#arrivalRun === 0 || arrival !== this.#arrival) {
      this.#endArrivalRun()
      this.#arrival = arrival
    }
    this.#arrivalRun += end - start
    this.#putRefs(columns, start, end)
    this.#putTimes(columns, start, end)
    for (let from = start; from < end; from += RUN_MAX) this.#putValues(columns, from, Math.min(end, from + RUN_MAX))
  }

  #putRefs({ series, refs }: SamplesToSend, start: number, end: number): void {
    let last = this.#lastRef
    let run = this.#refRun
    for (let i = start; i < end; i++) {
      const ref = refs[series[i]!]!
      if (ref === last + 1) run++
      else {
        this.#refRun = run
        this.#jump(ref - last)
        run = 0
      }
      last = ref
    }
    this.#lastRef = last
    this.#refRun = run
  }

  #putTimes({ times }: SamplesToSend, start: number, end: number): void {
    for (let i = start; i < end; ) {
      const time = times[i]!
      let next = i + 1
      while (next < end && times[next] === time) next++
      if (this.#timeRun === 0 || time !== this.#time) {
        this.#endTimeRun()
        this.#time = time
      }
      this.#timeRun += next - i
      i = next
    }
  }

  #putValues({ series, exponents, values, words }: SamplesToSend, start: number, end: number): void {
    const out = this.#values
    out.reserve(VALUE_BYTES_MAX * (end - start))
    this.#exponents.reserve(end - start)
    const { buf } = out
    let { pos } = out
    for (let i = start; i < end; i++) {
      const s = series[i]!
      const value = values[i]!
      let exponent = exponents[s]!
      let mantissa = mantissaUnder(value, exponent)
      if (Number.isNaN(mantissa)) {
        exponent = decimalExponent(value, exponent)
        if (exponent === RAW_FLOAT) {
          this.#putExponent(RAW_NIBBLE)
          out.pos = pos
          out.u32(words[2 * i]!)
          out.u32(words[2 * i + 1]!)
          pos = out.pos
          continue
        }
        exponents[s] = exponent
        mantissa = decimalMantissa(value, exponent)
      }
      this.#putExponent(exponent)
      pos = putZigzag(buf, pos, mantissa)
    }
    out.pos = pos
  }

  #putExponent(nibble: number): void {
    if (this.#count % 2 === 0) this.#nibble = nibble
    else this.#exponents.u8(this.#nibble | (nibble << 4))
    this.#count++
  }

  #place(ref: number, time: number, arrival: number, nibble: number): void {
    if (ref === this.#lastRef + 1) this.#refRun++
    else this.#jump(ref - this.#lastRef)
    this.#lastRef = ref
    if (this.#timeRun > 0 && time === this.#time) this.#timeRun++
    else {
      this.#endTimeRun()
      this.#time = time
      this.#timeRun = 1
    }
    if (this.#arrivalRun > 0 && arrival === this.#arrival) this.#arrivalRun++
    else {
      this.#endArrivalRun()
      this.#arrival = arrival
      this.#arrivalRun = 1
    }
    this.#putExponent(nibble)
  }

  #jump(delta: number): void {
    this.#endRefRun()
    this.#refs.varint((delta >= 0 ? delta * 2 : -delta * 2 - 1) * 2 + 1)
  }

  #endRefRun(): void {
    if (this.#refRun > 0) this.#refs.varint(this.#refRun * 2)
    this.#refRun = 0
  }

  #endTimeRun(): void {
    if (this.#timeRun === 0) return
    this.#times.zigzag(this.#time - this.#lastTime)
    this.#times.varint(this.#timeRun)
    this.#lastTime = this.#time
    this.#timeRun = 0
  }

  #endArrivalRun(): void {
    if (this.#arrivalRun === 0) return
    this.#arrivals.zigzag(this.#arrival - this.#lastArrival)
    this.#arrivals.varint(this.#arrivalRun)
    this.#lastArrival = this.#arrival
    this.#arrivalRun = 0
  }

  /** The batch as bytes; the builder is empty afterwards and keeps its buffers. */
  finish(header: BatchHeader): Uint8Array<ArrayBuffer> {
    this.#endRefRun()
    this.#endTimeRun()
    this.#endArrivalRun()
    if (this.#count % 2 === 1) this.#exponents.u8(this.#nibble)
    const out = new ByteWriter(this.bytes + 512)
    writePreamble(out)
    section(out, HEADER, () => writeHeader(out, header))
    if (this.#definitions > 0) section(out, SERIES, () => out.bytes(this.#series.view()))
    section(out, SAMPLES, () => {
      out.varint(this.#count)
      for (const column of [this.#refs, this.#times, this.#arrivals, this.#exponents, this.#values])
        out.block(column.view())
    })
    if (this.extras.count > 0) section(out, EXTRAS, () => this.extras.writeExtras(out))
    if (this.extras.hasStarts) section(out, STARTS, () => this.extras.writeStarts(out))
    this.clear()
    return out.take()
  }

  clear(): void {
    for (const column of [this.#series, this.#refs, this.#times, this.#arrivals, this.#exponents, this.#values])
      column.pos = 0
    this.extras.clear()
    this.#count = 0
    this.#definitions = 0
    this.#lastRef = 0
    this.#refRun = 0
    this.#lastTime = 0
    this.#timeRun = 0
    this.#lastArrival = 0
    this.#arrivalRun = 0
  }
}

/** Definitions as a section of their own, to be put into a batch that lacks them. */
export function encodeDefinitions(definitions: readonly SeriesDefinition[]): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(64 * definitions.length + 64)
  section(out, SERIES, () => {
    for (const definition of definitions) writeDefinition(out, definition)
  })
  return out.take()
}

/** A batch again, with a section of {@link encodeDefinitions} in front of its samples. */
export function withSection(batch: Uint8Array, definitions: Uint8Array): Uint8Array<ArrayBuffer> {
  const reader = new ByteReader(batch)
  readPreamble(reader)
  readSection(reader)
  const out = new Uint8Array(batch.length + definitions.length)
  out.set(batch.subarray(0, reader.pos))
  out.set(definitions, reader.pos)
  out.set(batch.subarray(reader.pos), reader.pos + definitions.length)
  return out
}

function writePreamble(out: ByteWriter): void {
  for (const byte of MAGIC) out.u8(byte)
  out.u8(BATCH_VERSION)
}

function section(out: ByteWriter, kind: number, write: () => void): void {
  out.u8(kind)
  const at = out.pos
  out.u32(0)
  out.u32(0)
  const start = out.pos
  write()
  out.patchU32(at, out.pos - start)
  out.patchU32(at + 4, crc32c(out.buf, start, out.pos))
}

function writeHeader(out: ByteWriter, h: BatchHeader): void {
  out.string(h.collector)
  out.string(h.session)
  out.varint(h.shard)
  out.varint(h.shards)
  out.varint(h.from)
  out.varint(h.to)
  out.varint(h.cursor)
  out.varint(h.now)
  out.u8(h.urgent ? 1 : 0)
}

function writeDefinition(out: ByteWriter, d: SeriesDefinition): void {
  out.varint(d.ref)
  out.string(d.tenant)
  out.bytes(d.id)
  out.string(d.name)
  out.varint(d.labels.length)
  for (const [name, value] of d.labels) {
    out.string(name)
    out.string(value)
  }
}

/**
 * Decodes a batch.
 * @throws WireError `unsupported` for a newer version, `checksum` for bytes changed on the way, `malformed`, `truncated`
 *   or `too_large` for bytes that no collector of this version writes
 */
export function decodeBatch(bytes: Uint8Array): Batch {
  const { definitions, ...batch } = openBatch(bytes)
  return { ...batch, definitions: [...definitions] }
}

/**
 * The same, but for the definitions, which are read as they are asked for: there may be tens of thousands, a few µs each.
 * @throws WireError also while they are read
 */
export function openBatch(bytes: Uint8Array): OpenBatch {
  const reader = new ByteReader(bytes)
  readPreamble(reader)
  let header: BatchHeader | undefined
  let samples: SampleColumns | undefined
  let extras: Extra[] = []
  let starts: StartMark[] = []
  const series: ByteReader[] = []
  while (reader.left > 0) {
    const { kind, payload } = readSection(reader)
    if (kind === HEADER) header = readHeader(payload)
    else if (kind === SERIES) series.push(payload)
    else if (kind === SAMPLES) samples = readSamples(payload)
    else if (kind === EXTRAS) extras = readExtras(payload)
    else if (kind === STARTS) starts = readStarts(payload)
    else throw new WireError('malformed', `batch: section kind ${kind} is not known in version ${BATCH_VERSION}`)
  }
  if (header === undefined || samples === undefined)
    throw new WireError('truncated', 'batch: the header or the samples are missing')
  return { header, definitions: readDefinitions(series), samples, extras, starts }
}

function readPreamble(reader: ByteReader): void {
  const magic = reader.bytes(3)
  if (magic.some((byte, i) => byte !== MAGIC[i]))
    throw new WireError('malformed', 'batch: the bytes do not begin with "FMB"')
  const version = reader.u8()
  if (version > BATCH_VERSION || version < BATCH_VERSION_OLDEST) {
    throw new WireError(
      'unsupported',
      `batch: format version ${version} is not known here, ${BATCH_VERSION} is: upgrade the receiver first`,
    )
  }
}

function readSection(reader: ByteReader): {
  kind: number
  payload: ByteReader
} {
  reader.need(SECTION_HEAD)
  const kind = reader.u8()
  const length = reader.u32()
  const checksum = reader.u32()
  const start = reader.pos
  reader.bytes(length)
  if (crc32c(reader.buf, start, reader.pos) !== checksum)
    throw new WireError('checksum', `batch: section ${kind} does not match its checksum`)
  return { kind, payload: new ByteReader(reader.buf, start, reader.pos) }
}

function readHeader(r: ByteReader): BatchHeader {
  return {
    collector: r.string(),
    session: r.string(),
    shard: r.varint(),
    shards: r.varint(),
    from: r.varint(),
    to: r.varint(),
    cursor: r.varint(),
    now: r.varint(),
    urgent: r.u8() === 1,
  }
}

function* readDefinitions(sections: readonly ByteReader[]): Generator<SeriesDefinition, undefined> {
  for (const r of sections) {
    while (r.left > 0) {
      const ref = r.varint()
      const tenant = r.string()
      const id = r.bytes(16).slice()
      const name = r.string()
      const count = r.length(r.left, 'number of labels')
      const labels: Label[] = []
      for (let i = 0; i < count; i++) labels.push([r.string(), r.string()])
      yield { ref, tenant, id, name, labels }
    }
  }
}

/** Of its columns. */
const BYTES_A_SAMPLE = 29

function readSamples(r: ByteReader): SampleColumns {
  // A sample takes at least half a byte (its exponent): the count is checked against that before columns are allocated.
  const count = r.length(Math.min(BATCH_SAMPLES_MAX, r.left * 2), 'number of samples')
  const memory = new ArrayBuffer(count * BYTES_A_SAMPLE)
  const times = new Float64Array(memory, 0, count)
  const arrivals = new Float64Array(memory, 8 * count, count)
  const words = new Uint32Array(memory, 16 * count, 2 * count)
  const refs = new Uint32Array(memory, 24 * count, count)
  const exponents = new Uint8Array(memory, 28 * count, count)
  readRefs(column(r), refs)
  readRuns(column(r), times)
  readRuns(column(r), arrivals)
  readExponents(column(r), exponents)
  readValues(column(r), exponents, words)
  if (r.left > 0) throw new WireError('malformed', `batch: ${r.left} bytes follow the columns`)
  return { count, refs, times, arrivals, exponents, words, memory: new Uint8Array(memory) }
}

function column(r: ByteReader): ByteReader {
  const length = r.varint()
  r.need(length)
  const start = r.pos
  r.pos += length
  return new ByteReader(r.buf, start, r.pos)
}

function ended(r: ByteReader): void {
  if (r.left > 0) throw new WireError('malformed', `batch: a column has ${r.left} bytes too many`)
}

function readRefs(r: ByteReader, refs: Uint32Array): void {
  let i = 0
  let ref = 0
  while (i < refs.length) {
    const token = r.varint()
    if (token % 2 === 1) {
      const mapped = (token - 1) / 2
      ref += mapped % 2 === 1 ? -(mapped + 1) / 2 : mapped / 2
      if (!(ref >= 0 && ref < TWO_32))
        throw new WireError('malformed', `batch: series reference ${ref} is out of range`)
      refs[i++] = ref
    } else {
      const run = token / 2
      if (run === 0 || run > refs.length - i || ref + run >= TWO_32)
        throw new WireError('malformed', `batch: a run of ${run} references is out of range`)
      for (const end = i + run; i < end; i++) refs[i] = ++ref
    }
  }
  ended(r)
}

function readRuns(r: ByteReader, into: Float64Array): void {
  let i = 0
  let value = 0
  while (i < into.length) {
    value += r.zigzag()
    const run = r.varint()
    if (run === 0 || run > into.length - i)
      throw new WireError('malformed', `batch: a run of ${run} times is out of range`)
    into.fill(value, i, i + run)
    i += run
  }
  ended(r)
}

function readExponents(r: ByteReader, exponents: Uint8Array): void {
  const bytes = r.bytes(Math.ceil(exponents.length / 2))
  for (let i = 0; i < exponents.length; i++) {
    const nibble = (bytes[i >> 1]! >>> ((i & 1) * 4)) & 15
    if (nibble > 9 && nibble !== RAW_NIBBLE)
      throw new WireError('malformed', `batch: exponent ${nibble} does not exist`)
    exponents[i] = nibble === RAW_NIBBLE ? RAW_FLOAT : nibble
  }
  ended(r)
}

function readValues(r: ByteReader, exponents: Uint8Array, words: Uint32Array): void {
  for (let i = 0; i < exponents.length; i++) {
    if (exponents[i] === RAW_FLOAT) {
      words[2 * i] = r.u32()
      words[2 * i + 1] = r.u32()
    } else {
      const mantissa = r.zigzag()
      words[2 * i] = mantissa // keeps the low 32 bits of a two's complement number of any size below 2^53
      words[2 * i + 1] = Math.floor(mantissa / TWO_32)
    }
  }
  ended(r)
}
