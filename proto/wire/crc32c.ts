/**
 * CRC-32C (Castagnoli), the checksum of the journal and of batches.
 *
 * Eight bytes a step over eight tables ("slicing by eight"): about 1 GB/s in V8, so that the checksum of a 40-byte sample
 * costs well under 0.1 µs and no native module is needed.
 * @see RFC 3720, appendix B.4 (polynomial and test vectors)
 */
const POLYNOMIAL_REVERSED = 0x82f63b78

const T: readonly Int32Array[] = buildTables()

function buildTables(): Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256))
  for (let n = 0; n < 256; n++) {
    let crc = n
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL_REVERSED : crc >>> 1
    tables[0]![n] = crc
  }
  for (let n = 0; n < 256; n++) {
    for (let k = 1; k < 8; k++) {
      const before = tables[k - 1]![n] as number
      tables[k]![n] = (before >>> 8) ^ (tables[0]![before & 255] as number)
    }
  }
  return tables
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = T as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
]

/**
 * The checksum of `buf[start..end)`, as an unsigned 32-bit number.
 * @param seed result of an earlier call, to go on with the next piece of the same message
 */
export function crc32c(buf: Uint8Array, start = 0, end: number = buf.length, seed = 0): number {
  let crc = ~seed
  let i = start
  for (const stop = end - 7; i < stop; i += 8) {
    const low = crc ^ (buf[i]! | (buf[i + 1]! << 8) | (buf[i + 2]! << 16) | (buf[i + 3]! << 24))
    crc =
      T7[low & 255]! ^
      T6[(low >>> 8) & 255]! ^
      T5[(low >>> 16) & 255]! ^
      T4[low >>> 24]! ^
      T3[buf[i + 4]!]! ^
      T2[buf[i + 5]!]! ^
      T1[buf[i + 6]!]! ^
      T0[buf[i + 7]!]!
  }
  for (; i < end; i++) crc = T0[(crc ^ buf[i]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}
