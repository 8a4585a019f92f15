/** Memory that stays, and bytes in it: compared, hashed, copied. */

export const SLACK: usize = 128
const ARENA_CHUNK: usize = 1 << 18

let seed: u64 = 0
let secret1: u64 = 0
let secret2: u64 = 1
let secret3: u64 = 1
export let keyBytes: f64 = 0

/** Memory that stays. What is read in turn stands in turn, in an arena of its own: processors read ahead. */
@unmanaged
class Arena {
  at: usize
  end: usize
}

const keys = new Arena()
const lists = new Arena()

export function roomFor(size: usize): usize {
  let room: usize = 4096
  while (room < size) room *= 2
  return room
}

/** Copies bytes to where they stay. */
export function keep(at: usize, size: u32): usize {
  const key = reserve(keys, size as usize)
  memory.copy(key, at, size as usize)
  return key
}

export function reserveList(size: usize): usize {
  return reserve(lists, size)
}

/** On a boundary of eight bytes. */
function reserve(arena: Arena, size: usize): usize {
  const length = (size + 7) & ~7
  if (arena.at + length > arena.end) {
    const chunk = length > ARENA_CHUNK ? length : ARENA_CHUNK
    const at = heap.alloc(chunk)
    arena.at = at
    arena.end = at + chunk
    keyBytes += <f64>chunk
  }
  const reserved = arena.at
  arena.at += length
  return reserved
}

export function equal(a: usize, b: usize, size: u32): bool {
  const length = <usize>size
  // Branches cost more than what they save: of keys that are looked at, nearly all are equal. The last ones overlap those before.
  if (length >= 64) {
    const end = length - 64
    for (let i: usize = 0; i < end; i += 64) if (v128.any_true(differs64(a + i, b + i))) return false
    return !v128.any_true(differs64(a + end, b + end))
  }
  if (length >= 16) {
    const end = length - 16
    for (let i: usize = 0; i < end; i += 16) if (v128.any_true(differs(a + i, b + i))) return false
    return !v128.any_true(differs(a + end, b + end))
  }
  for (let i: usize = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false
  return true
}

function differs64(a: usize, b: usize): v128 {
  const one = v128.or(differs(a, b), differs(a + 16, b + 16))
  return v128.or(one, v128.or(differs(a + 32, b + 32), differs(a + 48, b + 48)))
}

function differs(a: usize, b: usize): v128 {
  return v128.xor(v128.load(a), v128.load(b))
}

/** To be called once, before anything is hashed. */
export function seedHash(low: u32, high: u32): void {
  seed = ((high as u64) << 32) | (low as u64)
  secret1 = nextSecret()
  secret2 = nextSecret() | 1
  secret3 = nextSecret() | 1
}

/** Secrets are in every step: differences that cancel out whatever the seed is do not exist for a sender to find. */
export function hash(at: usize, size: u32, scope: u32): u32 {
  const length = size as usize
  let h: u64 = seed ^ ((size as u64) << 32) ^ (scope as u64)
  let i: usize = 0
  for (; i + 8 <= length; i += 8) h = mixed(h, load<u64>(at + i))
  let rest: u64 = 0
  for (let shift: u64 = 0; i < length; i++, shift += 8) rest |= (load<u8>(at + i) as u64) << shift
  h = mixed(h, rest)
  h ^= h >> 29
  h *= 0xbf58476d1ce4e5b9
  return (h ^ (h >> 32)) as u32
}

function mixed(h: u64, word: u64): u64 {
  return rotl<u64>(h ^ ((word ^ secret1) * secret2), 29) * secret3
}

/** splitmix64 */
function nextSecret(): u64 {
  seed += 0x9e3779b97f4a7c15
  let z = seed
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb
  return z ^ (z >> 31)
}

/** Most texts are short. */
export function copyText(to: usize, from: usize, size: usize): void {
  v128.store(to, v128.load(from))
  if (size > 16) memory.copy(to + 16, from + 16, size - 16)
}
