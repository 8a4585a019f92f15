/** What a reading gives out: samples in columns, and where it met labels that nobody knows. */
import { TAG_START, TAG_TIME, TAG_VALUE } from './fields'

export const COLUMN_LENGTH: u32 = 1 << 16

/** A value, and a time of six bytes: what lies between 1971 and 2109. */
const USUAL_BYTES: usize = 16
const SIX_MORE: u64 = 0x808080808080
const FIVE_MORE: u64 = 0x8080808080

let seriesAt: usize = 0
let timesAt: usize = 0
let valuesAt: usize = 0
let pushed: u32 = 0
let unknownAt: usize = 0
let unknownBytes: u32 = 0

export function seriesColumn(): usize {
  return seriesAt
}

export function timesColumn(): usize {
  return timesAt
}

export function valuesColumn(): usize {
  return valuesAt
}

export function columnLength(): u32 {
  return COLUMN_LENGTH
}

export function makeColumns(): void {
  seriesAt = heap.alloc((COLUMN_LENGTH as usize) * 4)
  timesAt = heap.alloc((COLUMN_LENGTH as usize) * 8)
  valuesAt = heap.alloc((COLUMN_LENGTH as usize) * 8)
}

export function beginReading(): void {
  unknownAt = 0
}

/** A reading ends at this label block, since nobody knows it. */
export function meetUnknown(at: usize, size: u32): void {
  unknownAt = at
  unknownBytes = size
}

export function endReading(samples: u32): void {
  pushed = samples
}

/** Samples that the last reading put into the columns. */
export function count(): u32 {
  return pushed
}

/** Where the label block stands that ended the last reading since nobody knows it; 0: something else did. */
export function unknownKey(): usize {
  return unknownAt
}

export function unknownSize(): u32 {
  return unknownBytes
}

/**
 * A sample whose length stands at q, into place n of the columns.
 * @returns its end; 0: it is not plain, or there is no room
 */
export function takeSample(q: usize, close: usize, series: i32, n: u32, withStart: bool): usize {
  const size = load<u8>(q) as usize
  const stop = q + 1 + size
  if (size >= 128 || stop > close || n >= COLUMN_LENGTH) return 0
  let r = q + 1
  if (size == USUAL_BYTES && load<u8>(r) == TAG_VALUE && load<u8>(r, 9) == TAG_TIME) {
    const six = load<u64>(r, 10)
    if ((six & SIX_MORE) == FIVE_MORE) {
      putSample(n, series, varint6(six) as f64, load<u64>(r, 1))
      return stop
    }
  }
  let bits: u64 = 0
  let time: u64 = 0
  while (r < stop) {
    const tag = load<u8>(r++) as u32
    if (tag == TAG_VALUE) {
      if (r + 8 > stop) return 0
      bits = load<u64>(r)
      r += 8
    } else if (tag == TAG_TIME || (withStart && tag == TAG_START)) {
      // Seven bytes are 49 bits: more than any time of use, and exact as a double.
      let value: u64 = 0
      let shift: u64 = 0
      let byte: u64 = 128
      while (byte >= 128 && r < stop && shift < 49) {
        byte = load<u8>(r++) as u64
        value |= (byte & 127) << shift
        shift += 7
      }
      if (byte >= 128) return 0
      if (tag == TAG_TIME) time = value
      else if (value != 0) return 0
    } else return 0
  }
  putSample(n, series, time as f64, bits)
  return stop
}

/** The value of a varint of six bytes, from the bytes as an integer; what is above them is left away. */
function varint6(bytes: u64): u64 {
  const seven = bytes & 0x7f7f7f7f7f7f
  const fourteen = (seven & 0x007f007f007f) | ((seven & 0x7f007f007f00) >> 1)
  return (fourteen & 0x3fff) | ((fourteen >> 2) & 0xfffc000) | ((fourteen >> 4) & 0x3fff0000000)
}

/** A sample in place n of the columns. */
export function putSample(n: u32, series: i32, time: f64, bits: u64): void {
  store<i32>(seriesAt + ((n as usize) << 2), series)
  store<f64>(timesAt + ((n as usize) << 3), time)
  store<u64>(valuesAt + ((n as usize) << 3), bits)
}
