/**
 * Labels of remote write 2.0: references to the symbols of a request. What a series' labels are is kept as the numbers of their texts
 * (texts.ts), which are the same in all requests, so that a series is known without a look at its texts.
 *
 * Series that follow each other share most of their labels. Where the references are those of the series before but for some, and the
 * texts are those of the series before but for the same ones, only these have to be looked up.
 */
import { E_REFS, entryAt } from './entries'
import { number, smallNumber } from './fields'
import { reserveList } from './memory'
import { learnText, textOf, UNKNOWN_TEXT } from './texts'

// A symbol of the request in hand: where it stands, its length, and the number of its text (NOT_ASKED, or UNKNOWN_TEXT).
export const S_LENGTH: usize = 4
const S_TEXT: usize = 8
const SYMBOL_SHIFT: usize = 4
const NOT_ASKED: u32 = 0
const SYMBOLS_MAX: u32 = 1 << 16

// What an entry's labels are: how many references, the list that was before it and which texts are not as in that, a bit each (a list
// stays as it is), what they take of the label bytes, then the texts' numbers, zeros up to 16 bytes.
const R_BEFORE: usize = 4
const R_CHANGED: usize = 8
const R_BYTES: usize = 16
const R_TEXTS: usize = 24

/** Lists stand on boundaries of eight bytes. */
const NO_LIST: u32 = 1
/** A bit for each. */
const COMPARED_MAX: u32 = 64

export let symbolCount: u32 = 0
let symbolsAt: usize = 0
/** The references last known, in the same request; the list that they are of, 0: none. */
let refsBefore: usize = 0
let refsBeforeBytes: usize = 0
let listBefore: usize = 0

export function makeSymbols(): void {
  symbolsAt = heap.alloc((SYMBOLS_MAX as usize) << SYMBOL_SHIFT)
}

export function symbolAt(symbol: u32): usize {
  return symbolsAt + ((symbol as usize) << SYMBOL_SHIFT)
}

/** Another request begins. */
export function forgetSymbols(): void {
  symbolCount = 0
  listBefore = 0
}

/** @returns whether there is room for one more */
export function addSymbol(at: usize, end: usize): bool {
  if (symbolCount == SYMBOLS_MAX) return false
  const symbol = symbolAt(symbolCount)
  store<u32>(symbol, at as u32)
  store<u32>(symbol, (end - at) as u32, S_LENGTH)
  store<u32>(symbol, NOT_ASKED, S_TEXT)
  symbolCount++
  return true
}

/** What the labels of an entry that {@link isSaid} take of the label bytes. */
export function bytesOf(entry: i32): f64 {
  return load<f64>(load<u32>(entryAt(entry), E_REFS), R_BYTES)
}

/** Whether the references in [at, end) are of the texts that an entry's labels are: its key, without a look at the texts. */
export function isSaid(entry: i32, at: usize, end: usize): bool {
  const list = load<u32>(entryAt(entry), E_REFS) as usize
  const said = list != 0 && (differAlike(list, at, end) || areOf(list, at, end))
  listBefore = said ? list : 0
  refsBefore = at
  refsBeforeBytes = end - at
  return said
}

