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

const SLACK: usize = 128
const INPUT_BYTES_MAX: usize = 4 << 20
const OUTPUT_BYTES_MAX: usize = 16 << 20
const COLUMN_LENGTH: u32 = 1 << 16
const KEY_CHUNK: usize = 1 << 18
/** A staging area of this size stays; one label block may be as large as a body. */
const STAGING_KEPT: usize = 1 << 16
const NONE: i32 = -1

// An entry: a label block as sent, and the series it leads to.
const E_HASH: usize = 0
const E_LENGTH: usize = 4
const E_KEY: usize = 8
const E_FOLLOWS: usize = 12
const E_SERIES: usize = 16
const E_SCOPE: usize = 20
const E_REFS: usize = 24
const ENTRY_BYTES: usize = 28

// A symbol of the request in hand: where it stands, its length, and the number of its text (NOT_ASKED, or UNKNOWN_TEXT).
const S_LENGTH: usize = 4
const S_TEXT: usize = 8
const SYMBOL_SHIFT: usize = 4
const NOT_ASKED: u32 = 0
const UNKNOWN_TEXT: u32 = 0xffffffff

// A text that stands in labels of known series; its number is its place, from 1 on.
const T_HASH: usize = 0
const T_AT: usize = 4
const T_LENGTH: usize = 8
const TEXT_BYTES: usize = 12

// What an entry's labels are in 2.0: how many references, what they take of the label bytes, then the texts' numbers.
const R_BYTES: usize = 8
const R_TEXTS: usize = 16

const TAG_SERIES: u32 = 0x0a
const TAG_LABEL: u32 = 0x0a
const TAG_SAMPLE: u32 = 0x12
const TAG_VALUE: u32 = 0x09
const TAG_TIME: u32 = 0x10

// Remote write 2.0.
const TAG_SYMBOL: u32 = 0x22
const TAG_SERIES_2: u32 = 0x2a
const TAG_REFS: u32 = 0x0a
const TAG_METADATA: u32 = 0x2a
const TAG_START: u32 = 0x18
const TAG_TYPE: u32 = 0x08
const TAG_HELP: u32 = 0x18
const TAG_UNIT: u32 = 0x20
const SYMBOLS_MAX: u32 = 1 << 16
const BLOCK_BYTES: usize = 1 << 14
const METADATA_BYTES: usize = 24

let seed: u64 = 0
let secret1: u64 = 0
let secret2: u64 = 1
let secret3: u64 = 1
let inputAt: usize = 0
let inputBytes: usize = 0
let outputAt: usize = 0
let outputBytes: usize = 0
let seriesAt: usize = 0
let timesAt: usize = 0
let valuesAt: usize = 0
let pushed: u32 = 0
let unknownAt: usize = 0
let unknownBytes: u32 = 0

let number: u32 = 0
let nestedAt: usize = 0
let symbolsAt: usize = 0
let symbolCount: u32 = 0
let labelBytesLeft: f64 = 0
let blockAt: usize = 0
let metadataAt: usize = 0
let metadataCount: u32 = 0

let entries: usize = 0
let entryCount: i32 = 0
let entryCapacity: i32 = 0
let slots: usize = 0
let slotMask: u32 = 0
let keysAt: usize = 0
let keysEnd: usize = 0
let keyBytes: f64 = 0
let previous: i32 = NONE

let texts: usize = 0
let textCount: u32 = 0
let textCapacity: u32 = 0
let textSlots: usize = 0
let textMask: u32 = 0

let stagingAt: usize = 0
let stagingBytes: usize = 0

/** To be called once, first. */
export function init(seedLow: u32, seedHigh: u32): void {
  seed = ((<u64>seedHigh) << 32) | <u64>seedLow
  secret1 = nextSecret()
  secret2 = nextSecret() | 1
  secret3 = nextSecret() | 1
  seriesAt = heap.alloc(<usize>COLUMN_LENGTH * 4)
  timesAt = heap.alloc(<usize>COLUMN_LENGTH * 8)
  valuesAt = heap.alloc(<usize>COLUMN_LENGTH * 8)
  entryCapacity = 1024
  entries = heap.alloc(<usize>entryCapacity * ENTRY_BYTES)
  makeSlots(2048)
}

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

