/** Texts that stand in labels of known series, by number: what two requests of 2.0 number differently is the same here. */
import { equal, hash, keep } from './memory'

export const UNKNOWN_TEXT: u32 = 0xffffffff

// A text that stands in labels of known series; its number is its place, from 1 on.
const T_HASH: usize = 0
const T_AT: usize = 4
const T_LENGTH: usize = 8
const TEXT_BYTES: usize = 12

let texts: usize = 0
let textCount: u32 = 0
let textCapacity: u32 = 0
let textSlots: usize = 0
let textMask: u32 = 0

/** Memory of the index, without the texts. */
export function textsBytes(): usize {
  return (textCapacity as usize) * (TEXT_BYTES + 8)
}

/** The number of a text; UNKNOWN_TEXT where it stands in no label of a known series. */
export function textOf(at: usize, size: u32): u32 {
  if (textCount == 0) return UNKNOWN_TEXT
  const h = hash(at, size, 0)
  let slot = h & textMask
  let text = load<u32>(textSlots + ((slot as usize) << 2))
  while (text != 0) {
    const t = texts + ((text - 1) as usize) * TEXT_BYTES
    if (load<u32>(t, T_HASH) == h && load<u32>(t, T_LENGTH) == size && equal(at, load<u32>(t, T_AT), size)) return text
    slot = (slot + 1) & textMask
    text = load<u32>(textSlots + ((slot as usize) << 2))
  }
  return UNKNOWN_TEXT
}

/** The number of a text, from now on. */
export function learnText(at: usize, size: u32): u32 {
  const known = textOf(at, size)
  if (known != UNKNOWN_TEXT) return known
  if (textCount == textCapacity) growTexts()
  const key = keep(at, size)
  const t = texts + (textCount as usize) * TEXT_BYTES
  store<u32>(t, hash(at, size, 0), T_HASH)
  store<u32>(t, key as u32, T_AT)
  store<u32>(t, size, T_LENGTH)
  textCount++
  placeText(textCount)
  return textCount
}

function placeText(text: u32): void {
  let slot = load<u32>(texts + ((text - 1) as usize) * TEXT_BYTES, T_HASH) & textMask
  while (load<u32>(textSlots + ((slot as usize) << 2)) != 0) slot = (slot + 1) & textMask
  store<u32>(textSlots + ((slot as usize) << 2), text)
}

function growTexts(): void {
  const capacity = textCapacity == 0 ? 1024 : textCapacity * 2
  const bytes = (capacity as usize) * TEXT_BYTES
  texts = textCapacity == 0 ? heap.alloc(bytes) : heap.realloc(texts, bytes)
  const slotBytes = (capacity as usize) * 8
  const before = textSlots
  textSlots = heap.alloc(slotBytes)
  memory.fill(textSlots, 0, slotBytes)
  textMask = capacity * 2 - 1
  if (before != 0) heap.free(before)
  textCapacity = capacity
  for (let text: u32 = 1; text <= textCount; text++) placeText(text)
}
