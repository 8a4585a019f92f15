/**
 * Zstandard, reading only; the only file that imports `fzstd`. Every frame's header is read first, since a decoder takes as much memory
 * for its window as that asks for.
 * @see https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
 */
import { Decompress } from 'fzstd'
import { WireError } from './wire-error.ts'

const MAGIC = 0xfd2fb528
const SINGLE_SEGMENT = 0x20
/** Java's library uses no larger one below level 20. */
const WINDOW_MAX = 8 * 1024 * 1024
/** What is decoded is looked at after so many bytes that go in. */
const PIECE = 16 * 1024

/**
 * @param maxBytes most that it may decode to
 * @throws WireError `malformed`, `truncated`, `too_large` or `unsupported`
 */
export function decodeZstd(bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  checkHeader(bytes, maxBytes)
  const parts: Uint8Array[] = []
  let size = 0
  let whole = false
  try {
    const decoder = new Decompress((part, final) => {
      size += part.length
      if (size > maxBytes) throw new WireError('too_large', `zstd: more than ${maxBytes} bytes`)
      parts.push(part)
      whole = final === true
    })
    for (let at = 0; at < bytes.length; at += PIECE)
      decoder.push(bytes.subarray(at, at + PIECE), at + PIECE >= bytes.length)
  } catch (error) {
    if (error instanceof WireError) throw error
    throw new WireError('malformed', `zstd: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (!whole) throw new WireError('truncated', 'zstd: the frame is cut off')
  const out = new Uint8Array(size)
  let pos = 0
  for (const part of parts) {
    out.set(part, pos)
    pos += part.length
  }
  return out
}

function checkHeader(bytes: Uint8Array, maxBytes: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 6) throw new WireError('truncated', 'zstd: the frame is cut off')
  if (view.getUint32(0, true) !== MAGIC) throw new WireError('malformed', 'zstd: the bytes do not begin with a frame')
  const descriptor = bytes[4]!
  if ((descriptor & SINGLE_SEGMENT) === 0) {
    const exponent = bytes[5]! >> 3
    const base = 2 ** (10 + exponent)
    const window = base + (base / 8) * (bytes[5]! & 7)
    if (window > WINDOW_MAX) throw new WireError('too_large', `zstd: the window of ${window} bytes is too large`)
    return
  }
  const at = 5 + [0, 1, 2, 4][descriptor & 3]!
  const length = [1, 2, 4, 8][descriptor >> 6]!
  if (bytes.length < at + length) throw new WireError('truncated', 'zstd: the frame is cut off')
  const content =
    length === 1
      ? bytes[at]!
      : length === 2
        ? view.getUint16(at, true) + 256
        : length === 4
          ? view.getUint32(at, true)
          : Number(view.getBigUint64(at, true))
  if (content > maxBytes)
    throw new WireError(
      'too_large',
      `zstd: the frame says that it decodes to ${content} bytes, at most ${maxBytes} allowed`,
    )
}
