/**
 * Snappy block format behind a small interface; the only file that imports `snappyjs`.
 *
 * `snappyjs` trusts its input: a forged literal length sends it into an endless loop, a cut-off copy is read as zeros, and
 * a short block is handed out as if it were whole. So every block is walked first, element by element, without copying a
 * byte: afterwards it is known to stay inside itself and to decode to exactly the length that it states, and only then
 * is memory taken for it.
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 */
import { compress, uncompress } from 'snappyjs'
import { ByteWriter } from './bytes.ts'
import { WireError } from './wire-error.ts'

/** One implementation of the block format. */
export interface Snappy {
  /**
   * @param maxBytes most that the decoded data may take; compared with the block's own statement before allocating
   * @throws WireError `malformed`, `truncated` or `too_large`, for every input that is not one whole block
   */
  uncompress(block: Uint8Array, maxBytes: number): Uint8Array
  compress(data: Uint8Array): Uint8Array
}

/** `snappyjs` behind the check: pure JavaScript, runs everywhere. */
export const portableSnappy: Snappy = {
  uncompress(block, maxBytes) {
    checkBlock(block, maxBytes)
    return uncompress(plain(block), maxBytes)
  },
  compress(data) {
    return compress(plain(data))
  },
}

/** Pieces compressed one by one are one block: a preamble with the length of all, and the elements of each. */
export class SnappyPieces {
  readonly #snappy: Snappy
  readonly #elements: Uint8Array[] = []
  #length = 0

  constructor(snappy: Snappy) {
    this.#snappy = snappy
  }

  add(piece: Uint8Array): void {
    if (piece.length === 0) return
    const block = this.#snappy.compress(piece)
    let preamble = 1
    while (block[preamble - 1]! > 127) preamble++
    this.#elements.push(block.subarray(preamble))
    this.#length += piece.length
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(this.#elements.reduce((sum, e) => sum + e.length, 16))
    out.varint(this.#length)
    for (const elements of this.#elements) out.bytes(elements)
    return out.take()
  }
}

/**
 * Walks a block and proves that it decodes to exactly what it says.
 * @returns the decoded length in bytes
 */
export function checkBlock(block: Uint8Array, maxBytes: number): number {
  let pos = 0
  let length = 0
  for (let shift = 0; ; shift += 7) {
    const byte = block[pos++]
    if (byte === undefined) throw new WireError('truncated', 'snappy: the length preamble is cut off')
    if (shift === 28 && byte > 15) throw new WireError('malformed', 'snappy: the length preamble is over 32 bits')
    length += (byte & 127) * 2 ** shift
    if (byte < 128) break
  }
  if (length > maxBytes) {
    throw new WireError(
      'too_large',
      `snappy: the block says that it decodes to ${length} bytes, at most ${maxBytes} allowed`,
    )
  }
  const end = block.length
  let out = 0
  while (pos < end) {
    const tag = block[pos++]!
    let size: number
    let offset = 0
    switch (tag & 3) {
      case 0: {
        size = (tag >>> 2) + 1
        if (size > 60) {
          const extra = size - 60
          if (pos + extra > end) throw new WireError('truncated', 'snappy: a literal length is cut off')
          size = 1
          for (let i = 0; i < extra; i++) size += block[pos + i]! * 2 ** (8 * i)
          pos += extra
        }
        pos += size
        break
      }
      case 1:
        size = ((tag >>> 2) & 7) + 4
        offset = ((tag >>> 5) << 8) | (block[pos] ?? 0)
        pos += 1
        break
      case 2:
        size = (tag >>> 2) + 1
        offset = (block[pos] ?? 0) | ((block[pos + 1] ?? 0) << 8)
        pos += 2
        break
      default:
        size = (tag >>> 2) + 1
        offset =
          ((block[pos] ?? 0) |
            ((block[pos + 1] ?? 0) << 8) |
            ((block[pos + 2] ?? 0) << 16) |
            ((block[pos + 3] ?? 0) << 24)) >>>
          0
        pos += 4
    }
    if (pos > end) throw new WireError('truncated', 'snappy: the block ends inside an element')
    if ((tag & 3) !== 0 && (offset === 0 || offset > out)) {
      throw new WireError('malformed', `snappy: a copy reaches back ${offset} bytes where only ${out} exist`)
    }
    out += size
    if (out > length)
      throw new WireError('malformed', `snappy: the block decodes to more than the ${length} bytes it states`)
  }
  if (out !== length) throw new WireError('truncated', `snappy: the block decodes to ${out} bytes and states ${length}`)
  return length
}

/** snappyjs answers a Buffer to a Buffer, from Node's pool; a plain view keeps results our own. */
function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
