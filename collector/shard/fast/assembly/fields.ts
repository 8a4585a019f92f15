/** Fields of protobuf, as far as remote write has them. */

export const TAG_SERIES: u32 = 0x0a
export const TAG_LABEL: u32 = 0x0a
export const TAG_SAMPLE: u32 = 0x12
export const TAG_VALUE: u32 = 0x09
export const TAG_TIME: u32 = 0x10

// Remote write 2.0.
export const TAG_SYMBOL: u32 = 0x22
export const TAG_SERIES_2: u32 = 0x2a
export const TAG_REFS: u32 = 0x0a
export const TAG_METADATA: u32 = 0x2a
export const TAG_START: u32 = 0x18
export const TAG_TYPE: u32 = 0x08
export const TAG_HELP: u32 = 0x18
export const TAG_UNIT: u32 = 0x20

export let number: u32 = 0
export let nestedAt: usize = 0

/** Reads the length at p. @returns the end of what it measures, and where that begins in `nestedAt`; 0: beyond the limit */
export function nestedEnd(p: usize, limit: usize): usize {
  const q = smallNumber(p, limit)
  if (q == 0 || (number as usize) > limit - q) return 0
  nestedAt = q
  return q + (number as usize)
}

/** Reads a number of up to four bytes at q into `number`. @returns where it ends; 0: beyond the limit, or longer */
export function smallNumber(at: usize, limit: usize): usize {
  let q = at
  number = 0
  for (let shift: u32 = 0; shift < 28; shift += 7) {
    if (q >= limit) return 0
    const byte = load<u8>(q++) as u32
    number |= (byte & 127) << shift
    if (byte < 128) return q
  }
  return 0
}

/** Behind the label fields that begin at q; 0 when one of them leaves the message. */
export function pastLabels(from: usize, close: usize): usize {
  let q = from
  while (q < close && (load<u8>(q) as u32) == TAG_LABEL) {
    q = nestedEnd(q + 1, close)
    if (q == 0) return 0
  }
  return q
}
