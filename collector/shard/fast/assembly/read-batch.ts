/**
 * Metric batches in JSON, as daemons write them, in one pass over the bytes.
 *
 *     {"metrics":[{"name":"…","labels":{"…":"…"},"value":3.0,"timestamp":"2026-11-01T10:00:00.5Z"},…]}
 *
 * What is plain: the four fields, each once and in any order, with blanks where JSON allows them; texts of ASCII without escapes; times in
 * UTC. Behind the body stands a zero, which is part of nothing plain, so that no loop goes beyond it.
 */
import { COLUMN_LENGTH, endReading, putSample } from './columns'
import { E_SERIES, entryAt, expected, isKey, lookUp, step } from './entries'
import { copyText, equal } from './memory'
import { inputAt, outputAt, reserveOutput } from './snappy'

// Imported from the host, under this file's name; both are seldom needed.
/** What a time in UTC says down to its second, 19 characters, in ms since the epoch; NaN: it is none. */
declare function secondOf(at: usize): f64
/** A number of JSON as the nearest double. */
declare function numberOf(at: usize, size: u32): f64

const QUOTE: u32 = 0x22
const COMMA: u32 = 0x2c
const MINUS: u32 = 0x2d
const DOT: u32 = 0x2e
const ZERO: u32 = 0x30
const COLON: u32 = 0x3a
const OPEN_LIST: u32 = 0x5b
const BACKSLASH: i8 = 0x5c
const CLOSE_LIST: u32 = 0x5d
const LETTER_Z: u32 = 0x5a
const OPEN: u32 = 0x7b
const CLOSE: u32 = 0x7d

// Fields, as they stand there.
const METRICS = '"metrics"'
const NAME = '"name"'
const LABELS = '"labels"'
const VALUE = '"value"'
const TIMESTAMP = '"timestamp"'
const UTC_OFFSET = '+00:00"'
/** Says of a label what "name" says. */
const METRIC_NAME = '"__name__"'

const HAS_NAME: u32 = 1
const HAS_LABELS: u32 = 2
const HAS_VALUE: u32 = 4
const HAS_TIMESTAMP: u32 = 8
const REQUIRED: u32 = HAS_NAME | HAS_VALUE | HAS_TIMESTAMP

const LABELS_MAX: u32 = 64
// A label of the point in hand: where its name and its value stand.
const L_NAME: usize = 0
const L_NAME_END: usize = 4
const L_VALUE: usize = 8
const L_VALUE_END: usize = 12
const LABEL_BYTES: usize = 16
const labels: usize = memory.data(1024, 16) // LABELS_MAX × LABEL_BYTES
let labelCount: u32 = 0

const SECOND_LENGTH: usize = 19 // 2026-11-01T10:00:00
/** The text of the second that was read last, and what it says: the points of a heartbeat have it in common. */
const second: usize = memory.data(32, 16)
let secondMs: f64 = NaN

/** So many digits fit into an integer; up to 2^53 it is exact as a double, as these powers of ten are, and so their quotient is the nearest. */
const DIGITS_MAX: usize = 19
const EXACT_MAX: u64 = 1 << 53
const powersOfTen: usize = memory.data<f64>([
  1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
])

/** A length before a text takes so many bytes at most. */
const LENGTH_BYTES: usize = 4
/** Texts of a key: the name of its metric, names and values of labels. */
const TEXTS_MAX: usize = 2 * (LABELS_MAX as usize) + 1

// Of the point in hand:
let nameAt: usize = 0
let nameEnd: usize = 0
let value: f64 = 0
let time: f64 = 0
/** Before the closing quote of the text that was read last. */
let textEnd: usize = 0

/**
 * Reads the metric batch in input[0, size) into the columns.
 * @returns whether it is plain to its end, all of its series are known, and there was room for them
 */
export function readBatch(size: u32, scope: u32): bool {
  const end = inputAt + (size as usize)
  let n: u32 = 0
  let p = firstPoint(end)
  if (p == 0) return false
  while (load<u8>(p) != CLOSE_LIST || n != 0) {
    p = readPoint(p)
    if (p == 0 || n == COLUMN_LENGTH) return false
    const keySize = (writeKey() - outputAt) as u32
    let entry = expected(scope)
    if (entry < 0 || !isKey(entry, outputAt, keySize)) entry = lookUp(outputAt, keySize, scope)
    if (entry < 0) return false
    step(entry)
    putSample(n++, load<i32>(entryAt(entry), E_SERIES), time, reinterpret<u64>(value))
    p = blanks(p)
    if (load<u8>(p) != COMMA) break
    p = blanks(p + 1)
  }
  endReading(n)
  return load<u8>(p) == CLOSE_LIST && isEnd(p + 1, end)
}

