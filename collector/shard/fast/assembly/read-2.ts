/** Remote write 2.0. A series is known by its references (refs.ts); where it is not, its labels are written out as 1.0 would, and looked up. */
import { beginReading, COLUMN_LENGTH, endReading, meetUnknown, takeSample } from './columns'
import { E_SERIES, entryAt, expected, isKey, lookUp, NONE, step } from './entries'
import {
  nestedAt,
  nestedEnd,
  number,
  smallNumber,
  TAG_HELP,
  TAG_LABEL,
  TAG_METADATA,
  TAG_REFS,
  TAG_SAMPLE,
  TAG_SERIES_2,
  TAG_SYMBOL,
  TAG_TYPE,
  TAG_UNIT,
} from './fields'
import { copyText, SLACK } from './memory'
import { addSymbol, bytesOf, forgetSymbols, isSaid, makeSymbols, S_LENGTH, say, symbolAt, symbolCount } from './refs'
import { outputAt } from './snappy'

const BLOCK_BYTES: usize = 1 << 14
const METADATA_BYTES: usize = 24

let labelBytesLeft: f64 = 0
let blockAt: usize = 0
let metadataAt: usize = 0
let metadataCount: u32 = 0

/**
 * Reads the symbols of the remote write 2.0 message in output[0, end): they may stand anywhere in it.
 * @param labelBytesMax most that the labels of all series may take once written out, with twelve bytes for each text
 * @returns whether the message is of symbols and series only
 */
export function open2(end: u32, labelBytesMax: f64): bool {
  let p = outputAt
  const limit = outputAt + (end as usize)
  forgetSymbols()
  labelBytesLeft = labelBytesMax
  if (metadataAt == 0) {
    makeSymbols()
    blockAt = heap.alloc(BLOCK_BYTES + SLACK)
    metadataAt = heap.alloc((COLUMN_LENGTH as usize) * METADATA_BYTES) // last: it says that there are all three
  }
  while (p < limit) {
    const tag = load<u8>(p) as u32
    if (tag != TAG_SYMBOL && tag != TAG_SERIES_2) return false
    p = nestedEnd(p + 1, limit)
    if (p == 0) return false
    if (tag == TAG_SERIES_2) continue
    if (!addSymbol(nestedAt, p)) return false
  }
  return true
}

/**
 * Reads on in the message after {@link open2}: series that are known, with samples and metadata only, into the columns.
 * @returns as {@link read1}
 */
export function read2(at: u32, end: u32, scope: u32): u32 {
  let p = outputAt + (at as usize)
  const limit = outputAt + (end as usize)
  let n: u32 = 0
  let m: u32 = 0
  beginReading()
  while (p < limit) {
    const tag = load<u8>(p) as u32
    const close = nestedEnd(p + 1, limit)
    if (tag == TAG_SYMBOL) {
      p = close
      continue
    }
    let q = nestedAt
    if (q == close || (load<u8>(q) as u32) != TAG_REFS) break
    const refsEnd = nestedEnd(q + 1, close)
    if (refsEnd == 0) break
    const refsAt = nestedAt
    const left = labelBytesLeft
    let size: i32 = 0
    let entry = expected(scope)
    if (entry >= 0 && isSaid(entry, refsAt, refsEnd)) labelBytesLeft -= bytesOf(entry)
    else {
      size = writeBlock(refsAt, refsEnd)
      if (size < 0 || labelBytesLeft < 0) break
      if (entry < 0 || !isKey(entry, blockAt, size as u32)) entry = lookUp(blockAt, size as u32, scope)
      if (entry >= 0) say(entry, refsAt, refsEnd, left - labelBytesLeft)
    }
    q = refsEnd
    const series = entry < 0 ? NONE : load<i32>(entryAt(entry), E_SERIES)
    const samplesBefore = n
    const metadataBefore = m
    while (q < close) {
      const field = load<u8>(q) as u32
      let next: usize = 0
      if (field == TAG_SAMPLE) {
        next = takeSample(q + 1, close, series, n, true)
        n++
      } else if (field == TAG_METADATA) {
        next = nestedEnd(q + 1, close)
        if (next != 0) {
          const said = takeMetadata(nestedAt, next, series, m)
          if (said < 0) next = 0
          else m += said as u32
        }
      }
      if (next == 0) break
      q = next
    }
    const plain = q == close && labelBytesLeft >= 0
    if (!plain || entry < 0) {
      n = samplesBefore
      m = metadataBefore
      labelBytesLeft = left
      // A series is made known only by a message that can be read.
      if (plain) meetUnknown(blockAt, size as u32)
      break
    }
    step(entry)
    p = close
  }
  endReading(n)
  metadataCount = m
  return (p - outputAt) as u32
}

