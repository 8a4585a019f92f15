/**
 * Writes a snappy block by whoever knows what repeats: literals, and copies of what stands some bytes before.
 *
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 */
import { ByteWriter } from './bytes.ts'

const COPY_2 = 2
const COPY_BYTES_MAX = 64
/** A shorter copy takes no less room than its bytes. */
const COPY_BYTES_MIN = 4
const OFFSET_MAX = 0xffff
const SHORT_LITERAL_MAX = 60
/** Bytes of a literal's length that follow its tag: as numbers from 60 on. */
const LITERAL_LENGTH_2 = 61
/** A literal is at most so long, as its length is written in two bytes. */
const LITERAL_BYTES_MAX = 0x10000

export class SnappyWriter {
  /** Decoded, bytes. */
  length = 0
  readonly #out = new ByteWriter(1 << 14)
  /** Bytes that are to be one literal. */
  readonly #pending = new ByteWriter(1 << 10)

  literal(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start
    this.length += size
    const pending = this.#pending
    pending.reserve(size)
    for (let from = start, to = pending.pos; from < end; ) pending.buf[to++] = bytes[from++]! // most are short
    pending.pos += size
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
    this.#flush()
    this.length += size
    const out = this.#out
    for (let rest = size; rest > 0; ) {
      const part = Math.min(rest, COPY_BYTES_MAX)
      out.u8(COPY_2 | ((part - 1) << 2))
      out.u8(offset & 0xff)
      out.u8(offset >> 8)
      rest -= part
    }
  }

  /** The block; nothing can be written afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#flush()
    const out = new ByteWriter(this.#out.pos + 8)
    out.varint(this.length)
    out.bytes(this.#out.view())
    return out.take()
  }

  #flush(): void {
    const { buf, pos } = this.#pending
    const out = this.#out
    for (let start = 0; start < pos; ) {
      const size = Math.min(pos - start, LITERAL_BYTES_MAX)
      if (size <= SHORT_LITERAL_MAX) out.u8((size - 1) << 2)
      else {
        out.u8(LITERAL_LENGTH_2 << 2)
        out.u8((size - 1) & 0xff)
        out.u8((size - 1) >> 8)
      }
      out.bytes(buf.subarray(start, start + size))
      start += size
    }
    this.#pending.pos = 0
  }
}
