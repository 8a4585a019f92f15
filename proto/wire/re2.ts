/**
 * Patterns in RE2's syntax, as Prometheus and ClickHouse read them, run by JavaScript's regular expressions.
 *
 * The pattern is rewritten piece by piece, so that a piece which means something else here (`\s`, `[[:alpha:]]`, `\Q…\E`, a
 * lone `{`) keeps its meaning there, and what RE2 does not have is refused. Anchored at both ends; `.` matches line ends too.
 *
 * Not taken, though RE2 has it: flags other than `i` and `s`, and flags anywhere but at the start.
 *
 * RE2 runs in linear time, this does not: patterns are written by operators, and run once a series.
 * @see https://github.com/google/re2/wiki/Syntax
 */

/** Why a pattern is not taken. */
export class PatternError extends Error {
  /** Offset in the pattern. */
  readonly position: number

  constructor(position: number, message: string) {
    super(message)
    this.name = 'PatternError'
    this.position = position
  }
}

const REPEAT_MAX = 1000 // RE2's own bound
const SPACES = '\\t\\n\\f\\r\\u{20}'
const CLASSES: Readonly<Record<string, string>> = {
  d: '0-9',
  s: SPACES,
  w: '0-9A-Za-z_',
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\u{0}-\\u{7f}',
  blank: '\\t\\u{20}',
  cntrl: '\\u{0}-\\u{1f}\\u{7f}',
  digit: '0-9',
  graph: '\\u{21}-\\u{7e}',
  lower: 'a-z',
  print: '\\u{20}-\\u{7e}',
  punct: '\\u{21}-\\u{2f}\\u{3a}-\\u{40}\\u{5b}-\\u{60}\\u{7b}-\\u{7e}',
  space: `${SPACES}\\v`,
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
}
const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 }

/**
 * The expression for a pattern; it matches whole texts only.
 * @throws PatternError when RE2 would not take it, or we cannot
 */
export function compilePattern(pattern: string): RegExp {
  const flags = /^\(\?([is]+)\)/.exec(pattern)
  const source = new Translation(pattern, flags?.[0].length ?? 0).source()
  try {
    return new RegExp(`^(?:${source})$`, flags?.[1]?.includes('i') ? 'iv' : 'v')
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^.*: /s, '') : String(error)
    throw new PatternError(0, `is not a regular expression: ${reason}`)
  }
}

class Translation {
  readonly #pattern: string
  #at: number
  #out = ''
  #open = 0

  constructor(pattern: string, start: number) {
    this.#pattern = pattern
    this.#at = start
  }

  source(): string {
    while (this.#at < this.#pattern.length) this.#out += this.#piece()
    if (this.#open > 0) throw new PatternError(this.#at, 'has a ( without its )')
    return this.#out
  }

  #piece(): string {
    const c = this.#next()
    switch (c) {
      case '\\':
        return this.#escape()
      case '[':
        return this.#class()
      case '(':
        return this.#group()
      case '{':
        return this.#repetition()
      case '.':
        return '[\\u{0}-\\u{10ffff}]'
      case '^':
      case '$':
        return `(?:${c})` // RE2 lets an anchor be repeated
      case '*':
      case '+':
      case '?':
      case '|':
        return c
      case ')':
        if (this.#open-- === 0) throw new PatternError(this.#at - 1, 'has a ) without its (')
        return c
      default:
        return literal(c)
    }
  }

  /** `\…` outside of a class, behind the backslash. */
  #escape(): string {
    const start = this.#at - 1
    const c = this.#peek()
    if (c === 'b' || c === 'B') {
      this.#at++
      return `(?:\\${c})`
    }
    if (c === 'A' || c === 'z') {
      this.#at++
      return c === 'A' ? '(?:^)' : '(?:$)'
    }
    if (c === 'Q') {
      this.#at++
      return this.#quoted()
    }
    const set = this.#set()
    return set === undefined ? codePoint(this.#character(start)) : set
  }

  /** `\Q…\E`: everything up to `\E`, or the end, as it stands. */
  #quoted(): string {
    const end = this.#pattern.indexOf('\\E', this.#at)
    const text = this.#pattern.slice(this.#at, end < 0 ? undefined : end)
    this.#at = end < 0 ? this.#pattern.length : end + 2
    return [...text].map(literal).join('')
  }

  /** `d`, `S`, `pL`, `P{Greek}` … behind a backslash, as a class of its own; undefined when it is none of them. */
  #set(): string | undefined {
    const start = this.#at - 1
    const c = this.#peek()
    if (/^[dswDSW]$/.test(c)) {
      this.#at++
      return `[${c < 'a' ? '^' : ''}${CLASSES[c.toLowerCase()]}]`
    }
    if (c !== 'p' && c !== 'P') return undefined
    const match = /^[pP](?:\{(\^?)([A-Za-z_]+)\}|([A-Z]))/.exec(this.#pattern.slice(this.#at))
    if (match === null) throw new PatternError(start, 'has a \\p without the name of a class')
    this.#at += match[0].length
    const name = match[2] ?? match[3]!
    const property = name === 'Any' || name.length <= 2 ? name : `Script=${name}`
    return `${(c === 'P') !== (match[1] === '^') ? '\\P' : '\\p'}{${property}}`
  }

  /** An escape that is one character, behind the backslash at `start`. */
  #character(start: number): number {
    const c = this.#next()
    const octal = /^(?:0[0-7]{0,2}|[1-7][0-7]{1,2})/.exec(this.#pattern.slice(start + 1))
    if (octal !== null) {
      this.#at = start + 1 + octal[0].length
      return Number.parseInt(octal[0], 8)
    }
    if (c >= '1' && c <= '9') throw new PatternError(start, `has the backreference \\${c}, which RE2 does not know`)
    if (c === 'k') throw new PatternError(start, 'has the backreference \\k, which RE2 does not know')
    const hex = /^x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))/.exec(this.#pattern.slice(start + 1))
    if (hex !== null) {
      this.#at = start + 1 + hex[0].length
      const code = Number.parseInt(hex[1] ?? hex[2]!, 16)
      if (code <= 0x10ffff) return code
    } else if (CONTROLS[c] !== undefined) return CONTROLS[c]
    else if (/^[^0-9A-Za-z\u{80}-\u{10ffff}]$/u.test(c)) return c.codePointAt(0)!
    throw new PatternError(start, c === '' ? 'ends in a backslash' : `has the escape \\${c}, which RE2 does not know`)
  }

