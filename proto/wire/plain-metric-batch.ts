/**
 * Reads a metric batch as daemons write it, in one pass over its bytes: no object, and no string but for long numbers.
 *
 *     {"metrics":[{"name":"…","labels":{"…":"…"},"value":3.0,"timestamp":"2026-11-01T10:00:00.5Z"},…]}
 *
 * What is plain: the four fields, each once and in any order, with blanks where JSON allows them; texts of ASCII without escapes; times in UTC.
 * Everything else, sound or not, is for {@link readMetricBatch}, which also says what is wrong.
 */
import { ByteWriter, utf8Decode } from './bytes.ts'
import { parseRfc3339 } from './rfc3339.ts'

/**
 * A point: key[0..end) is its name and then its labels in canonical order, each text with its length before it as a varint.
 * The bytes are valid during the call, at the beginning of their buffer. @param timestamp ms since the epoch
 * @returns whether to go on
 */
export type TakePlainPoint = (key: Uint8Array<ArrayBuffer>, end: number, timestamp: number, value: number) => boolean

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN = 0x7b
const CLOSE = 0x7d
const BACKSLASH = 0x5c
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39

const METRICS = ascii('metrics"')
const NAME = ascii('ame"') // behind the letter that tells the fields apart
const LABELS = ascii('abels"')
const VALUE = ascii('alue"')
const TIMESTAMP = ascii('imestamp"')
/** Says of a label what "name" says. */
const METRIC_NAME = ascii('__name__')
const UTC_OFFSET = ascii('+00:00"')

const HAS_NAME = 1
const HAS_LABELS = 2
const HAS_VALUE = 4
const HAS_TIMESTAMP = 8
const REQUIRED = HAS_NAME | HAS_VALUE | HAS_TIMESTAMP

const LABELS_MAX = 64
const SECONDS_LENGTH = 19 // 2026-11-01T10:00:00
/** So many digits are exact in a double, and so is their power of ten. */
const EXACT_DIGITS = 15
const POWERS_OF_TEN = Array.from({ length: EXACT_DIGITS + 1 }, (_, n) => 10 ** n)

/** Where something is not plain. */
const FAILED = -1

export class PlainMetricBatch {
  readonly #key = new ByteWriter(1024)
  /** Of each label: where its name begins and ends, and its value. */
  readonly #labels = new Int32Array(4 * LABELS_MAX)
  #count = 0
  #nameStart = 0
  #nameEnd = 0
  #value = 0
  #time = 0
  /** The text of the second that was read last, and what it means, ms: a heartbeat's points have it in common. */
  readonly #second = new Uint8Array(SECONDS_LENGTH)
  #secondMs = Number.NaN
  /** The text that was scanned last ends here, before its quote. */
  #end = 0

  /** @returns whether the body is plain and was read to its end; if not, `take` may have been called for some of its points */
  read(body: Uint8Array, take: TakePlainPoint): boolean {
    // What is cut off, as most of what is broken, is for the other reader before anything of it is taken.
    if (!endsAsList(body)) return false
    let at = blanks(body, 0)
    if (body[at] !== OPEN) return false
    at = blanks(body, at + 1)
    if (body[at] !== QUOTE) return false
    at = colon(body, expect(body, at + 1, METRICS))
    if (body[at] !== OPEN_LIST) return false
    at = blanks(body, at + 1)
    if (body[at] === CLOSE_LIST) return isEnd(body, at + 1)
    for (;;) {
      at = this.#point(body, at)
      if (at < 0) return false
      if (!take(this.#key.buf, this.#key.pos, this.#time, this.#value)) return false
      at = blanks(body, at)
      if (body[at] === CLOSE_LIST) return isEnd(body, at + 1)
      if (body[at] !== COMMA) return false
      at = blanks(body, at + 1)
    }
  }

  /** @returns what follows the point, or FAILED */
  #point(body: Uint8Array, start: number): number {
    if (body[start] !== OPEN) return FAILED
    this.#count = 0
    let seen = 0
    for (let at = start; ; ) {
      at = blanks(body, at + 1)
      if (body[at] !== QUOTE) return FAILED
      const letter = body[at + 1]
      const field =
        letter === 0x6e ? HAS_NAME : letter === 0x6c ? HAS_LABELS : letter === 0x76 ? HAS_VALUE : HAS_TIMESTAMP
      if ((seen & field) !== 0) return FAILED
      seen |= field
      if (field === HAS_NAME) at = this.#name(body, colon(body, expect(body, at + 2, NAME)))
      else if (field === HAS_LABELS) at = this.#labelObject(body, colon(body, expect(body, at + 2, LABELS)))
      else if (field === HAS_VALUE) at = this.#number(body, colon(body, expect(body, at + 2, VALUE)))
      else if (letter === 0x74) at = this.#timestamp(body, colon(body, expect(body, at + 2, TIMESTAMP)))
      else return FAILED
      if (at < 0) return FAILED
      at = blanks(body, at)
      if (body[at] === COMMA) continue
      if (body[at] !== CLOSE || (seen & REQUIRED) !== REQUIRED) return FAILED
      this.#writeKey(body)
      return at + 1
    }
  }

  #name(body: Uint8Array, at: number): number {
    const end = this.#text(body, at)
    this.#nameStart = at + 1
    this.#nameEnd = this.#end
    return end
  }

