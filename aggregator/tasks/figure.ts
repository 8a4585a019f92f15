/**
 * One metric's figures over one window. A figure that less than half of the window stands behind is null, never zero.
 */
import type { Points, Span, StepFunction } from './step-function.ts'

export interface Figure {
  /** Time-weighted; of a counter: its rise per second. */
  readonly mean: number | null
  /** Of the samples inside; where there are none, of the one that holds at the start. */
  readonly min: number | null
  readonly max: number | null
  /** The value that is not exceeded for 95 % of the covered time. */
  readonly p95: number | null
  readonly last: number | null
  /** Value · seconds; of a counter: its rise. */
  readonly integral: number | null
  /** Samples inside the window. */
  readonly samples: number
  /** Share of the window that has data, 0 to 1. */
  readonly coverage: number
  /** Low: fewer than two samples stand behind it, as for a window shorter than the interval between them. */
  readonly confidence: 'full' | 'low'
}

/** Below this share of the window there is no figure. */
export const COVERAGE_MIN = 0.5

const NOTHING = { mean: null, min: null, max: null, p95: null, last: null, integral: null }

/**
 * @param steps what the samples say between them
 * @param points the samples themselves, for the extremes: what held before the window's first sample is of the time before it;
 *   absent for counters
 */
export function figureOf(steps: StepFunction, points: Points | undefined, window: Span): Figure {
  const length = window.to - window.from
  // An instant is covered where something holds.
  const coverage =
    length > 0 ? Math.min(1, steps.covered(window) / length) : steps.at(window.from) === undefined ? 0 : 1
  const inside = points === undefined ? undefined : insideOf(points, window)
  const held = length > 0 ? steps.within(window) : [{ ...window, value: steps.at(window.from) ?? 0 }]
  const samples = inside?.length ?? held.length
  const confidence = samples < 2 ? 'low' : 'full'
  if (coverage < COVERAGE_MIN) return { ...NOTHING, samples, coverage, confidence }
  const values = inside === undefined || inside.length === 0 ? held.map((step) => step.value) : inside
  const integral = steps.integral(window)
  return {
    mean: length > 0 ? (integral * 1000) / steps.covered(window) : held[0]!.value,
    min: values.reduce((a, b) => Math.min(a, b)),
    max: values.reduce((a, b) => Math.max(a, b)),
    p95: weightedQuantile(held, 0.95),
    last: held.at(-1)!.value,
    integral,
    samples,
    coverage,
    confidence,
  }
}

function insideOf({ times, values }: Points, { from, to }: Span): number[] {
  const out: number[] = []
  for (let i = 0; i < times.length; i++)
    if (times[i]! >= from && times[i]! < to && Number.isFinite(values[i]!)) out.push(values[i]!)
  return out
}

function weightedQuantile(steps: StepFunction['steps'], quantile: number): number {
  const sorted = [...steps].sort((a, b) => a.value - b.value)
  const whole = sorted.reduce((sum, { from, to }) => sum + (to - from), 0)
  let passed = 0
  for (const { from, to, value } of sorted) {
    passed += to - from
    if (passed >= quantile * whole) return value
  }
  return sorted.at(-1)!.value
}
