/**
 * Patterns in RE2's syntax, as Prometheus and ClickHouse read them; the only file that imports `re2js`, a port of RE2: it takes
 * what RE2 takes, and its time is linear in the text. JavaScript's own expressions would let a label value stop a thread.
 * @see https://github.com/google/re2/wiki/Syntax
 */
import { RE2JS } from 're2js'

/** Why a pattern is not taken. */
export class PatternError extends Error {
  override readonly name = 'PatternError'
}

/** A compiled pattern; it matches whole texts only, and `.` matches line ends too. */
export interface Pattern {
  test(text: string): boolean
}

/** @throws PatternError when RE2 would not take it */
export function compilePattern(pattern: string): Pattern {
  try {
    const compiled = RE2JS.compile(pattern, RE2JS.DOTALL)
    return { test: (text) => compiled.matches(text) }
  } catch (error) {
    throw new PatternError(error instanceof Error ? error.message : String(error))
  }
}
