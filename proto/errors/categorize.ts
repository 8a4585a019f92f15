/**
 * Why a run failed, from its error text and what was seen of it: one category, with the rule and the evidence that decided. A pure function of
 * its input and of versioned tables (`text-rules.ts`, `xids.ts`, `evidence.ts`): the same run gets the same answer on every node.
 */

import type { Category, Chargeable, Retry } from './categories.ts'
import { CATEGORIES } from './categories.ts'
import type { Evidence, Finding } from './evidence.ts'
import { judge, judgeXid } from './evidence.ts'
import type { Pattern, Span } from './pattern.ts'
import { compile, find, fold, isSaid } from './pattern.ts'
import type { Strength } from './strengths.ts'
import { STRENGTHS } from './strengths.ts'
import type { TextRule } from './text-rules.ts'
import { RULES_VERSION, TEXT_RULES } from './text-rules.ts'
import { XID_VERSION } from './xids.ts'

export interface Failure {
  /** The error as it came; '' where there is none. Only its head and tail are read when it is long. */
  readonly text: string
  /** What was seen inside the run's window, in any order. */
  readonly evidence: readonly Evidence[]
}

export interface Verdict {
  readonly category: Category
  /** `error.type`: one of a few hundred words; 'unknown' where nothing matched. */
  readonly type: string
  /** Id of the rule that decided; 'none' where nothing matched. */
  readonly rule: string
  readonly retry: Retry
  readonly chargeable: Chargeable
  /** Where in the text the deciding words are, or null where evidence decided. */
  readonly matched: (Span & { readonly words: string }) | null
  /** The evidence that leads to this category, each as it was given. */
  readonly evidence: readonly Evidence[]
  /** Of the tables: `rules/xids`. */
  readonly version: string
}

/** What is read of a long text: how it began, and more of how it ended, where the exception is. UTF-16 units. */
export const HEAD_UNITS: number = 16 * 1024
export const TAIL_UNITS: number = 48 * 1024

/** Lines of the kernel's log that are looked at in one part of a text. */
const XID_LINES_MAX = 256

/** A rule's claim to be the answer. `start` is the text's; evidence has no place and comes before all. */
interface Claim extends Finding {
  readonly start: number
  readonly end: number
}

type CompiledRule = Omit<Finding, 'strength'> & { readonly strength: Strength; readonly patterns: readonly Pattern[] }

export type Categorizer = (failure: Failure) => Verdict

/** @param rules in any order: it changes no answer */
export function createCategorizer(rules: readonly TextRule[] = TEXT_RULES): Categorizer {
  const compiled = rules.map(({ id, any, ...rule }) => ({ ...rule, rule: id, patterns: any.map(compile) }))
  return ({ text, evidence }) => decide(text, evidence, claimsOfText(text, compiled))
}

/** The tables that are shipped. */
export const categorize: Categorizer = createCategorizer()

function decide(text: string, evidence: readonly Evidence[], claims: Claim[]): Verdict {
  const findings = evidence.map(judge)
  for (const finding of findings) if (finding !== undefined) claims.push({ ...finding, start: -1, end: -1 })
  const best = claims.reduce<Claim | undefined>((a, b) => (a === undefined || compare(b, a) < 0 ? b : a), undefined)
  const category = best?.category ?? 'unknown'
  const { retry, chargeable } = CATEGORIES[category]
  return {
    category,
    type: best?.type ?? 'unknown',
    rule: best?.rule ?? 'none',
    retry,
    chargeable,
    matched:
      best === undefined || best.start < 0
        ? null
        : { start: best.start, end: best.end, words: text.slice(best.start, best.end) },
    evidence: evidence.filter((_, i) => findings[i]?.category === category),
    version: `${RULES_VERSION}/${XID_VERSION}`,
  }
}

/** Below 0: `a` is the answer rather than `b`. Total: two claims that are equal here are the same answer. */
function compare(a: Claim, b: Claim): number {
  return (
    STRENGTHS[b.strength] - STRENGTHS[a.strength] ||
    a.start - b.start ||
    b.end - a.end ||
    (a.rule < b.rule ? -1 : a.rule > b.rule ? 1 : 0) ||
    (a.type < b.type ? -1 : a.type > b.type ? 1 : 0)
  )
}

function claimsOfText(text: string, rules: readonly CompiledRule[]): Claim[] {
  const claims: Claim[] = []
  for (const { from, part } of partsOf(text)) {
    const folded = fold(part)
    addXids(claims, folded, from)
    for (const { patterns, ...finding } of rules) {
      for (const pattern of patterns) {
        const span = find(pattern, folded)
        if (span !== undefined) claims.push({ ...finding, start: from + span.start, end: from + span.end })
      }
    }
  }
  return claims
}

function partsOf(text: string): { from: number; part: string }[] {
  if (text.length <= HEAD_UNITS + TAIL_UNITS) return [{ from: 0, part: text }]
  const tail = text.length - TAIL_UNITS
  return [
    { from: 0, part: text.slice(0, HEAD_UNITS) },
    { from: tail, part: text.slice(tail) },
  ]
}

/** How the driver's log, DCGM and other monitors write an XID; each expression looks at one short, bounded piece. */
const XID_FORMS = [
  /^xid \((?:pci:)?[0-9a-f:.]{4,24}\): (\d{1,5})\b/,
  /^xid (\d{1,5})\(/,
  /^xid (\d{1,5}) (?:for|on) gpu\b/,
  /^xid error (\d{1,5})\b/,
  /^xid=(\d{1,5}) on device=/,
  /^xid (\d{1,5})\)/,
]

function addXids(claims: Claim[], folded: string, from: number): void {
  let start = folded.indexOf('xid')
  for (let lines = 0; start !== -1 && lines < XID_LINES_MAX; lines++) {
    const piece = folded.slice(start, start + 64)
    const match = /\w/.test(folded[start - 1] ?? '')
      ? undefined
      : XID_FORMS.map((form) => form.exec(piece)).find((m) => m !== null)
    if (match && isSaid(folded, start, start + match[0].length)) {
      const finding = judgeXid(Number(match[1]))
      // What a text says of an XID may be of another day or GPU: less than evidence from the window itself.
      if (finding !== undefined) {
        claims.push({
          ...finding,
          rule: 'text.xid',
          strength: 'stated',
          start: from + start,
          end: from + start + match[0].length,
        })
      }
    }
    start = folded.indexOf('xid', start + 3)
  }
}
