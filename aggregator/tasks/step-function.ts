/**
 * What a series says between its samples: a value that holds for a while, then another. A gauge's sample holds until the next one,
 * at most the staleness limit; a counter rises evenly between two readings. Both become the same thing, steps, so that means,
 * integrals and shares are computed in one place.
 *
 *     value ┤   ┌────┐
 *           │   │    └──┐         ┌───      nothing holds: not covered, which is not the same as zero
 *           └───┴───────┴ ─ ─ ─ ─ ┴────▶ time
 */

/** Samples in the order of time, each instant once. Times in ms. NaN (a stale marker is one) ends what held. */
export interface Points {
  readonly times: ArrayLike<number>
  readonly values: ArrayLike<number>
}

/** From `from` on, up to before `to`; ms since the epoch. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** A counter's step is its rise per second. */
export interface Step extends Span {
  readonly value: number
}

export class StepFunction {
  readonly steps: readonly Step[]
  /** Integral up to the end of each step, value · seconds. */
  readonly #integrals: Float64Array
  /** Covered up to the end of each step, ms. */
  readonly #covered: Float64Array

  /** @param steps in the order of time, without overlap, none empty */
  constructor(steps: readonly Step[]) {
    this.steps = steps
    this.#integrals = new Float64Array(steps.length + 1)
    this.#covered = new Float64Array(steps.length + 1)
    for (const [i, { from, to, value }] of steps.entries()) {
      this.#integrals[i + 1] = this.#integrals[i]! + (value * (to - from)) / 1000
      this.#covered[i + 1] = this.#covered[i]! + (to - from)
    }
  }

  /** Value · seconds over the span; what is not covered adds nothing. */
  integral({ from, to }: Span): number {
    return to <= from
      ? 0
      : this.#upTo(to, this.#integrals, 1 / 1000, true) - this.#upTo(from, this.#integrals, 1 / 1000, true)
  }

  /** How much of the span has a value, ms. */
  covered({ from, to }: Span): number {
    return to <= from ? 0 : this.#upTo(to, this.#covered, 1, false) - this.#upTo(from, this.#covered, 1, false)
  }

  /** The value that holds at an instant; undefined where none does. */
  at(time: number): number | undefined {
    const step = this.steps[this.#first(time)]
    return step !== undefined && step.from <= time ? step.value : undefined
  }

  /** The steps of a span, cut to it. */
  within({ from, to }: Span): Step[] {
    const out: Step[] = []
    for (let i = this.#first(from); i < this.steps.length && this.steps[i]!.from < to; i++) {
      const step = this.steps[i]!
      out.push({ from: Math.max(step.from, from), to: Math.min(step.to, to), value: step.value })
    }
    return out
  }

  #upTo(time: number, sums: Float64Array, scale: number, weighted: boolean): number {
    const i = this.#first(time)
    const step = this.steps[i]
    if (step === undefined || step.from >= time) return sums[i]!
    return sums[i]! + (time - step.from) * scale * (weighted ? step.value : 1)
  }

  /** Index of the first step that ends after an instant. */
  #first(time: number): number {
    let low = 0
    let high = this.steps.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.steps[middle]!.to > time) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** @param holdMs how long a sample holds at most */
export function heldSteps({ times, values }: Points, holdMs: number): StepFunction {
  const steps: Step[] = []
  for (let i = 0; i < times.length; i++) {
    const value = values[i]!
    if (!Number.isFinite(value)) continue
    const from = times[i]!
    const next = i + 1 < times.length ? times[i + 1]! : Number.POSITIVE_INFINITY
    steps.push({ from, to: Math.min(next, from + holdMs), value })
  }
  return new StepFunction(steps)
}

/**
 * A reading below the one before is a reset: it then rose from zero. Over a gap longer than `gapMs` nobody knows when it rose.
 */
export function risingSteps({ times, values }: Points, gapMs: number): StepFunction {
  const steps: Step[] = []
  let before = -1
  for (let i = 0; i < times.length; i++) {
    if (!Number.isFinite(values[i]!)) continue
    if (before >= 0) {
      const [from, to] = [times[before]!, times[i]!]
      const rise = values[i]! < values[before]! ? values[i]! : values[i]! - values[before]!
      if (to - from <= gapMs) steps.push({ from, to, value: (Math.max(0, rise) * 1000) / (to - from) })
    }
    before = i
  }
  return new StepFunction(steps)
}

/** The sum of several: covered where any of them is. */
export function sumOf(functions: readonly StepFunction[]): StepFunction {
  if (functions.length === 1) return functions[0]!
  const changes = functions.flatMap(({ steps }) =>
    steps.flatMap(({ from, to, value }) => [
      { time: from, value, count: 1 },
      { time: to, value: -value, count: -1 },
    ]),
  )
  changes.sort((a, b) => a.time - b.time)
  const steps: Step[] = []
  let value = 0
  let count = 0
  for (const [i, change] of changes.entries()) {
    count += change.count
    // Begins anew where nothing holds, so that rounding does not add up.
    value = count === 0 ? 0 : value + change.value
    const to = changes[i + 1]?.time ?? change.time
    if (count > 0 && to > change.time) steps.push({ from: change.time, to, value })
  }
  return new StepFunction(steps)
}