/**
 * Begins a body.
 * @returns where its first point stands, or the end of its list; 0: it is not plain, as most of what is cut off
 */
function firstPoint(end: usize): usize {
  store<u8>(end, 0)
  let last = beforeBlanks(end)
  if (last <= inputAt || load<u8>(last - 1) != CLOSE) return 0
  last = beforeBlanks(last - 1)
  if (last <= inputAt || load<u8>(last - 1) != CLOSE_LIST) return 0
  let p = blanks(inputAt)
  if (load<u8>(p) != OPEN) return 0
  p = pastColon(pastWord(blanks(p + 1), METRICS))
  if (p == 0 || load<u8>(p) != OPEN_LIST) return 0
  reserveOutput(end - inputAt + TEXTS_MAX * LENGTH_BYTES) // a key is texts of the body, with a length before each
  return blanks(p + 1)
}

/** @returns what follows the point at p; 0: it is not plain */
function readPoint(p: usize): usize {
  if (load<u8>(p) != OPEN) return 0
  labelCount = 0
  let seen: u32 = 0
  for (;;) {
    p = blanks(p + 1)
    const letter = load<u8>(p, 1) as u32
    let field: u32
    if (letter == 0x6e) {
      field = HAS_NAME
      p = readName(pastColon(pastWord(p, NAME)))
    } else if (letter == 0x6c) {
      field = HAS_LABELS
      if ((seen & field) != 0) return 0 // they would be put beside those that are there
      p = readLabels(pastColon(pastWord(p, LABELS)))
    } else if (letter == 0x76) {
      field = HAS_VALUE
      p = readNumber(pastColon(pastWord(p, VALUE)))
    } else {
      field = HAS_TIMESTAMP
      p = readTimestamp(pastColon(pastWord(p, TIMESTAMP)))
    }
    if (p == 0 || (seen & field) != 0) return 0
    seen |= field
    p = blanks(p)
    if (load<u8>(p) == COMMA) continue
    return load<u8>(p) == CLOSE && (seen & REQUIRED) == REQUIRED ? p + 1 : 0
  }
}

// Each reads at p, where 0 stands for what was not plain before it, and returns what follows; 0: it is not plain.

function readName(p: usize): usize {
  if (p == 0) return 0
  const next = pastText(p)
  nameAt = p + 1
  nameEnd = textEnd
  return next
}

function readLabels(p: usize): usize {
  if (p == 0 || load<u8>(p) != OPEN) return 0
  p = blanks(p + 1)
  if (load<u8>(p) == CLOSE) return p + 1
  for (;;) {
    p = readLabel(p)
    if (p == 0) return 0
    p = blanks(p)
    if (load<u8>(p) != COMMA) break
    p = blanks(p + 1)
  }
  return load<u8>(p) == CLOSE ? p + 1 : 0
}

function readLabel(p: usize): usize {
  const name = p + 1
  p = pastText(p)
  if (p == 0 || pastWord(name - 1, METRIC_NAME) != 0) return 0
  const nameStop = textEnd
  p = pastColon(p)
  if (p == 0) return 0
  const text = p + 1
  p = pastText(p)
  return p != 0 && insertLabel(name, nameStop, text, textEnd) ? p : 0
}

function readNumber(p: usize): usize {
  if (p == 0) return 0
  let q = p
  const negative = load<u8>(q) == MINUS
  if (negative) q++
  const first = q
  let digits: u64 = 0
  for (; isDigit(q); q++) digits = digits * 10 + ((load<u8>(q) - ZERO) as u64)
  const whole = q - first
  if (whole == 0 || (whole > 1 && load<u8>(first) == ZERO)) return 0
  let fraction: usize = 0
  if (load<u8>(q) == DOT) {
    const from = ++q
    for (; isDigit(q); q++) digits = digits * 10 + ((load<u8>(q) - ZERO) as u64)
    fraction = q - from
    if (fraction == 0) return 0
  }
  if (((load<u8>(q) | 0x20) as u32) == 0x65) return 0 // an exponent: seldom
  if (whole + fraction <= DIGITS_MAX && digits <= EXACT_MAX) {
    value = (digits as f64) / load<f64>(powersOfTen + (fraction << 3))
    if (negative) value = -value
    return q
  }
  value = numberOf(p, (q - p) as u32)
  return isFinite(value) ? q : 0
}

