/** What was found beside what was acknowledged, for one lane: pure, so that it can be tested that it sees every kind of damage. */
import type { ReadSeries } from '../support/remote-read.ts'
import type { Lane } from './load.ts'

export interface Found {
  /** Samples that were looked for. */
  expected: number
  lost: number
  twice: number
  /** There, with another value. */
  wrong: number
  /** There, and nobody sent them. */
  foreign: number
  /** The first of these, for people. */
  examples: string[]
}

const EXAMPLES = 5

export function nothingFound(): Found {
  return { expected: 0, lost: 0, twice: 0, wrong: 0, foreign: 0, examples: [] }
}

export function isSound({ lost, twice, wrong, foreign }: Found): boolean {
  return lost + twice + wrong + foreign === 0
}

export function add(sum: Found, found: Found): void {
  for (const key of ['expected', 'lost', 'twice', 'wrong', 'foreign'] as const) sum[key] += found[key]
  sum.examples.push(...found.examples.slice(0, EXAMPLES - sum.examples.length))
}

/**
 * @param answer all series of the lane; what is before these requests was compared already
 * @param to not among the requests
 */
export function compareLane(
  lane: Pick<Lane, 'number' | 'options' | 'timeOf' | 'valueOf'>,
  answer: readonly ReadSeries[],
  from: number,
  to: number,
): Found {
  const { series: count, stepMs } = lane.options
  const found = nothingFound()
  found.expected = count * (to - from)
  const there = new Uint8Array(found.expected)
  const note = (kind: 'lost' | 'twice' | 'wrong' | 'foreign', what: string): void => {
    found[kind]++
    if (found.examples.length < EXAMPLES) found.examples.push(`lane ${lane.number}: ${kind}: ${what}`)
  }
  for (const { labels, samples } of answer) {
    const series = Number(labels['series'])
    for (const { timestamp, value } of samples) {
      if (timestamp < lane.timeOf(from)) continue
      const n = (timestamp - lane.timeOf(0)) / stepMs
      const what = `series ${series} at ${timestamp}: ${value}`
      if (!Number.isInteger(n) || n >= to || !Number.isInteger(series) || series < 0 || series >= count) {
        note('foreign', what)
        continue
      }
      const place = (n - from) * count + series
      if (there[place] === 1) note('twice', what)
      there[place] = 1
      if (!Object.is(value, lane.valueOf(series, n))) note('wrong', `${what} instead of ${lane.valueOf(series, n)}`)
    }
  }
  for (const [place, seen] of there.entries())
    if (seen === 0) note('lost', `series ${place % count} of request ${from + Math.floor(place / count)}`)
  return found
}
