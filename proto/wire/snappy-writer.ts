/**
 * Writes a snappy block by whoever knows what repeats: literals, and copies of what stands some bytes before.
 *
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 */
import { grown } from './grown.ts'

const COPY_2 = 2
const COPY_BYTES_MAX = 64
/** A shorter copy takes no less room than its bytes. */
const COPY_BYTES_MIN = 4
const OFFSET_MAX = 0xffff
const SHORT_LITERAL_MAX = 60
/** Bytes of a literal's length that follow its tag: as numbers from 60 on. */
const LITERAL_LENGTH_2 = 61
const LONG_TAG_BYTES = 3
/** A literal is at most so long, as its length is written in two bytes. */
const LITERAL_BYTES_MAX = 0x10000
const NONE = -1
/** Room for the length in front. */
const PREAMBLE_BYTES = 5
/** Up to here bytes are copied one by one: a view of them costs more. */
const COPIED_ONE_BY_ONE = 256

/** One block after the other, in the same memory. */
export class SnappyWriter {
  /** Decoded, bytes. */
  length = 0
  #out = new Uint8Array(1 << 14)
  #pos = PREAMBLE_BYTES
  /** Where the tag of the literal goes that is under way; NONE: none is. A short one's tag has one byte. */
  #tag = NONE
  /** Elements that are not copied yet: bytes [start, end) of it. */
  #run: Uint8Array | undefined
  #runStart = 0
  #runEnd = 0

  literal(bytes: Uint8Array, start: number, end: number): void {
    if (this.#run !== undefined) this.#copyRun()
    for (let from = start; from < end; ) {
      if (this.#tag === NONE) this.#tag = this.#pos++
      const room = LITERAL_BYTES_MAX - (this.#pos - this.#tag - 1)
      if (room === 0) {
        this.#endLiteral()
        continue
      }
      const size = Math.min(end - from, room)
      this.#reserve(size + LONG_TAG_BYTES)
      const out = this.#out
      const pos = this.#pos
      if (size > COPIED_ONE_BY_ONE) out.set(bytes.subarray(from, from + size), pos)
      else for (let i = 0; i < size; i++) out[pos + i] = bytes[from + i]!
      this.#pos = pos + size
      this.length += size
      from += size
    }
  }

  /**
   * `size` bytes that stand `offset` before the end of what was written, where the format can say so, and else as a literal.
   * @param bytes the same bytes, from `at` on
   */
  copy(offset: number, size: number, bytes: Uint8Array, at: number): void {
    if (size < COPY_BYTES_MIN || offset > OFFSET_MAX) {
      this.literal(bytes, at, at + size)
      return
    }
    this.#endElement()
    this.length += size
    this.#reserve(3 * Math.ceil(size / COPY_BYTES_MAX))
    const out = this.#out
    let pos = this.#pos
    for (let rest = size; rest > 0; rest -= COPY_BYTES_MAX) {
      out[pos] = COPY_2 | ((Math.min(rest, COPY_BYTES_MAX) - 1) << 2)
      out[pos + 1] = offset & 0xff
      out[pos + 2] = offset >> 8
      pos += 3
    }
    this.#pos = pos
  }

  /**
   * What {@link finishElements} gave, of bytes [start, end): its copies mean what they meant where it was written. Bytes that stand one
   * behind the other are copied at once, with the next thing that is written: until then samples may be put into them.
   * @param length decoded, bytes
   */
  elements(bytes: Uint8Array, start: number, end: number, length: number): void {
    if (bytes === this.#run && start === this.#runEnd) this.#runEnd = end
    else {
      this.#endElement()
      this.#run = bytes
      this.#runStart = start
      this.#runEnd = end
    }
    this.length += length
  }

  /** What was written, to be put behind other things; valid until the next thing is written. */
  finishElements(): Uint8Array<ArrayBuffer> {
    this.#endElement()
    const elements = this.#out.subarray(PREAMBLE_BYTES, this.#pos)
    this.length = 0
    this.#pos = PREAMBLE_BYTES
    return elements
  }

  /** The block, valid until the next one is begun: with the next thing that is written. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#endElement()
    const out = this.#out
    let bytes = 1
    for (let rest = this.length; rest > 0x7f; rest >>>= 7) bytes++
    const start = PREAMBLE_BYTES - bytes
    for (let i = 0, rest = this.length; i < bytes; i++, rest >>>= 7) out[start + i] = i < bytes - 1 ? rest | 0x80 : rest
    const block = out.subarray(start, this.#pos)
    this.length = 0
    this.#pos = PREAMBLE_BYTES
    return block
  }

  #endElement(): void {
    if (this.#tag !== NONE) this.#endLiteral()
    if (this.#run !== undefined) this.#copyRun()
  }

  #copyRun(): void {
    const size = this.#runEnd - this.#runStart
    this.#reserve(size)
    this.#out.set(this.#run!.subarray(this.#runStart, this.#runEnd), this.#pos)
    this.#pos += size
    this.#run = undefined
  }

  /** Writes the tag of the literal under way, of which there is at least a byte; that of a long one takes more room. */
  #endLiteral(): void {
    const out = this.#out
    const first = this.#tag + 1
    const size = this.#pos - first
    if (size <= SHORT_LITERAL_MAX) out[this.#tag] = (size - 1) << 2
    else {
      out.copyWithin(this.#tag + LONG_TAG_BYTES, first, this.#pos)
      out[this.#tag] = LITERAL_LENGTH_2 << 2
      out[this.#tag + 1] = (size - 1) & 0xff
      out[this.#tag + 2] = (size - 1) >> 8
      this.#pos += LONG_TAG_BYTES - 1
    }
    this.#tag = NONE
  }

  #reserve(bytes: number): void {
    const needed = this.#pos + bytes
    if (needed > this.#out.length) this.#out = grown(this.#out, new Uint8Array(Math.max(needed, 2 * this.#out.length)))
  }
}