/** Memory for keys and their index, bytes. */
export function indexBytes(): f64 {
  const ofTexts = (textCapacity as usize) * (TEXT_BYTES + 8)
  return keyBytes + <f64>(<usize>entryCapacity * ENTRY_BYTES + (<usize>slotMask + 1) * 4 + ofTexts)
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
  if ((stated as usize) > outputBytes) {
    const before = outputAt
    outputAt = 0
    outputBytes = 0
    heap.free(before)
    const room = roomFor(stated as usize)
    outputAt = heap.alloc(room + SLACK)
    outputBytes = room
  }
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

/**
 * Reads the remote write 1.0 message in output[at, end) into the columns: series that are known and hold samples only.
 * @returns the offset of the first message that is anything else, or for which the columns have no room; `end` when there is none
 */
export function read1(at: u32, end: u32, scope: u32): u32 {
  let p = outputAt + <usize>at
  const limit = outputAt + <usize>end
  let n: u32 = 0
  unknownAt = 0
  while (p < limit) {
    if (<u32>load<u8>(p) != TAG_SERIES) break
    const close = nestedEnd(p + 1, limit)
    if (close == 0) break
    const key = nestedAt
    let q = key
    let entry = expected(scope)
    if (entry >= 0) {
      const e = entryAt(entry)
      const after = key + (load<u32>(e, E_LENGTH) as usize)
      if (
        after <= close &&
        (after == close || (load<u8>(after) as u32) != TAG_LABEL) &&
        equal(key, load<u32>(e, E_KEY), load<u32>(e, E_LENGTH))
      )
        q = after
      else entry = NONE
    }
    if (entry < 0) {
      q = pastLabels(key, close)
      if (q == 0) break
      entry = lookUp(key, (q - key) as u32, scope)
      if (entry < 0) {
        unknownAt = key
        unknownBytes = (q - key) as u32
        break
      }
    }
    const series = load<i32>(entryAt(entry), E_SERIES)
    const before = n
    while (q < close) {
      if (<u32>load<u8>(q) != TAG_SAMPLE) break
      const next = takeSample(q + 1, close, series, n, false)
      if (next == 0) break
      n++
      q = next
    }
    if (q != close) {
      n = before
      break
    }
    step(entry)
    p = close
  }
  pushed = n
  return <u32>(p - outputAt)
}

/**
 * Reads the symbols of the remote write 2.0 message in output[0, end): they may stand anywhere in it.
 * @param labelBytesMax most that the labels of all series may take once written out, with twelve bytes for each text
 * @returns whether the message is of symbols and series only
 */
export function open2(end: u32, labelBytesMax: f64): bool {
  let p = outputAt
  const limit = outputAt + (end as usize)
  symbolCount = 0
  labelBytesLeft = labelBytesMax
  if (symbolsAt == 0) {
    symbolsAt = heap.alloc((SYMBOLS_MAX as usize) << SYMBOL_SHIFT)
    blockAt = heap.alloc(BLOCK_BYTES + SLACK)
    metadataAt = heap.alloc((COLUMN_LENGTH as usize) * METADATA_BYTES)
  }
  while (p < limit) {
    const tag = load<u8>(p) as u32
    if (tag != TAG_SYMBOL && tag != TAG_SERIES_2) return false
    p = nestedEnd(p + 1, limit)
    if (p == 0) return false
    if (tag == TAG_SERIES_2) continue
    if (symbolCount == SYMBOLS_MAX) return false
    const symbol = symbolAt(symbolCount)
    store<u32>(symbol, nestedAt as u32)
    store<u32>(symbol, (p - nestedAt) as u32, S_LENGTH)
    store<u32>(symbol, NOT_ASKED, S_TEXT)
    symbolCount++
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
  unknownAt = 0
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
    if (entry >= 0 && isSaid(entry, refsAt, refsEnd))
      labelBytesLeft -= load<f64>(load<u32>(entryAt(entry), E_REFS), R_BYTES)
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
      if (plain) {
        unknownAt = blockAt
        unknownBytes = size as u32
      }
      break
    }
    step(entry)
    p = close
  }
  pushed = n
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

function roomFor(size: usize): usize {
  let room: usize = 4096
  while (room < size) room *= 2
  return room
}

function entryAt(entry: i32): usize {
  return entries + <usize>entry * ENTRY_BYTES
}

function step(entry: i32): void {
  if (previous >= 0) store<i32>(entryAt(previous), entry, E_FOLLOWS)
  previous = entry
}

/**
 * A sample whose length stands at q, into place n of the columns.
 * @returns its end; 0: it is not plain, or there is no room
 */
function takeSample(q: usize, close: usize, series: i32, n: u32, withStart: bool): usize {
  const size = load<u8>(q) as usize
  const stop = q + 1 + size
  if (size >= 128 || stop > close || n >= COLUMN_LENGTH) return 0
  let r = q + 1
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
  store<i32>(seriesAt + ((n as usize) << 2), series)
  store<f64>(timesAt + ((n as usize) << 3), time as f64)
  store<u64>(valuesAt + ((n as usize) << 3), bits)
  return stop
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
  const helpBytes = help == 0 ? 0 : load<u32>(helpSymbol, 4)
  const unitBytes = unit == 0 ? 0 : load<u32>(unitSymbol, 4)
  store<i32>(out, series)
  store<u32>(out, type, 4)
  store<u32>(out, help == 0 ? 0 : load<u32>(helpSymbol) - (outputAt as u32), 8)
  store<u32>(out, helpBytes, 12)
  store<u32>(out, unit == 0 ? 0 : load<u32>(unitSymbol) - (outputAt as u32), 16)
  store<u32>(out, unitBytes, 20)
  labelBytesLeft -= (helpBytes + unitBytes) as f64
  return 1
}

function symbolAt(symbol: u32): usize {
  return symbolsAt + ((symbol as usize) << SYMBOL_SHIFT)
}

/** Whether the references in [at, end) are of the texts that an entry's labels are: its key, without a look at the texts. */
function isSaid(entry: i32, at: usize, end: usize): bool {
  const list = load<u32>(entryAt(entry), E_REFS) as usize
  if (list == 0) return false
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
    const at = symbolAt(symbol)
    let known = load<u32>(at, S_TEXT)
    if (known == NOT_ASKED) {
      known = textOf(load<u32>(at), load<u32>(at, S_LENGTH))
      store<u32>(at, known, S_TEXT)
    }
    if (known != load<u32>(text)) return false
    text += 4
  }
  return text == last
}