/** Whether the references in [at, end) are those before, and the list's texts those before, but for references that are of such texts. */
function differAlike(list: usize, at: usize, end: usize): bool {
  const size = end - at
  if (size != refsBeforeBytes) return false
  if (load<u32>(list, R_BEFORE) != (listBefore as u32) && !compareTexts(list)) return false
  let unseen: u64 = load<u64>(list, R_CHANGED)
  let before: u32 = 0
  for (let i: usize = 0; i < size; i += 32) {
    const inside: u32 = size - i >= 32 ? 0xffffffff : (1 << ((size - i) as u32)) - 1
    const one = v128.load(at + i)
    const two = v128.load(at + i, 16)
    const oneBefore = v128.load(refsBefore + i)
    const twoBefore = v128.load(refsBefore + i, 16)
    const more = bits(one, two)
    if ((bits(oneBefore, twoBefore) ^ more) & inside) return false
    const ends = ~more & inside
    let bytes = bits(i8x16.ne(one, oneBefore), i8x16.ne(two, twoBefore)) & inside
    while (bytes != 0) {
      const byte = ctz(bytes)
      const ref = before + popcnt(ends & ((1 << byte) - 1))
      let q = at + i + (byte as usize)
      while (q > at && load<u8>(q - 1) > 127) q--
      q = smallNumber(q, end)
      if (q == 0 || number >= symbolCount) return false
      if (textOfSymbol(symbolAt(number)) != load<u32>(list + R_TEXTS + ((ref as usize) << 2))) return false
      unseen &= ~((1 as u64) << (ref as u64))
      bytes &= bytes - 1
    }
    before += popcnt(ends)
  }
  return unseen == 0
}

/** The highest bit of each byte. */
function bits(one: v128, two: v128): u32 {
  return (i8x16.bitmask(one) as u32) | ((i8x16.bitmask(two) as u32) << 16)
}

/** Notes which texts of a list are not those before. @returns whether they can be compared */
function compareTexts(list: usize): bool {
  const count = load<u32>(list)
  if (listBefore == 0 || count != load<u32>(listBefore) || count > COMPARED_MAX) return false
  let changed: u64 = 0
  for (let i: usize = 0; i < (count as usize); i += 4) {
    const at = R_TEXTS + (i << 2)
    const texts = i32x4.bitmask(i32x4.ne(v128.load(list + at), v128.load(listBefore + at)))
    changed |= (texts as u64) << (i as u64)
  }
  store<u64>(list, changed, R_CHANGED)
  store<u32>(list, listBefore as u32, R_BEFORE)
  return true
}

function areOf(list: usize, at: usize, end: usize): bool {
  let text = list + R_TEXTS
  const last = text + ((load<u32>(list) as usize) << 2)
  let q = at
  while (q < end) {
    let symbol = load<u8>(q) as u32
    if (symbol < 128) q++
    else {
      q = smallNumber(q, end)
      if (q == 0) return false
      symbol = number
    }
    if (symbol >= symbolCount || text == last) return false
    if (textOfSymbol(symbolAt(symbol)) != load<u32>(text)) return false
    text += 4
  }
  return text == last
}

function textOfSymbol(symbol: usize): u32 {
  let text = load<u32>(symbol, S_TEXT)
  if (text == NOT_ASKED) {
    text = textOf(load<u32>(symbol), load<u32>(symbol, S_LENGTH))
    store<u32>(symbol, text, S_TEXT)
  }
  return text
}

/** Notes of which texts an entry's labels are. The references are plain: they were just written out. */
export function say(entry: i32, at: usize, end: usize, bytes: f64): void {
  if (load<u32>(entryAt(entry), E_REFS) != 0) return
  let count: u32 = 0
  for (let q = at; q < end; count++) q = smallNumber(q, end)
  const room = (((count + 3) & ~3) as usize) << 2
  const list = reserveList(R_TEXTS + room)
  store<u32>(list, count)
  store<u32>(list, NO_LIST, R_BEFORE)
  store<f64>(list, bytes, R_BYTES)
  memory.fill(list + R_TEXTS, 0, room)
  let text = list + R_TEXTS
  for (let q = at; q < end; text += 4) {
    q = smallNumber(q, end)
    const symbol = symbolAt(number)
    let known = load<u32>(symbol, S_TEXT)
    if (known == NOT_ASKED || known == UNKNOWN_TEXT) {
      known = learnText(load<u32>(symbol), load<u32>(symbol, S_LENGTH))
      store<u32>(symbol, known, S_TEXT)
    }
    store<u32>(text, known)
  }
  // Last: where there was no memory for a text, nothing is said.
  store<u32>(entryAt(entry), list as u32, E_REFS)
}