function readTimestamp(p: usize): usize {
  if (p == 0 || load<u8>(p) != QUOTE) return 0
  if (isNaN(secondMs) || !equal(p + 1, second, SECOND_LENGTH as u32)) {
    const ms = secondOf(p + 1)
    if (isNaN(ms)) return 0
    memory.copy(second, p + 1, SECOND_LENGTH)
    secondMs = ms
  }
  time = secondMs
  let q = p + 1 + SECOND_LENGTH
  if (load<u8>(q) == DOT) {
    const from = ++q
    // Finer digits are cut off.
    for (let scale = 100; isDigit(q); q++, scale /= 10) time += (((load<u8>(q) - ZERO) as i32) * scale) as f64
    if (q == from) return 0
  }
  if (load<u8>(q) == LETTER_Z) return load<u8>(q, 1) == QUOTE ? q + 2 : 0
  return pastWord(q, UTC_OFFSET)
}

/** Reads a text; its end, before the quote, is then in `textEnd`. */
function pastText(p: usize): usize {
  if (load<u8>(p) != QUOTE) return 0
  let q = p + 1
  let ends: i32
  for (;;) {
    const bytes = v128.load(q)
    // Above 126 is below 0 too, but for 127.
    const special = v128.or(i8x16.eq(bytes, i8x16.splat(QUOTE as i8)), i8x16.eq(bytes, i8x16.splat(BACKSLASH)))
    const others = v128.or(i8x16.lt_s(bytes, i8x16.splat(0x20)), i8x16.eq(bytes, i8x16.splat(0x7f)))
    ends = i8x16.bitmask(v128.or(special, others))
    if (ends != 0) break
    q += 16
  }
  q += ctz(ends) as usize
  if (load<u8>(q) != QUOTE) return 0
  textEnd = q
  return q + 1
}

/** Puts a label where it belongs by the bytes of its name. @returns false: there is one of that name, or no room */
function insertLabel(name: usize, nameStop: usize, text: usize, textStop: usize): bool {
  if (labelCount == LABELS_MAX) return false
  let at = labels + (labelCount as usize) * LABEL_BYTES
  for (; at > labels; at -= LABEL_BYTES) {
    const before = at - LABEL_BYTES
    const order = compare(name, nameStop, load<u32>(before, L_NAME), load<u32>(before, L_NAME_END))
    if (order == 0) return false
    if (order > 0) break
    v128.store(at, v128.load(before))
  }
  store<u32>(at, name as u32, L_NAME)
  store<u32>(at, nameStop as u32, L_NAME_END)
  store<u32>(at, text as u32, L_VALUE)
  store<u32>(at, textStop as u32, L_VALUE_END)
  labelCount++
  return true
}

function compare(a: usize, aEnd: usize, b: usize, bEnd: usize): i32 {
  for (; a < aEnd && b < bEnd; a++, b++) {
    const difference = (load<u8>(a) as i32) - (load<u8>(b) as i32)
    if (difference != 0) return difference
  }
  return ((aEnd - a) as i32) - ((bEnd - b) as i32)
}

/** Writes the name and the labels of the point in hand to the output, as the portable reader does. @returns their end */
function writeKey(): usize {
  let to = writeText(outputAt, nameAt, nameEnd)
  const end = labels + (labelCount as usize) * LABEL_BYTES
  for (let at = labels; at < end; at += LABEL_BYTES) {
    to = writeText(to, load<u32>(at, L_NAME), load<u32>(at, L_NAME_END))
    to = writeText(to, load<u32>(at, L_VALUE), load<u32>(at, L_VALUE_END))
  }
  return to
}

function writeText(to: usize, from: usize, end: usize): usize {
  const size = end - from
  let rest = size
  for (; rest > 127; rest >>= 7) store<u8>(to++, (rest & 127) | 128)
  store<u8>(to++, rest)
  copyText(to, from, size)
  return to + size
}

function isDigit(p: usize): bool {
  return (load<u8>(p) as u32) - ZERO < 10
}

/** Where the blanks at p end. */
function blanks(p: usize): usize {
  while (isBlank(p)) p++
  return p
}

/** Where the blanks before p begin. */
function beforeBlanks(p: usize): usize {
  while (p > inputAt && isBlank(p - 1)) p--
  return p
}

function isBlank(p: usize): bool {
  const byte = load<u8>(p) as u32
  return byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
}

/** Past the colon at p and the blanks around it. */
function pastColon(p: usize): usize {
  if (p == 0) return 0
  p = blanks(p)
  return load<u8>(p) == COLON ? blanks(p + 1) : 0
}

/** What follows a word of ASCII at p; 0: it does not stand there. */
function pastWord(p: usize, word: string): usize {
  const length = word.length as usize
  const letters = changetype<usize>(word)
  for (let i: usize = 0; i < length; i++) if ((load<u8>(p + i) as u16) != load<u16>(letters + (i << 1))) return 0
  return p + length
}

/** The object ends here, and so does the body. */
function isEnd(p: usize, end: usize): bool {
  p = blanks(p)
  return load<u8>(p) == CLOSE && blanks(p + 1) == end
}
