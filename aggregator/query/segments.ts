/**
 * Which table answers which part of a range that lies below what memory holds. Pure: times in, ranges out.
 *
 *     ── points have expired ──│───────────── points ─────────────│ memory
 *          hourly roll-ups     │  hourly roll-ups where that is the same and cheaper
 */

/** Times in ms, inclusive both. */
export interface Span {
  readonly from: number
  readonly to: number
}

export interface SegmentInput extends Span {
  readonly stepMs: number
  /** Quantiles cannot be had from roll-ups. */
  readonly quantile: boolean
  /** Points are there from here on. */
  readonly pointsFrom: number
  /** Roll-ups of hours from here on are recomputed when points arrive. */
  readonly rolledFrom: number
  /** Hours that have points which their roll-up may not contain, starts. */
  readonly dirtyHours: ReadonlySet<number>
}

export interface Segments {
  /** To be read from points, except the hours below. */
  readonly points: Span | undefined
  /** To be read from hourly roll-ups: whole hours in these spans, except the dirty ones in `exact`. */
  readonly exact: Span | undefined
  readonly expired: Span | undefined
  /** What the answer cannot resolve, in sentences. */
  readonly warnings: readonly string[]
}

const HOUR_MS = 3_600_000
/** Below this, reading points costs nothing worth saving. */
const ROLLUP_FROM_MS = 6 * HOUR_MS

export function planSegments(input: SegmentInput): Segments {
  const { from, to, stepMs, quantile, pointsFrom, rolledFrom } = input
  if (from > to) return { points: undefined, exact: undefined, expired: undefined, warnings: [] }
  const warnings: string[] = []
  let expired: Span | undefined
  if (from < pointsFrom) {
    const border = new Date(pointsFrom).toISOString()
    expired = quantile ? undefined : wholeHours({ from, to: Math.min(to, pointsFrom - 1) })
    if (quantile)
      warnings.push(
        `before ${border} only hourly count, sum, minimum, maximum and last are kept: percentiles cannot be given`,
      )
    else
      warnings.push(
        `before ${border} only hourly figures are kept: values stand at the start of their hour, and hours that the range cuts are left out`,
      )
  }
  if (to < pointsFrom) return { points: undefined, exact: undefined, expired, warnings }
  const points: Span = { from: Math.max(from, pointsFrom), to }
  const same = !quantile && stepMs % HOUR_MS === 0 && to - points.from >= ROLLUP_FROM_MS
  const exact = same ? wholeHours({ from: Math.max(points.from, rolledFrom), to }) : undefined
  return { points, exact, expired, warnings }
}

/** The whole hours inside a span, from the start of the first to the end of the last. */
function wholeHours({ from, to }: Span): Span | undefined {
  const first = Math.ceil(from / HOUR_MS) * HOUR_MS
  const end = Math.floor((to + 1) / HOUR_MS) * HOUR_MS
  return end > first ? { from: first, to: end - 1 } : undefined
}
