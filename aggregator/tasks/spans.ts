/** Sets of moments as spans of time: in order, apart from each other, none empty. Each function takes and gives such, where it says nothing else. */
import type { Span } from './step-function.ts'

/** @param spans in any order, overlapping or not, also empty ones */
export function unionOf(spans: readonly Span[]): Span[] {
  const out: { from: number; to: number }[] = []
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    if (to <= from) continue
    const last = out.at(-1)
    if (last === undefined || from > last.to) out.push({ from, to })
    else if (to > last.to) last.to = to
  }
  return out
}

/** The moments of the first that are none of the second. */
export function without(spans: readonly Span[], others: readonly Span[]): Span[] {
  const out: Span[] = []
  let first = 0
  for (const { from, to } of spans) {
    let at = from
    while (first < others.length && others[first]!.to <= from) first++
    for (let i = first; i < others.length && others[i]!.from < to; i++) {
      if (others[i]!.from > at) out.push({ from: at, to: others[i]!.from })
      at = Math.max(at, others[i]!.to)
    }
    if (at < to) out.push({ from: at, to })
  }
  return out
}

/** @param spans in any order */
export function clipped(spans: readonly Span[], { from, to }: Span): Span[] {
  return spans.flatMap((span) => {
    const cut = { from: Math.max(from, span.from), to: Math.min(to, span.to) }
    return cut.to > cut.from ? [cut] : []
  })
}
