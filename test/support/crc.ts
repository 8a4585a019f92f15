/** A cyclic redundancy check bit by bit, as it is defined. @param polynomial reversed */
export function crcBitwise(data: Uint8Array, polynomial: number): number {
  let crc = 0xffffffff
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
  }
  return ~crc >>> 0
}