  /** @param at of the quote. @returns what follows the closing one, or FAILED; the text is then [at + 1, #end) */
  #text(body: Uint8Array, at: number): number {
    if (body[at] !== QUOTE) return FAILED
    const { length } = body
    for (let i = at + 1; i < length; i++) {
      const byte = body[i]!
      if (byte === QUOTE) {
        this.#end = i
        return i + 1
      }
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return FAILED
    }
    return FAILED
  }

  #labelObject(body: Uint8Array, start: number): number {
    if (body[start] !== OPEN) return FAILED
    let at = blanks(body, start + 1)
    if (body[at] === CLOSE) return at + 1
    for (;;) {
      const nameStart = at + 1
      at = this.#text(body, at)
      const nameEnd = this.#end
      at = colon(body, at)
      const valueStart = at + 1
      at = this.#text(body, at)
      if (at < 0 || !this.#insert(body, nameStart, nameEnd, valueStart, this.#end)) return FAILED
      at = blanks(body, at)
      if (body[at] === CLOSE) return at + 1
      if (body[at] !== COMMA) return FAILED
      at = blanks(body, at + 1)
    }
  }

  /** Puts a label where it belongs by the bytes of its name. @returns false when the name is there already, or not for here */
  #insert(body: Uint8Array, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): boolean {
    if (this.#count === LABELS_MAX || equal(body, nameStart, nameEnd, METRIC_NAME)) return false
    const labels = this.#labels
    let i = 4 * this.#count++
    for (; i > 0; i -= 4) {
      const order = compare(body, nameStart, nameEnd, labels[i - 4]!, labels[i - 3]!)
      if (order === 0) return false
      if (order > 0) break
      labels.copyWithin(i, i - 4, i)
    }
    labels[i] = nameStart
    labels[i + 1] = nameEnd
    labels[i + 2] = valueStart
    labels[i + 3] = valueEnd
    return true
  }

  #number(body: Uint8Array, start: number): number {
    let at = start
    const negative = body[at] === 0x2d
    if (negative) at++
    const first = at
    let digits = 0
    let byte = body[at]!
    for (; byte >= ZERO && byte <= NINE; byte = body[++at]!) digits = digits * 10 + byte - ZERO
    const whole = at - first
    if (whole === 0 || (whole > 1 && body[first] === ZERO)) return FAILED
    let fraction = 0
    if (byte === DOT) {
      const point = at
      for (byte = body[++at]!; byte >= ZERO && byte <= NINE; byte = body[++at]!) digits = digits * 10 + byte - ZERO
      fraction = at - point - 1
      if (fraction === 0) return FAILED
    }
    if (byte === 0x65 || byte === 0x45) return FAILED // seldom
    if (whole + fraction <= EXACT_DIGITS) {
      const value = digits / POWERS_OF_TEN[fraction]!
      this.#value = negative ? -value : value
      return at
    }
    this.#value = Number(utf8Decode(body.subarray(start, at)))
    return Number.isFinite(this.#value) ? at : FAILED
  }

  #timestamp(body: Uint8Array, start: number): number {
    if (body[start] !== QUOTE) return FAILED
    let at = start + 1 + SECONDS_LENGTH
    if (at >= body.length || !this.#readSecond(body, start + 1)) return FAILED
    let time = this.#secondMs
    if (body[at] === DOT) {
      const point = at
      let scale = 100
      for (let byte = body[++at]!; byte >= ZERO && byte <= NINE; byte = body[++at]!) {
        if (scale >= 1) time += (byte - ZERO) * scale
        scale /= 10
      }
      if (at === point + 1) return FAILED
    }
    this.#time = time
    if (body[at] === 0x5a) return body[at + 1] === QUOTE ? at + 2 : FAILED
    return expect(body, at, UTC_OFFSET)
  }

  #readSecond(body: Uint8Array, at: number): boolean {
    if (equal(body, at, at + SECONDS_LENGTH, this.#second)) return !Number.isNaN(this.#secondMs)
    this.#secondMs = Number.NaN // until the whole text is there: a part of this one and of the one before means nothing
    for (let i = 0; i < SECONDS_LENGTH; i++) {
      const byte = body[at + i]!
      if (byte > 0x7e) return false
      this.#second[i] = byte
    }
    this.#secondMs = parseRfc3339(`${String.fromCharCode(...this.#second)}Z`) ?? Number.NaN
    return !Number.isNaN(this.#secondMs)
  }

  #writeKey(body: Uint8Array): void {
    this.#key.pos = 0
    this.#writeText(body, this.#nameStart, this.#nameEnd)
    const labels = this.#labels
    for (let i = 0; i < 4 * this.#count; i += 4) {
      this.#writeText(body, labels[i]!, labels[i + 1]!)
      this.#writeText(body, labels[i + 2]!, labels[i + 3]!)
    }
  }

  #writeText(body: Uint8Array, start: number, end: number): void {
    const key = this.#key
    key.varint(end - start)
    key.reserve(end - start)
    const { buf } = key
    let to = key.pos
    for (let i = start; i < end; i++) buf[to++] = body[i]! // most are too short for a call to pay
    key.pos = to
  }
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0))
}

