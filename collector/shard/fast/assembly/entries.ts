/** The index of label blocks: which series each leads to, and which one followed it last time. */
import { equal, hash, keep } from './memory'

export const NONE: i32 = -1

// An entry: a label block as sent, and the series it leads to.
const E_HASH: usize = 0
export const E_LENGTH: usize = 4
export const E_KEY: usize = 8
const E_FOLLOWS: usize = 12
export const E_SERIES: usize = 16
const E_SCOPE: usize = 20
export const E_REFS: usize = 24
const ENTRY_BYTES: usize = 28

let entries: usize = 0
let entryCount: i32 = 0
let entryCapacity: i32 = 0
let slots: usize = 0
let slotMask: u32 = 0
let previous: i32 = NONE

export function entryAt(entry: i32): usize {
  return entries + <usize>entry * ENTRY_BYTES
}

export function step(entry: i32): void {
  if (previous >= 0) store<i32>(entryAt(previous), entry, E_FOLLOWS)
  previous = entry
}

export function makeEntries(): void {
  entryCapacity = 1024
  entries = heap.alloc((entryCapacity as usize) * ENTRY_BYTES)
  makeSlots(2048)
}

/** Memory of the index, without the keys. */
export function entriesBytes(): usize {
  return (entryCapacity as usize) * ENTRY_BYTES + ((slotMask as usize) + 1) * 4
}

/** The entry that followed the previous one last time; NONE when there is none of this scope. */
export function expected(scope: u32): i32 {
  if (previous < 0) return NONE
  const entry = load<i32>(entryAt(previous), E_FOLLOWS)
  return entry >= 0 && load<u32>(entryAt(entry), E_SCOPE) == scope ? entry : NONE
}

/** Whether these bytes are an entry's key. */
export function isKey(entry: i32, at: usize, size: u32): bool {
  const e = entryAt(entry)
  return load<u32>(e, E_LENGTH) == size && equal(at, load<u32>(e, E_KEY), size)
}

export function lookUp(at: usize, size: u32, scope: u32): i32 {
  const h = hash(at, size, scope)
  let slot = h & slotMask
  let entry = load<i32>(slots + ((<usize>slot) << 2))
  while (entry >= 0) {
    const e = entryAt(entry)
    if (load<u32>(e, E_HASH) == h && load<u32>(e, E_SCOPE) == scope && isKey(entry, at, size)) break
    slot = (slot + 1) & slotMask
    entry = load<i32>(slots + ((<usize>slot) << 2))
  }
  return entry
}

/** The series of a label block, which becomes the previous one; -1 when the block is not known. */
export function find(at: usize, size: u32, scope: u32): i32 {
  const entry = lookUp(at, size, scope)
  if (entry < 0) return NONE
  step(entry)
  return load<i32>(entryAt(entry), E_SERIES)
}

/** Remembers a label block for a series; it becomes the previous one. @returns its entry */
export function remember(at: usize, size: u32, scope: u32, series: i32): i32 {
  if (entryCount == entryCapacity) grow()
  const key = keep(at, size)
  const entry = entryCount++
  const e = entryAt(entry)
  store<u32>(e, hash(at, size, scope), E_HASH)
  store<u32>(e, size, E_LENGTH)
  store<u32>(e, <u32>key, E_KEY)
  store<i32>(e, NONE, E_FOLLOWS)
  store<i32>(e, series, E_SERIES)
  store<u32>(e, scope, E_SCOPE)
  store<u32>(e, 0, E_REFS)
  place(entry)
  step(entry)
  return entry
}

export function entriesUsed(): i32 {
  return entryCount
}

export function keyOf(entry: i32): usize {
  return <usize>load<u32>(entryAt(entry), E_KEY)
}

export function keyLength(entry: i32): u32 {
  return load<u32>(entryAt(entry), E_LENGTH)
}

export function scopeOf(entry: i32): u32 {
  return load<u32>(entryAt(entry), E_SCOPE)
}

function place(entry: i32): void {
  let slot = load<u32>(entryAt(entry), E_HASH) & slotMask
  while (load<i32>(slots + ((<usize>slot) << 2)) >= 0) slot = (slot + 1) & slotMask
  store<i32>(slots + ((<usize>slot) << 2), entry)
}

function grow(): void {
  const capacity = entryCapacity * 2
  entries = heap.realloc(entries, <usize>capacity * ENTRY_BYTES)
  const before = slots
  makeSlots((slotMask + 1) * 2)
  heap.free(before)
  // Last: where there was no memory for either, the index is as it was.
  entryCapacity = capacity
  for (let entry = 0; entry < entryCount; entry++) place(entry)
}

function makeSlots(length: u32): void {
  const bytes = <usize>length * 4
  slots = heap.alloc(bytes)
  slotMask = length - 1
  memory.fill(slots, 0xff, <usize>length * 4)
}
