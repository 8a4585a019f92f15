/**
 * The sample path's core in WebAssembly (AssemblyScript): snappy, remote write and the index of label blocks in one linear
 * memory, so that a known series costs neither an object nor a copy.
 *
 *     input ──unsnap──▶ output ──read1──▶ columns: series, time, value
 *                                 │
 *                                 └─ the first message that is not plain (unknown labels, other fields, damage): its offset, for
 *                                    the portable reader, which decides what it is
 *
 * Whatever is read here, the portable reader would read the same; whatever is doubtful is left to it. Lengths are compared with
 * what is left before they are believed; buffers have slack for loads and stores of 64 bytes past their end.
 *
 * Where memory cannot grow, an allocation traps: what says how large a buffer is, is set behind it.
 */
import { makeColumns } from './columns'
import { entriesBytes, makeEntries } from './entries'
import { keyBytes, SLACK, seedHash } from './memory'
import { textsBytes } from './texts'

export { columnLength, count, seriesColumn, timesColumn, unknownKey, unknownSize, valuesColumn } from './columns'
export { entriesUsed, find, keyLength, keyOf, remember, scopeOf } from './entries'
export { read1 } from './read-1'
export { metadataColumn, metadataPushed, open2, read2 } from './read-2'
export { readBatch } from './read-batch'
export { input, output, unsnap } from './snappy'

/** A staging area of this size stays; one label block may be as large as a body. */
const STAGING_KEPT: usize = 1 << 16

let stagingAt: usize = 0
let stagingBytes: usize = 0

/** To be called once, first. */
export function init(seedLow: u32, seedHigh: u32): void {
  seedHash(seedLow, seedHigh)
  makeColumns()
  makeEntries()
}

/** Memory for keys and their index, bytes. */
export function indexBytes(): f64 {
  return keyBytes + ((entriesBytes() + textsBytes()) as f64)
}

/** Room for so many bytes that are to be looked up or remembered. More than is usual is kept until the next call only. */
export function staging(size: u32): usize {
  const room = max(<usize>size, STAGING_KEPT)
  if (room != stagingBytes) {
    const before = stagingAt
    stagingAt = 0
    stagingBytes = 0
    heap.free(before)
    stagingAt = heap.alloc(room + SLACK)
    stagingBytes = room
  }
  return stagingAt
}
