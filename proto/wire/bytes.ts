/**
 * Growing writer and bounds-checked reader of little-endian bytes: the alphabet of our own formats (batch, journal).
 *
 * Integers are LEB128 varints up to 2^53 - 1 ("varint") or zigzag-mapped ones up to ±2^52 ("zigzag"): both exact as
 * JavaScript numbers, so no BigInt is made per value. Strings are a varint length and UTF-8.
 */
import { WireError } from './wire-error.ts'

const TWO_28 = 268435456
const TWO_32 = 4294967296
const SHORT = 128 // a length below fits one byte of varint
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Largest magnitude that `zigzag` carries: 2 × n - 1 must stay exact. */
export const ZIGZAG_MAX: number = 2 ** 52

/** Encodes to UTF-8; a lone surrogate becomes U+FFFD, so that what is stored is always valid text. */
export function utf8Encode(text: string): Uint8Array {
  return encoder.encode(text)
}

/**
 * Decodes UTF-8.
 * @throws WireError `malformed` when the bytes are not valid UTF-8
 */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new WireError('malformed', 'text is not valid UTF-8')
  }
}

/** Writes a varint of at most eight bytes, for which there is room. @returns the place behind it */
export function putVarint(buf: Uint8Array, at: number, value: number): number {
  let pos = at
  let high = value
  if (value >= TWO_28) {
    high = Math.floor(value / TWO_28)
    const low = value - high * TWO_28
    buf[pos++] = low | 128
    buf[pos++] = (low >>> 7) | 128
    buf[pos++] = (low >>> 14) | 128
    buf[pos++] = (low >>> 21) | 128
  }
  let rest = high | 0
  while (rest > 127) {
    buf[pos++] = rest | 128
    rest >>>= 7
  }
  buf[pos++] = rest
  return pos
}

/** The same of an integer with a magnitude up to {@link ZIGZAG_MAX}. */
export function putZigzag(buf: Uint8Array, at: number, value: number): number {
  return putVarint(buf, at, value >= 0 ? value * 2 : -value * 2 - 1)
}

/** Appends values to one buffer that doubles when full; `take` hands out a copy and starts again. */
export class ByteWriter {
  buf: Uint8Array<ArrayBuffer>
  pos = 0
  #view: DataView

  constructor(capacity = 256) {
    this.buf = new Uint8Array(capacity)
    this.#view = new DataView(this.buf.buffer)
  }

  /** Makes room for `n` more bytes. */
  reserve(n: number): void {
    if (this.pos + n <= this.buf.length) return
    const grown = new Uint8Array(Math.max(this.buf.length * 2, this.pos + n))
    grown.set(this.buf.subarray(0, this.pos))
    this.buf = grown
    this.#view = new DataView(grown.buffer)
  }

  u8(value: number): void {
    this.reserve(1)
    this.buf[this.pos++] = value
  }

  u32(value: number): void {
    this.reserve(4)
    this.#view.setUint32(this.pos, value, true)
    this.pos += 4
  }

  /** Overwrites four bytes written before, for lengths and checksums that are known only afterwards. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }

  f64(value: number): void {
    this.reserve(8)
    this.#view.setFloat64(this.pos, value, true)
    this.pos += 8
  }

  /** @param value integer from 0 to 2^54 (exact as long as it is a safe integer or twice one) */
  varint(value: number): void {
    this.reserve(8)
    this.pos = putVarint(this.buf, this.pos, value)
  }

  /** @param value integer with magnitude up to {@link ZIGZAG_MAX} */
  zigzag(value: number): void {
    this.reserve(8)
    this.pos = putZigzag(this.buf, this.pos, value)
  }

  bytes(value: Uint8Array): void {
    this.reserve(value.length)
    this.buf.set(value, this.pos)
    this.pos += value.length
  }

  /** Length and bytes. */
  block(value: Uint8Array): void {
    this.varint(value.length)
    this.bytes(value)
  }

  string(value: string): void {
    const { length } = value
    if (length >= SHORT ? !this.#long(value) : !this.#ascii(value)) this.block(utf8Encode(value))
  }

  /** Writes a text whose UTF-8 is no longer than itself into its place, instead of a copy of it that is copied. */
  #long(value: string): boolean {
    const { length } = value
    this.reserve(length + 8)
    const start = this.pos
    this.varint(length)
    const { read, written } = encoder.encodeInto(value, this.buf.subarray(this.pos, this.pos + length))
    this.pos += written
    if (read === length && written === length) return true
    this.pos = start
    return false
  }

  /** Writes a short text of plain ASCII, as nearly all labels are, without the encoder's detour. */
  #ascii(value: string): boolean {
    const { length } = value
    this.reserve(length + 1)
    const buf = this.buf
    let pos = this.pos
    buf[pos++] = length
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code > 127) return false
      buf[pos++] = code
    }
    this.pos = pos
    return true
  }

  /** The bytes written so far, not copied: valid until the next write. */
  view(): Uint8Array<ArrayBuffer> {
    return this.buf.subarray(0, this.pos)
  }

  /** A copy of the bytes written so far; the writer is empty afterwards and keeps its buffer. */
  take(): Uint8Array<ArrayBuffer> {
    const out = this.buf.slice(0, this.pos)
    this.pos = 0
    return out
  }
}

/** Reads values from `[start, end)` of a buffer; never reads outside of it. */
export class ByteReader {
  readonly buf: Uint8Array
  pos: number
  readonly end: number
  readonly #view: DataView

  constructor(buf: Uint8Array, start = 0, end: number = buf.length) {
    this.buf = buf
    this.pos = start
    this.end = end
    this.#view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength)
  }

  get left(): number {
    return this.end - this.pos
  }

  /** @throws WireError `truncated` when fewer than `n` bytes are left */
  need(n: number): void {
    if (n > this.end - this.pos)
      throw new WireError('truncated', `needs ${n} bytes at offset ${this.pos}, ${this.left} left`)
  }

  u8(): number {
    this.need(1)
    return this.buf[this.pos++] as number
  }

  u32(): number {
    this.need(4)
    const value = this.#view.getUint32(this.pos, true)
    this.pos += 4
    return value
  }

  f64(): number {
    this.need(8)
    const value = this.#view.getFloat64(this.pos, true)
    this.pos += 8
    return value
  }

  /** An integer up to 2^54. @throws WireError `malformed` beyond that, `truncated` at the end of the input */
  varint(): number {
    const buf = this.buf
    let pos = this.pos
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      if (pos >= this.end) throw new WireError('truncated', `varint at offset ${this.pos} has no end`)
      const byte = buf[pos++] as number
      value += (byte & 127) * scale
      if (byte < 128) {
        this.pos = pos
        return value
      }
      scale *= 128
    }
    throw new WireError('malformed', `varint at offset ${this.pos} is longer than 8 bytes`)
  }

  zigzag(): number {
    const value = this.varint()
    // `& 1` sees the low 32 bits only, which hold the sign bit whatever the size.
    return (value % TWO_32) & 1 ? -(value + 1) / 2 : value / 2
  }

  /** A varint that counts or measures something still to come, checked before anyone allocates for it. */
  length(max: number, what: string): number {
    const value = this.varint()
    if (value > max) throw new WireError('too_large', `${what} is ${value}, at most ${max} allowed`)
    return value
  }

  /** `n` bytes as a view into the input. */
  bytes(n: number): Uint8Array {
    this.need(n)
    const out = this.buf.subarray(this.pos, this.pos + n)
    this.pos += n
    return out
  }

  block(): Uint8Array {
    return this.bytes(this.varint())
  }

  string(): string {
    return utf8Decode(this.block())
  }
}
