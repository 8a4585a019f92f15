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
/** Room for the length in front. */
const PREAMBLE_BYTES = 5
const COPIED_ONE_BY_ONE = 64

/** One block after the other, in the same memory. */
export class SnappyWriter {
  /** Decoded, bytes. */
  length = 0
  #out = new Uint8Array(1 << 14)
  #pos = PREAMBLE_BYTES
  /** Bytes that are to be one literal. */
  #pending = new Uint8Array(1 << 10)
  #pendingBytes = 0

  literal(bytes: Uint8Array, start: number, end: number): void {
    const to = this.#pendingBytes
    const size = end - start
    this.length += size
    this.#pendingBytes = to + size
    if (to + size > this.#pending.length) this.#growPending(to + size)
    const pending = this.#pending
    if (size > COPIED_ONE_BY_ONE) pending.set(bytes.subarray(start, end), to)
    else for (let i = 0; i < size; i++) pending[to + i] = bytes[start + i]!
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
    if (this.#pendingBytes > 0) this.#flush()
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

  /** The block, valid until the next one is begun: with the next thing that is written. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#flush()
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

  #flush(): void {
    const pending = this.#pending
    for (let start = 0; start < this.#pendingBytes; ) {
      const size = Math.min(this.#pendingBytes - start, LITERAL_BYTES_MAX)
      this.#reserve(LONG_TAG_BYTES + size)
      const out = this.#out
      let pos = this.#pos
      if (size <= SHORT_LITERAL_MAX) {
        out[pos++] = (size - 1) << 2
        for (let i = 0; i < size; i++) out[pos + i] = pending[start + i]!
      } else {
        out[pos++] = LITERAL_LENGTH_2 << 2
        out[pos++] = (size - 1) & 0xff
        out[pos++] = (size - 1) >> 8
        out.set(pending.subarray(start, start + size), pos)
      }
      this.#pos = pos + size
      start += size
    }
    this.#pendingBytes = 0
  }

  #growPending(needed: number): void {
    this.#pending = grown(this.#pending, new Uint8Array(Math.max(needed, 2 * this.#pending.length)))
  }

  #reserve(bytes: number): void {
    const needed = this.#pos + bytes
    if (needed > this.#out.length) this.#out = grown(this.#out, new Uint8Array(Math.max(needed, 2 * this.#out.length)))
  }
}
