/** The body as it came, and as the message in it: a snappy block. */
import { roomFor, SLACK } from './memory'

const INPUT_BYTES_MAX: usize = 4 << 20
const OUTPUT_BYTES_MAX: usize = 16 << 20

export let inputAt: usize = 0
let inputBytes: usize = 0
export let outputAt: usize = 0
let outputBytes: usize = 0

/** Where to put a body of this size; 0: it is too large for here. */
export function input(size: u32): usize {
  if (<usize>size > INPUT_BYTES_MAX) return 0
  if (<usize>size > inputBytes) {
    const before = inputAt
    inputAt = 0
    inputBytes = 0
    heap.free(before)
    const room = roomFor(<usize>size)
    inputAt = heap.alloc(room + SLACK)
    inputBytes = room
  }
  return inputAt
}

export function output(): usize {
  return outputAt
}

/** Room for so many bytes in the output; what was there may be gone. */
export function reserveOutput(size: usize): void {
  if (size <= outputBytes) return
  const before = outputAt
  outputAt = 0
  outputBytes = 0
  heap.free(before)
  const room = roomFor(size)
  outputAt = heap.alloc(room + SLACK)
  outputBytes = room
}

/**
 * Decodes the snappy block in the input into the output.
 * @returns the decoded length; -1 for anything but one whole block of at most `max` bytes
 */
export function unsnap(length: u32, max: u32): i32 {
  let s = inputAt
  const end = inputAt + <usize>length
  let stated: u64 = 0
  for (let shift: u64 = 0; ; shift += 7) {
    if (s >= end || shift > 28) return -1
    const byte = <u64>load<u8>(s++)
    stated |= (byte & 127) << shift
    if (byte < 128) break
  }
  if (stated > (max as u64) || stated > (OUTPUT_BYTES_MAX as u64)) return -1
  reserveOutput(stated as usize)
  const first = outputAt
  const last = outputAt + <usize>stated
  let d = first
  while (s < end) {
    const tag = <u32>load<u8>(s)
    const kind = tag & 3
    if (kind == 0) {
      let size: usize = <usize>tag >> 2
      s++
      if (size < 60) size++
      else {
        const extra = size - 59
        if (s + extra > end) return -1
        const stored = <usize>load<u32>(s)
        size = (extra == 4 ? stored : stored & ((1 << (<usize>(extra << 3))) - 1)) + 1
        if (size == 0) return -1
        s += extra
      }
      if (size > end - s || size > last - d) return -1
      if (size <= 64) copy64(d, s)
      else memory.copy(d, s, size)
      d += size
      s += size
      continue
    }
    let size: usize
    let offset: usize
    if (kind == 2) {
      size = 1 + (<usize>tag >> 2)
      offset = <usize>load<u16>(s, 1)
      s += 3
    } else if (kind == 1) {
      size = 4 + ((<usize>tag >> 2) & 7)
      offset = ((<usize>tag >> 5) << 8) | <usize>load<u8>(s, 1)
      s += 2
    } else {
      size = 1 + (<usize>tag >> 2)
      offset = <usize>load<u32>(s, 1)
      s += 5
    }
    if (s > end || offset == 0 || offset > d - first || size > last - d) return -1
    const from = d - offset
    if (offset >= 16) copy64(d, from)
    else if (offset >= 8) {
      for (let i: usize = 0; i < size; i += 8) store<u64>(d + i, load<u64>(from + i))
    } else {
      for (let i: usize = 0; i < size; i++) store<u8>(d + i, load<u8>(from + i))
    }
    d += size
  }
  return d == last ? <i32>stated : -1
}

/**
 * Copies the 64 bytes that an element is at most, in order: what is too much is written over by the next one. A branch that is not
 * foreseen costs more than all of it.
 */
function copy64(to: usize, from: usize): void {
  v128.store(to, v128.load(from))
  v128.store(to, v128.load(from, 16), 16)
  v128.store(to, v128.load(from, 32), 32)
  v128.store(to, v128.load(from, 48), 48)
}