/** Notes of which texts an entry's labels are. The references are plain: they were just written out. */
function say(entry: i32, at: usize, end: usize, bytes: f64): void {
  if (load<u32>(entryAt(entry), E_REFS) != 0) return
  let count: u32 = 0
  for (let q = at; q < end; count++) q = smallNumber(q, end)
  const list = reserveKey(R_TEXTS + ((count as usize) << 2))
  store<u32>(list, count)
  store<f64>(list, bytes, R_BYTES)
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

function textOf(at: usize, size: u32): u32 {
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

function learnText(at: usize, size: u32): u32 {
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
    const nameBytes = load<u32>(name, 4) as usize
    const valueBytes = load<u32>(value, 4) as usize
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

/** Most texts are short. */
function copyText(to: usize, from: usize, size: usize): void {
  v128.store(to, v128.load(from))
  if (size > 16) memory.copy(to + 16, from + 16, size - 16)
}

/** Reads the length at p. @returns the end of what it measures, and where that begins in `nestedAt`; 0: beyond the limit */
function nestedEnd(p: usize, limit: usize): usize {
  const q = smallNumber(p, limit)
  if (q == 0 || (number as usize) > limit - q) return 0
  nestedAt = q
  return q + (number as usize)
}

/** Reads a number of up to four bytes at q into `number`. @returns where it ends; 0: beyond the limit, or longer */
function smallNumber(at: usize, limit: usize): usize {
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
function pastLabels(from: usize, close: usize): usize {
  let q = from
  while (q < close && (load<u8>(q) as u32) == TAG_LABEL) {
    q = nestedEnd(q + 1, close)
    if (q == 0) return 0
  }
  return q
}

/** The entry that followed the previous one last time; NONE when there is none of this scope. */
function expected(scope: u32): i32 {
  if (previous < 0) return NONE
  const entry = load<i32>(entryAt(previous), E_FOLLOWS)
  return entry >= 0 && load<u32>(entryAt(entry), E_SCOPE) == scope ? entry : NONE
}

/** Whether these bytes are an entry's key. */
function isKey(entry: i32, at: usize, size: u32): bool {
  const e = entryAt(entry)
  return load<u32>(e, E_LENGTH) == size && equal(at, load<u32>(e, E_KEY), size)
}

function lookUp(at: usize, size: u32, scope: u32): i32 {
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

function equal(a: usize, b: usize, size: u32): bool {
  const length = <usize>size
  if (length >= 16) {
    const end = length - 16
    let i: usize = 0
    // Branches cost more than what they save: of keys that are looked at, nearly all are equal.
    for (; i + 64 <= end; i += 64) {
      const one = v128.or(differs(a + i, b + i), differs(a + i + 16, b + i + 16))
      const other = v128.or(differs(a + i + 32, b + i + 32), differs(a + i + 48, b + i + 48))
      if (v128.any_true(v128.or(one, other))) return false
    }
    for (; i < end; i += 16) {
      if (v128.any_true(v128.xor(v128.load(a + i), v128.load(b + i)))) return false
    }
    return !v128.any_true(v128.xor(v128.load(a + end), v128.load(b + end)))
  }
  for (let i: usize = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false
  return true
}

function differs(a: usize, b: usize): v128 {
  return v128.xor(v128.load(a), v128.load(b))
}

/** Secrets are in every step: differences that cancel out whatever the seed is do not exist for a sender to find. */
function hash(at: usize, size: u32, scope: u32): u32 {
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

function keep(at: usize, size: u32): usize {
  const key = reserveKey(size as usize)
  memory.copy(key, at, size as usize)
  return key
}

/** Memory that stays, on a boundary of eight bytes. */
function reserveKey(size: usize): usize {
  const length = (size + 7) & ~7
  if (keysAt + length > keysEnd) {
    const chunk = length > KEY_CHUNK ? length : KEY_CHUNK
    const at = heap.alloc(chunk)
    keysAt = at
    keysEnd = at + chunk
    keyBytes += <f64>chunk
  }
  const key = keysAt
  keysAt += length
  return key
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
