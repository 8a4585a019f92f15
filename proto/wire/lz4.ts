/**
 * The LZ4 frame format, reading only: what Kafka's clients write under `lz4`.
 *
 *     frame = magic:u32 flags:u8 size:u8 [content:u64] [dictionary:u32] check:u8 block* 0:u32 [checksum:u32]
 *     block = (length | stored << 31):u32 bytes [checksum:u32]
 *
 * Checksums are passed over: a Kafka batch has its own over all of it.
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
 */
import { WireError } from './wire-error.ts'

const MAGIC = 0x184d2204
const BLOCK_CHECKSUM = 0x10
const CONTENT_SIZE = 0x08
const CONTENT_CHECKSUM = 0x04
const DICTIONARY = 0x01
const STORED = 0x80000000
const MATCH_MIN = 4

/**
 * @param maxBytes most that it may decode to
 * @throws WireError `malformed`, `truncated`, `too_large` or `unsupported`
 */
export function decodeLz4(bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const out = new Output(Math.min(maxBytes, bytes.length * 4), maxBytes)
  let pos = 0
  while (pos < bytes.length) pos = readFrame(bytes, view, pos, out)
  return out.bytes()
}

function readFrame(bytes: Uint8Array, view: DataView, start: number, out: Output): number {
  let pos = start
  need(bytes, pos, 7)
  if (view.getUint32(pos, true) !== MAGIC) throw new WireError('malformed', 'lz4: the bytes do not begin with a frame')
  const flags = bytes[pos + 4]!
  if (flags >> 6 !== 1) throw new WireError('unsupported', `lz4: version ${flags >> 6} of the frame is not known, 1 is`)
  if ((flags & DICTIONARY) !== 0) throw new WireError('unsupported', 'lz4: the frame needs a dictionary')
  pos += 6 + ((flags & CONTENT_SIZE) === 0 ? 0 : 8) + 1
  for (;;) {
    need(bytes, pos, 4)
    const word = view.getUint32(pos, true)
    pos += 4
    if (word === 0) break
    const length = word & ~STORED
    need(bytes, pos, length)
    if (word >= STORED) out.copy(bytes, pos, length)
    else readBlock(bytes, pos, pos + length, out)
    pos += length + ((flags & BLOCK_CHECKSUM) === 0 ? 0 : 4)
  }
  return pos + ((flags & CONTENT_CHECKSUM) === 0 ? 0 : 4)
}

/** Sequences of literals and a match each; the last has no match. */
function readBlock(bytes: Uint8Array, start: number, end: number, out: Output): void {
  let pos = start
  while (pos < end) {
    const token = bytes[pos++]!
    let literals = token >> 4
    for (let more = literals === 15 ? 255 : 0; more === 255; literals += more) more = byteOf(bytes, pos++, end)
    if (pos + literals > end) throw new WireError('truncated', 'lz4: a block ends inside its literals')
    out.copy(bytes, pos, literals)
    pos += literals
    if (pos === end) return
    const offset = byteOf(bytes, pos, end) | (byteOf(bytes, pos + 1, end) << 8)
    pos += 2
    let length = token & 15
    for (let more = length === 15 ? 255 : 0; more === 255; length += more) more = byteOf(bytes, pos++, end)
    out.repeat(offset, length + MATCH_MIN)
  }
}

function byteOf(bytes: Uint8Array, pos: number, end: number): number {
  if (pos >= end) throw new WireError('truncated', 'lz4: a block ends inside a sequence')
  return bytes[pos]!
}

function need(bytes: Uint8Array, pos: number, length: number): void {
  if (pos + length > bytes.length) throw new WireError('truncated', 'lz4: the frame is cut off')
}

/** Grows up to a bound. */
class Output {
  readonly #max: number
  #buf: Uint8Array<ArrayBuffer>
  #pos = 0

  constructor(guess: number, max: number) {
    this.#buf = new Uint8Array(guess)
    this.#max = max
  }

  copy(from: Uint8Array, start: number, length: number): void {
    this.#reserve(length)
    this.#buf.set(from.subarray(start, start + length), this.#pos)
    this.#pos += length
  }

  /** Bytes that stand `offset` before the end, which they may reach beyond. */
  repeat(offset: number, length: number): void {
    if (offset === 0 || offset > this.#pos)
      throw new WireError('malformed', `lz4: a match reaches back ${offset} bytes where only ${this.#pos} exist`)
    this.#reserve(length)
    const buf = this.#buf
    if (offset >= length) buf.copyWithin(this.#pos, this.#pos - offset, this.#pos - offset + length)
    else for (let i = this.#pos, end = i + length; i < end; i++) buf[i] = buf[i - offset]!
    this.#pos += length
  }

  #reserve(length: number): void {
    const size = this.#pos + length
    if (size > this.#max) throw new WireError('too_large', `lz4: more than ${this.#max} bytes`)
    if (size <= this.#buf.length) return
    const grown = new Uint8Array(Math.min(this.#max, Math.max(size, 2 * this.#buf.length)))
    grown.set(this.#buf.subarray(0, this.#pos))
    this.#buf = grown
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buf.slice(0, this.#pos)
  }
}
