/** 64-bit varints, without the objects that protobufjs makes for them. */
import type { Reader } from './protobuf.ts'
import { WireError } from './wire-error.ts'

/** An int64 as a number, rounded beyond 2^53. */
export function readInt64(reader: Reader): number {
  readWords(reader)
  return high * 4294967296 + (low >>> 0)
}

/** A uint64, exact. */
export function readUint64(reader: Reader): bigint {
  readWords(reader)
  return high === 0 ? BigInt(low >>> 0) : (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

/** A sint64 (zigzag), exact. */
export function readSint64(reader: Reader): bigint {
  const raw = readUint64(reader)
  return (raw & 1n) === 0n ? raw >> 1n : -(raw >> 1n) - 1n
}

let low = 0
let high = 0

function readWords(reader: Reader): void {
  const buf = reader.buf
  let pos = reader.pos
  low = 0
  high = 0
  for (let i = 0; i < 10; i++) {
    if (pos >= reader.len) throw new WireError('truncated', `a varint at offset ${reader.pos} has no end`)
    const byte = buf[pos++]!
    // Groups 0-3 fill bits 0-27; group 4 straddles the halves.
    if (i < 4) low |= (byte & 127) << (7 * i)
    else if (i === 4) {
      low |= (byte & 15) << 28
      high |= (byte & 127) >>> 4
    } else high |= (byte & 127) << (7 * i - 32)
    if (byte < 128) {
      reader.pos = pos
      return
    }
  }
  throw new WireError('malformed', `a varint at offset ${reader.pos} is longer than 10 bytes`)
}
