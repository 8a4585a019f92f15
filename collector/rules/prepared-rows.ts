/**
 * The outputs of a group as they are written behind another group's: elements of snappy, in which only the samples are put in.
 *
 *     ┌ head, what differs of the labels ┬ sample ┬ head, what differs ┬ sample ┬ …    series 0, series 1, …
 *
 * Rows lie one behind the other as they are given out, so that a window reads its memory in order: labels are four times as much,
 * and no cache holds them all.
 */
import { ByteWriter } from '../../proto/wire/bytes.ts'
import { grown } from '../../proto/wire/grown.ts'
import type { SnappyWriter } from '../../proto/wire/snappy-writer.ts'
import type { SampleField } from './output-entry.ts'
import { SAMPLE_FIELD, SAMPLE_FIELD_BYTES, TIME_AT, VALUE_AT } from './output-entry.ts'
import { SharedChunks } from './shared-chunks.ts'

/** A row that came in place of a shorter one has room up to a multiple of so many bytes: the next one is often a little longer again. */
const ROOM_STEP = 32
const NONE = -1
/** Tag of a literal that is a sample. */
const TAG_SAMPLE = (SAMPLE_FIELD_BYTES - 1) << 2

export class PreparedRows {
  readonly #width: number
  /** By group; of those that have none, NONE. */
  #chunk: Int32Array
  #start: Uint32Array
  #end: Uint32Array
  #room: Uint32Array
  /** Decoded, bytes. */
  #length: Uint32Array
  /** The serial of the group that it is written behind. */
  #behind: Float64Array
  /** By group × width + series: where its sample begins, from the start of the row. */
  #samples: Uint32Array
  readonly #chunks = new SharedChunks()
  readonly #row = new ByteWriter(1024)

  /** @param width series of a group */
  constructor(width: number, capacity: number) {
    this.#width = width
    this.#chunk = new Int32Array(capacity).fill(NONE)
    this.#start = new Uint32Array(capacity)
    this.#end = new Uint32Array(capacity)
    this.#room = new Uint32Array(capacity)
    this.#length = new Uint32Array(capacity)
    this.#behind = new Float64Array(capacity)
    this.#samples = new Uint32Array(capacity * width)
  }

  /** Whether a row is prepared, to be written behind the group of that serial. */
  has(group: number, behind: number): boolean {
    return this.#chunk[group] !== NONE && this.#behind[group] === behind
  }

  /**
   * Keeps a row.
   * @param entries of each series, what stands in front of its sample; each is read before the next one is asked for
   * @param length of all of it, decoded
   */
  prepare(group: number, behind: number, entries: Iterable<Uint8Array>, length: number): void {
    const row = this.#row
    row.pos = 0
    let place = group * this.#width
    for (const entry of entries) {
      row.bytes(entry)
      row.u8(TAG_SAMPLE)
      this.#samples[place++] = row.pos
      row.bytes(SAMPLE_FIELD)
    }
    if (this.#chunk[group] === NONE || row.pos > this.#room[group]!) this.#reserve(group, row.pos)
    const start = this.#start[group]!
    this.#chunks.bytesOf(this.#chunk[group]!).set(row.buf.subarray(0, row.pos), start)
    this.#end[group] = start + row.pos
    this.#length[group] = length
    this.#behind[group] = behind
  }

  /** Writes a row that {@link has} just said is there; its samples, by {@link putSample}, are put in before anything else is written. Hot. */
  write(group: number, snappy: SnappyWriter): void {
    const bytes = this.#chunks.bytesOf(this.#chunk[group]!)
    snappy.elements(bytes, this.#start[group]!, this.#end[group]!, this.#length[group]!)
  }

  /** Hot: in four pieces, as the rest of the field is always the same. */
  putSample(group: number, series: number, { low, high, timeLow, timeHigh }: SampleField): void {
    const view = this.#chunks.viewOf(this.#chunk[group]!)
    const at = this.#start[group]! + this.#samples[group * this.#width + series]!
    view.setUint32(at + VALUE_AT, low, true)
    view.setUint32(at + VALUE_AT + 4, high, true)
    view.setUint32(at + TIME_AT, timeLow, true)
    view.setUint16(at + TIME_AT + 4, timeHigh, true)
  }

  /** The number is another group's from now on. */
  forget(group: number): void {
    const chunk = this.#chunk[group]!
    if (chunk === NONE) return
    this.#chunk[group] = NONE
    this.#chunks.release(chunk)
  }

  grow(capacity: number): void {
    this.#chunk = grown(this.#chunk, new Int32Array(capacity).fill(NONE))
    this.#start = grown(this.#start, new Uint32Array(capacity))
    this.#end = grown(this.#end, new Uint32Array(capacity))
    this.#room = grown(this.#room, new Uint32Array(capacity))
    this.#length = grown(this.#length, new Uint32Array(capacity))
    this.#behind = grown(this.#behind, new Float64Array(capacity))
    this.#samples = grown(this.#samples, new Uint32Array(capacity * this.#width))
  }

  /** A place for a group; one that it outgrew is left behind, so it gets some room then. */
  #reserve(group: number, size: number): void {
    const room = this.#chunk[group] === NONE ? size : Math.ceil(size / ROOM_STEP) * ROOM_STEP
    this.forget(group)
    this.#chunk[group] = this.#chunks.reserve(room)
    this.#start[group] = this.#chunks.start
    this.#room[group] = room
  }
}
