/**
 * The index of label blocks in the core's memory, and the reading of bodies beside it.
 *
 * What is plain (known series, samples only) is read by the core into columns; each other message is copied out and read by the
 * portable reader, which looks its keys up here. The core's memory may grow whenever a key is remembered, and its views end then:
 * none is kept over a call that may do so.
 */
import { Reader } from '../../../proto/wire/protobuf.ts'
import type { WriteRequestSink } from '../../../proto/wire/remote-write.ts'
import { asWireError, readWriteRequest } from '../../../proto/wire/remote-write.ts'
import type { MetadataRanges } from '../../../proto/wire/remote-write-2.ts'
import type { KeyIndex, MakeKeys } from '../key-index.ts'
import { PortableKeys } from '../key-index.ts'
import type { Core } from './load-core.ts'
import { address, coreError, newCore } from './load-core.ts'

const MOST_U32 = 0xffffffff

/** What takes samples of series that are known, many at once. */
export interface PlainSink extends WriteRequestSink {
  /** Remembers the label block body[start..end) where it is of the usual form and there is room; else nothing has changed. */
  learnPlain(body: Uint8Array, start: number, end: number): boolean
  /** As many samples as `count` says, from the beginning of columns that are valid during the call; two words a value. */
  plainSamples(series: Int32Array, times: Float64Array, words: Uint32Array, count: number): void
}

/** The same for remote write 2.0. */
export interface PlainSink2 extends PlainSink {
  /** What the metric of a known series is; valid during the call. */
  plainMetadata(series: number, metadata: MetadataRanges): void
}

/** Of the core's column. */
const METADATA_WORDS = 6

/** With the core where there is one. */
export const fastKeys: MakeKeys = (seed) => {
  const core = newCore(seed)
  return core === undefined ? new PortableKeys(seed) : new FastKeys(core)
}

export class FastKeys implements KeyIndex {
  readonly #core: Core
  readonly #columnLength: number
  // Views of the core's memory, and of its columns, which stay where they are:
  #bytes = new Uint8Array(0)
  #u32 = new Uint32Array(0)
  #series = new Int32Array(0)
  #times = new Float64Array(0)
  #words = new Uint32Array(0)

  constructor(core: Core) {
    this.#core = core
    this.#columnLength = core.columnLength()
  }

  get entries(): number {
    return this.#core.entriesUsed()
  }

  get bytes(): number {
    return this.#core.indexBytes()
  }

  begin(): void {}

  /** Messages that come one by one are those that the core did not know. */
  expect(): number {
    return 0
  }

  find(bytes: Uint8Array, _view: DataView, start: number, end: number, scope: number): number {
    try {
      return this.#core.find(this.#stage(bytes, start, end), end - start, scope)
    } catch (error) {
      throw coreError(error)
    }
  }

  remember(bytes: Uint8Array, _view: DataView, start: number, end: number, scope: number, series: number): number {
    try {
      return this.#core.remember(this.#stage(bytes, start, end), end - start, scope, series)
    } catch (error) {
      throw coreError(error)
    }
  }