  /** `[…]`, behind the bracket. */
  #class(): string {
    const start = this.#at - 1
    const negated = this.#peek() === '^'
    if (negated) this.#at++
    let out = ''
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      if (this.#at >= this.#pattern.length) throw new PatternError(start, 'has a [ without its ]')
      out += this.#posixSet() ?? this.#range(start)
    }
    this.#at++
    return `[${negated ? '^' : ''}${out}]`
  }

  /** `[:alpha:]` and `\d` inside of a class; undefined when a character is next. */
  #posixSet(): string | undefined {
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(this.#pattern.slice(this.#at))
    if (posix !== null) {
      const set = Object.hasOwn(CLASSES, posix[2]!) && posix[2]!.length > 1 ? CLASSES[posix[2]!] : undefined
      if (set === undefined) throw new PatternError(this.#at, `has the unknown class ${posix[0]}`)
      this.#at += posix[0].length
      return `[${posix[1]}${set}]`
    }
    if (this.#peek() !== '\\') return undefined
    this.#at++
    const set = this.#set()
    if (set === undefined) this.#at--
    return set
  }

  #range(start: number): string {
    const low = this.#classCharacter(start)
    const rest = this.#pattern.slice(this.#at, this.#at + 2)
    if (rest[0] !== '-' || rest.length < 2 || rest[1] === ']') return codePoint(low)
    this.#at++
    const from = this.#at
    const high = this.#classCharacter(start)
    if (high < low) throw new PatternError(from, 'has a range in a class that goes backwards')
    return `${codePoint(low)}-${codePoint(high)}`
  }

  #classCharacter(start: number): number {
    const c = this.#next()
    if (c === '') throw new PatternError(start, 'has a [ without its ]')
    return c === '\\' ? this.#character(this.#at - 1) : c.codePointAt(0)!
  }

  /** `(…`, behind the parenthesis. */
  #group(): string {
    const start = this.#at - 1
    this.#open++
    if (this.#peek() !== '?') return '(?:' // what is captured is never asked for
    const rest = this.#pattern.slice(this.#at)
    if (/^\?(?:<?[=!])/.test(rest)) throw new PatternError(start, 'looks around, which RE2 cannot')
    const opening = /^\?(?::|P?<[A-Za-z0-9_]+>)/.exec(rest)
    if (opening === null)
      throw new PatternError(start, 'has a group of an unknown kind; flags are taken at the start only: (?i), (?s)')
    this.#at += opening[0].length
    return '(?:'
  }

  /** `{n,m}`, behind the brace; a brace that begins nothing of the kind stands for itself. */
  #repetition(): string {
    const match = /^(\d+)(?:,(\d*))?\}/.exec(this.#pattern.slice(this.#at))
    if (match === null) return literal('{')
    if (Number(match[1]) > REPEAT_MAX || Number(match[2] ?? 0) > REPEAT_MAX)
      throw new PatternError(this.#at - 1, `repeats more than ${REPEAT_MAX} times`)
    this.#at += match[0].length
    return `{${match[0]}`
  }

  #peek(): string {
    const code = this.#pattern.codePointAt(this.#at)
    return code === undefined ? '' : String.fromCodePoint(code)
  }

  #next(): string {
    const c = this.#peek()
    this.#at += c.length
    return c
  }
}

function literal(c: string): string {
  return /^[A-Za-z0-9_]$/.test(c) ? c : codePoint(c.codePointAt(0)!)
}

function codePoint(code: number): string {
  return `\\u{${code.toString(16)}}`
}
