/**
 * Prometheus' series selectors: which series a rule, a query or an alert is about.
 *
 *     up                                   {__name__="up"}
 *     up{job="a", zone!="b"}               = != =~ !~; patterns match whole values
 *     {"metric.name", "label.name"="v"}    quoted names, of any text
 *
 * A label that a series does not have is an empty one. At least one matcher must refuse the empty text: a selector of
 * everything is a mistake.
 * @see https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors
 */
import { utf8Decode } from './bytes.ts'
import type { Label } from './labels.ts'
import { compilePattern, PatternError } from './re2.ts'

export type MatchOp = '=' | '!=' | '=~' | '!~'

/** One condition; `value` is the text or, for `=~` and `!~`, the pattern as written. */
export interface Matcher {
  readonly op: MatchOp
  readonly name: string
  readonly value: string
}

/** What is wrong with a selector, and where. */
export class SelectorError extends Error {
  /** Offset in the text, UTF-16 units from 0. */
  readonly position: number

  constructor(position: number, message: string) {
    super(`at ${position + 1}: ${message}`)
    this.name = 'SelectorError'
    this.position = position
  }
}

export const METRIC_NAME = '__name__'

type Test = (value: string) => boolean

/** A parsed selector; made by {@link parseSelector}. */
export class Selector {
  /** As it was written. */
  readonly text: string
  /** In the order written, the name in front of the braces first. */
  readonly matchers: readonly Matcher[]
  readonly #nameTests: readonly Test[]
  readonly #labelTests: readonly (readonly [name: string, test: Test])[]

  constructor(text: string, matchers: readonly Matcher[], tests: readonly Test[]) {
    this.text = text
    this.matchers = matchers
    this.#nameTests = tests.filter((_, i) => matchers[i]!.name === METRIC_NAME)
    this.#labelTests = matchers.flatMap(({ name }, i) => (name === METRIC_NAME ? [] : [[name, tests[i]!] as const]))
  }

  /** @param labels without `__name__`, in any order */
  matches(name: string, labels: readonly Label[]): boolean {
    if (!this.matchesName(name)) return false
    for (const [label, test] of this.#labelTests) {
      let value = ''
      for (const [n, v] of labels) if (n === label) value = v
      if (!test(value)) return false
    }
    return true
  }

  /** Whether a series of this name can match. */
  matchesName(name: string): boolean {
    for (const test of this.#nameTests) if (!test(name)) return false
    return true
  }
}

/**
 * Reads a selector.
 * @throws SelectorError for every text that is none
 */
export function parseSelector(text: string): Selector {
  return new Parser(text).selector()
}

const NAME = /[A-Za-z_:][A-Za-z0-9_:]*/y
const LABEL = /[A-Za-z_][A-Za-z0-9_]*/y
const SPACE = /(?:[ \t\r\n]|#[^\n]*)*/y
const OPERATOR = /=~|!~|!=|=/y
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
}
const ESCAPED_BYTES = /(?:\\(?:x[0-9A-Fa-f]{2}|[0-3][0-7]{2}))+/y
const ESCAPED_RUNE = /\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))/y

class Parser {
  readonly #text: string
  #at = 0
  readonly #matchers: Matcher[] = []
  readonly #tests: Test[] = []
  /** The name in front of the braces, or quoted within. */
  #named = false

  constructor(text: string) {
    this.#text = text
  }