/** Metadata that the last reading of 2.0 put there: series, type, help and unit as offset and length, a word each. */
export function metadataColumn(): usize {
  return metadataAt
}

export function metadataPushed(): u32 {
  return metadataCount
}

/** Metadata of a series. @returns how many places of the column it took, one or none; -1: it is not plain, or there is no room */
function takeMetadata(at: usize, end: usize, series: i32, m: u32): i32 {
  if (m >= COLUMN_LENGTH) return -1
  let type: u32 = 0
  let help: u32 = 0
  let unit: u32 = 0
  let q = at
  while (q < end) {
    const tag = load<u8>(q++) as u32
    q = smallNumber(q, end)
    if (q == 0) return -1
    if (tag == TAG_TYPE) type = number
    else if (tag == TAG_HELP) help = number
    else if (tag == TAG_UNIT) unit = number
    else return -1
  }
  if (type == 0 && help == 0 && unit == 0) return 0
  if ((help != 0 && help >= symbolCount) || (unit != 0 && unit >= symbolCount)) return -1
  const out = metadataAt + (m as usize) * METADATA_BYTES
  const helpSymbol = symbolAt(help)
  const unitSymbol = symbolAt(unit)
  const helpBytes = help == 0 ? 0 : load<u32>(helpSymbol, S_LENGTH)
  const unitBytes = unit == 0 ? 0 : load<u32>(unitSymbol, S_LENGTH)
  store<i32>(out, series)
  store<u32>(out, type, 4)
  store<u32>(out, help == 0 ? 0 : load<u32>(helpSymbol) - (outputAt as u32), 8)
  store<u32>(out, helpBytes, 12)
  store<u32>(out, unit == 0 ? 0 : load<u32>(unitSymbol) - (outputAt as u32), 16)
  store<u32>(out, unitBytes, 20)
  labelBytesLeft -= (helpBytes + unitBytes) as f64
  return 1
}

/** Writes the label fields of the references in [at, end) as 1.0 would. @returns their length; -1: they are not plain */
function writeBlock(at: usize, end: usize): i32 {
  let q = at
  let d = blockAt
  const last = blockAt + BLOCK_BYTES
  while (q < end) {
    q = smallNumber(q, end)
    if (q == 0 || q == end || number >= symbolCount) return -1
    const name = symbolAt(number)
    q = smallNumber(q, end)
    if (q == 0 || number >= symbolCount) return -1
    const value = symbolAt(number)
    const nameBytes = load<u32>(name, S_LENGTH) as usize
    const valueBytes = load<u32>(value, S_LENGTH) as usize
    labelBytesLeft -= (nameBytes + valueBytes + 24) as f64
    // Longer texts, and empty ones, are for the portable reader.
    const size = nameBytes + valueBytes + 4
    if (nameBytes == 0 || nameBytes > 127 || valueBytes == 0 || valueBytes > 127 || d + size + 3 > last) return -1
    store<u8>(d++, TAG_LABEL)
    if (size > 127) store<u8>(d++, (size & 127) | 128)
    store<u8>(d++, size > 127 ? size >> 7 : size)
    store<u8>(d, TAG_LABEL)
    store<u8>(d, nameBytes, 1)
    copyText(d + 2, load<u32>(name), nameBytes)
    d += 2 + nameBytes
    store<u8>(d, TAG_SAMPLE)
    store<u8>(d, valueBytes, 1)
    copyText(d + 2, load<u32>(value), valueBytes)
    d += 2 + valueBytes
  }
  return (d - blockAt) as i32
}