  key(entry: number): Uint8Array {
    const at = address(this.#core.keyOf(entry))
    return this.#memory().subarray(at, at + this.#core.keyLength(entry))
  }

  scope(entry: number): number {
    return this.#core.scopeOf(entry)
  }

  /**
   * Reads a remote write 1.0 body.
   * @returns false when it is not for here: too large, or not a whole snappy block
   * @throws WireError when its message cannot be read; the sink then holds a part of it
   */
  read(body: Uint8Array, scope: number, bytesMax: number, sink: PlainSink): boolean {
    const core = this.#core
    const end = this.#decode(body, bytesMax)
    if (end < 0) return false
    for (let at = 0; at < end; ) {
      at = core.read1(at, end, scope)
      const count = core.count()
      if (count > 0) this.#give(count, sink)
      if (at < end && count < this.#columnLength && !this.#learn(sink)) at += this.#readOne(at, end, sink)
    }
    return true
  }

  /**
   * Reads a remote write 2.0 body.
   * @returns false when it is not for here, all of it: it holds more than series with samples and metadata, or something that is not
   *   plain; the sink may then hold a part of it
   */
  read2(body: Uint8Array, scope: number, bytesMax: number, sink: PlainSink2): boolean {
    const core = this.#core
    const end = this.#decode(body, bytesMax)
    if (end < 0 || core.open2(end, bytesMax) === 0) return false
    for (let at = 0; at < end; ) {
      at = core.read2(at, end, scope)
      const count = core.count()
      const metadata = core.metadataPushed()
      if (count > 0) this.#give(count, sink)
      if (metadata > 0) this.#giveMetadata(metadata, sink)
      if (at < end && !this.#learn(sink) && count + metadata === 0) return false
    }
    return true
  }

  /**
   * Reads a metric batch whose series are all known.
   * @returns false when it is not for here: too large, not plain, or with a series that nobody knows; the sink has nothing of it then
   */
  readBatch(body: Uint8Array, scope: number, sink: Pick<PlainSink, 'plainSamples'>): boolean {
    try {
      if (!this.#place(body) || this.#core.readBatch(body.length, scope) === 0) return false
    } catch (error) {
      throw coreError(error)
    }
    this.#give(this.#core.count(), sink)
    return true
  }

  /** Puts a body into the core's input. @returns false: it is too large */
  #place(body: Uint8Array): boolean {
    const input = address(this.#core.input(body.length))
    if (input === 0) return false
    this.#memory().set(body, input)
    return true
  }

  /** @returns the length of the message in the core's output; -1 when the body is not for here */
  #decode(body: Uint8Array, bytesMax: number): number {
    try {
      if (!this.#place(body)) return -1
      return this.#core.unsnap(body.length, Math.min(bytesMax, MOST_U32))
    } catch (error) {
      throw coreError(error)
    }
  }

  #giveMetadata(count: number, sink: PlainSink2): void {
    const body = this.#memory().subarray(address(this.#core.output()))
    const at = this.#core.metadataColumn() >>> 2
    for (let i = at; i < at + METADATA_WORDS * count; i += METADATA_WORDS) {
      const [series, type, helpAt, helpLength, unitAt, unitLength] = this.#u32.subarray(i, i + METADATA_WORDS)
      sink.plainMetadata(series!, {
        body,
        type: type!,
        helpAt: helpAt!,
        helpLength: helpLength!,
        unitAt: unitAt!,
        unitLength: unitLength!,
      })
    }
  }

  /** Labels that nobody knows, where they are all that kept the core from going on. */
  #learn(sink: PlainSink): boolean {
    const at = address(this.#core.unknownKey())
    return at !== 0 && sink.learnPlain(this.#memory(), at, at + this.#core.unknownSize())
  }

  #give(count: number, sink: Pick<PlainSink, 'plainSamples'>): void {
    this.#memory()
    sink.plainSamples(this.#series, this.#times, this.#words, count)
  }

  /** The message at an offset of the output, by the portable reader. @returns its length */
  #readOne(at: number, end: number, sink: PlainSink): number {
    const output = address(this.#core.output())
    const rest = this.#memory().subarray(output + at, output + end)
    const reader = new Reader(rest)
    try {
      const field = reader.tag()
      reader.skipType(field & 7, 0, field >>> 3)
    } catch (error) {
      throw asWireError(error, reader)
    }
    readWriteRequest(rest.slice(0, reader.pos), sink)
    return reader.pos
  }

  #stage(bytes: Uint8Array, start: number, end: number): number {
    if (bytes.buffer === this.#core.memory.buffer) return bytes.byteOffset + start
    const at = address(this.#core.staging(end - start))
    const memory = this.#memory()
    for (let from = start, to = at; from < end; ) memory[to++] = bytes[from++]! // most are too short for a call to pay
    return at
  }

  #memory(): Uint8Array {
    const { buffer } = this.#core.memory
    if (this.#bytes.buffer !== buffer) {
      const core = this.#core
      const length = this.#columnLength
      this.#bytes = new Uint8Array(buffer)
      this.#u32 = new Uint32Array(buffer)
      this.#series = new Int32Array(buffer, core.seriesColumn(), length)
      this.#times = new Float64Array(buffer, core.timesColumn(), length)
      this.#words = new Uint32Array(buffer, core.valuesColumn(), 2 * length)
    }
    return this.#bytes
  }
}