  selector(): Selector {
    this.#take(SPACE)
    const start = this.#at
    const name = this.#take(NAME)
    if (name !== undefined) this.#name(name, start)
    this.#take(SPACE)
    if (this.#char() === '{') this.#braces()
    else if (name === undefined) throw new SelectorError(this.#at, 'expected a metric name or {')
    this.#take(SPACE)
    if (this.#at < this.#text.length) throw new SelectorError(this.#at, `unexpected ${this.#shown()}`)
    if (this.#named && this.#matchers.filter((m) => m.name === METRIC_NAME).length > 1)
      throw new SelectorError(start, 'the metric name is set twice')
    if (this.#tests.every((test) => test('')))
      throw new SelectorError(start, 'at least one matcher must not match the empty text')
    return new Selector(this.#text, this.#matchers, this.#tests)
  }

  #braces(): void {
    this.#at++
    this.#take(SPACE)
    while (this.#char() !== '}') {
      this.#matcher()
      this.#take(SPACE)
      if (this.#char() === ',') {
        this.#at++
        this.#take(SPACE)
      } else if (this.#char() !== '}') throw new SelectorError(this.#at, `expected , or }, got ${this.#shown()}`)
    }
    this.#at++
  }

  #matcher(): void {
    const start = this.#at
    const quoted = this.#string()
    const name = quoted ?? this.#take(LABEL)
    if (name === undefined) throw new SelectorError(start, `expected a label name, got ${this.#shown()}`)
    this.#take(SPACE)
    if (quoted !== undefined && (this.#char() === ',' || this.#char() === '}')) {
      this.#name(quoted, start)
      return
    }
    const op = this.#take(OPERATOR) as MatchOp | undefined
    if (op === undefined) throw new SelectorError(this.#at, `expected one of = != =~ !~, got ${this.#shown()}`)
    if (name === '') throw new SelectorError(start, 'a label name is empty')
    this.#take(SPACE)
    const valueAt = this.#at
    const value = this.#string()
    if (value === undefined) throw new SelectorError(valueAt, `expected a quoted text, got ${this.#shown()}`)
    this.#add({ op, name, value }, valueAt)
  }

  #name(name: string, at: number): void {
    this.#named = true
    this.#add({ op: '=', name: METRIC_NAME, value: name }, at)
  }

  #add(matcher: Matcher, at: number): void {
    this.#matchers.push(matcher)
    this.#tests.push(testOf(matcher, at))
  }

  /** A quoted text, if one is next. */
  #string(): string | undefined {
    const start = this.#at
    const quote = this.#char()
    if (quote === '`') {
      const end = this.#text.indexOf('`', start + 1)
      if (end < 0) throw new SelectorError(start, 'a quoted text has no end')
      this.#at = end + 1
      return this.#text.slice(start + 1, end)
    }
    if (quote !== '"' && quote !== "'") return undefined
    let out = ''
    for (this.#at++; ; ) {
      const c = this.#char()
      if (c === '' || c === '\n') throw new SelectorError(start, 'a quoted text has no end')
      if (c === '\\') out += this.#escape(quote)
      else {
        this.#at++
        if (c === quote) return out
        out += c
      }
    }
  }

  #escape(quote: string): string {
    const start = this.#at
    const bytes = this.#take(ESCAPED_BYTES)
    if (bytes !== undefined) return this.#bytes(bytes, start)
    const rune = this.#take(ESCAPED_RUNE)
    const code = rune === undefined ? -1 : Number.parseInt(rune.slice(2), 16)
    if (code >= 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) return String.fromCodePoint(code)
    const c = this.#text[start + 1] ?? ''
    const plain = c === quote ? quote : Object.hasOwn(ESCAPES, c) ? ESCAPES[c] : undefined
    if (plain === undefined) throw new SelectorError(start, `the escape \\${c} is unknown`)
    this.#at += 2
    return plain
  }

  /** Escaped bytes in a row are UTF-8. */
  #bytes(escapes: string, start: number): string {
    const bytes = Array.from(escapes.matchAll(/\\(?:x(..)|(...))/g), ([, hex, octal]) =>
      hex === undefined ? Number.parseInt(octal!, 8) : Number.parseInt(hex, 16),
    )
    try {
      return utf8Decode(Uint8Array.from(bytes))
    } catch {
      throw new SelectorError(start, 'escaped bytes are not valid UTF-8')
    }
  }

  #char(): string {
    return this.#text[this.#at] ?? ''
  }

  #shown(): string {
    return this.#at < this.#text.length ? `"${this.#text.slice(this.#at, this.#at + 10)}"` : 'the end'
  }

  /** What the pattern matches here; undefined when it does not. */
  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match === null) return undefined
    this.#at = pattern.lastIndex
    return match[0]
  }
}

function testOf({ op, value }: Matcher, at: number): Test {
  if (op === '=') return (v) => v === value
  if (op === '!=') return (v) => v !== value
  try {
    const pattern = compilePattern(value)
    return op === '=~' ? (v) => pattern.test(v) : (v) => !pattern.test(v)
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new SelectorError(at, `the pattern "${value}": ${error.message}`)
  }
}