/** Where the blanks end. */
function blanks(body: Uint8Array, start: number): number {
  for (let at = start; ; at++) {
    if (!isBlank(body[at]!)) return at
  }
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

/** What follows a colon and the blanks around it; FAILED when there is none, or `at` is. */
function colon(body: Uint8Array, at: number): number {
  if (at < 0) return FAILED
  const found = blanks(body, at)
  return body[found] === COLON ? blanks(body, found + 1) : FAILED
}

/** What follows `word`, or FAILED when it does not stand there. */
function expect(body: Uint8Array, at: number, word: Uint8Array): number {
  for (let i = 0; i < word.length; i++) if (body[at + i] !== word[i]) return FAILED
  return at + word.length
}

function equal(body: Uint8Array, start: number, end: number, word: Uint8Array): boolean {
  return end - start === word.length && expect(body, start, word) !== FAILED
}

function compare(body: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number): number {
  for (let a = aStart, b = bStart; a < aEnd && b < bEnd; a++, b++) {
    const difference = body[a]! - body[b]!
    if (difference !== 0) return difference
  }
  return aEnd - aStart - (bEnd - bStart)
}

/** Whether the last two characters are the ends of a list and an object. */
function endsAsList(body: Uint8Array): boolean {
  let at = body.length - 1
  while (at >= 0 && isBlank(body[at]!)) at--
  if (body[at] !== CLOSE) return false
  at--
  while (at >= 0 && isBlank(body[at]!)) at--
  return body[at] === CLOSE_LIST
}

/** The object ends here, and so does the body. */
function isEnd(body: Uint8Array, at: number): boolean {
  const close = blanks(body, at)
  return body[close] === CLOSE && blanks(body, close + 1) === body.length
}
