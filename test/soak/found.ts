/** What was found beside what was acknowledged, for one lane: pure, so that it can be tested that it sees every kind of damage. */
import type { ReadSeries } from '../support/remote-read.ts'
import type { Lane } from './load.ts'

export interface Found {
  /** Samples that were looked for. */
  expected: number
  /** Native histograms that were looked for. */
  histograms: number
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
  return { expected: 0, histograms: 0, lost: 0, twice: 0, wrong: 0, foreign: 0, examples: [] }
}

export function isSound({ lost, twice, wrong, foreign }: Found): boolean {
  return lost + twice + wrong + foreign === 0
}

export function add(sum: Found, found: Found): void {
  for (const key of ['expected', 'histograms', 'lost', 'twice', 'wrong', 'foreign'] as const) sum[key] += found[key]
  sum.examples.push(...found.examples.slice(0, EXAMPLES - sum.examples.length))
}

/**
 * @param answer all series of the lane; what is before these requests was compared already
 * @param to not among the requests
 */
export function compareLane(
  lane: Pick<Lane, 'number' | 'options' | 'timeOf' | 'valueOf' | 'hasHistogram'>,
  answer: readonly ReadSeries[],
  from: number,
  to: number,
): Found {
  const { series: count, stepMs } = lane.options
  const found = nothingFound()
  const note = (kind: 'lost' | 'twice' | 'wrong' | 'foreign', what: string): void => {
    found[kind]++
    if (found.examples.length < EXAMPLES) found.examples.push(`lane ${lane.number}: ${kind}: ${what}`)
  }
  found.expected = count * (to - from)
  const places = count + 1 // of a request: the last one is the histogram's
  const there = new Uint8Array(places * (to - from))
  const isExpected = (series: number, n: number): boolean =>
    series < count || (series === count && lane.hasHistogram(n))
  const see = (series: number, isHistogram: boolean, timestamp: number, value: number): void => {
    if (timestamp < lane.timeOf(from)) return
    const n = (timestamp - lane.timeOf(0)) / stepMs
    const what = `series ${series} at ${timestamp}: ${isHistogram ? 'a histogram of ' : ''}${value}`
    const isRequest = Number.isInteger(n) && n < to && Number.isInteger(series) && series >= 0
    if (!isRequest || isHistogram !== (series === count) || !isExpected(series, n)) {
      note('foreign', what)
      return
    }
    const place = (n - from) * places + series
    if (there[place] === 1) note('twice', what)
    there[place] = 1
    if (!Object.is(value, lane.valueOf(series, n))) note('wrong', `${what} instead of ${lane.valueOf(series, n)}`)
  }
  for (const { labels, samples, histograms } of answer) {
    const series = Number(labels['series'])
    for (const { timestamp, value } of samples) see(series, false, timestamp, value)
    for (const { timestamp, sum = 0 } of histograms) see(series, true, Number(timestamp), Number(sum))
  }
  for (const [place, seen] of there.entries()) {
    const [series, n] = [place % places, from + Math.floor(place / places)]
    if (!isExpected(series, n)) continue
    if (series === count) found.histograms++
    if (seen === 0) note('lost', `series ${series} of request ${n}`)
  }
  return found
}
