/** Means by step over a stretch of time: one line of a chart. */
import type { LineAnswer } from './api.ts'

/** Which stretch of time, in how many steps. */
export interface Steps {
  /** Start of the first one, ms. */
  readonly start: number
  readonly stepMs: number
  readonly count: number
}

/** The last steps up to now; they begin at multiples of their length, so that a line stays what it was. */
export function lastSteps(now: number, stepMs: number, count: number): Steps {
  return { start: (Math.floor(now / stepMs) - count + 1) * stepMs, stepMs, count }
}

export class StepMeans {
  readonly #steps: Steps
  readonly #sums: Float64Array
  readonly #counts: Uint32Array

  constructor(steps: Steps) {
    this.#steps = steps
    this.#sums = new Float64Array(steps.count)
    this.#counts = new Uint32Array(steps.count)
  }

  add(time: number, value: number): void {
    const step = Math.floor((time - this.#steps.start) / this.#steps.stepMs)
    if (step < 0 || step >= this.#steps.count) return
    this.#sums[step]! += value
    this.#counts[step]! += 1
  }

  /** A mean for each step, null where there was nothing. */
  values(): (number | null)[] {
    return Array.from(this.#sums, (sum, i) => (this.#counts[i] === 0 ? null : sum / this.#counts[i]!))
  }

  /** Of the newest step that has one. */
  get last(): number | null {
    return this.values().findLast((value) => value !== null) ?? null
  }
}

/** The lines as they are where they can be told apart; of more, the highest, the middle and the lowest value of each step. */
export function drawable(
  lines: readonly LineAnswer[],
  linesMax: number,
): { summary: boolean; lines: readonly LineAnswer[] } {
  if (lines.length <= linesMax) return { summary: false, lines }
  const steps = lines[0]!.values.length
  const highest: (number | null)[] = []
  const median: (number | null)[] = []
  const lowest: (number | null)[] = []
  for (let i = 0; i < steps; i++) {
    const there = lines.flatMap((line) => line.values[i] ?? []).sort((a, b) => a - b)
    highest.push(there.at(-1) ?? null)
    median.push(there[there.length >> 1] ?? null)
    lowest.push(there[0] ?? null)
  }
  return {
    summary: true,
    lines: [
      { name: 'highest', values: highest },
      { name: 'median', values: median },
      { name: 'lowest', values: lowest },
    ],
  }
}

/** The sum of lines, step by step. */
export function summed(name: string, lines: readonly LineAnswer[]): LineAnswer {
  const count = lines[0]?.values.length ?? 0
  const values = Array.from({ length: count }, (_, i) =>
    lines.reduce<number | null>((sum, { values: v }) => (v[i] == null ? sum : (sum ?? 0) + v[i]), null),
  )
  return { name, values }
}
