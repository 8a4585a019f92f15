/** What becomes of a quota if it goes on as it went in its period so far: a straight line, and nothing where that would say nothing. */
import type { FigureAnswer } from '../../quotas/api.ts'

/** Times in s since the epoch. */
export interface Forecast {
  /** Of the resource's unit, a second. */
  readonly rate: number
  readonly from: number
  /** When the period ends; Infinity: never. */
  readonly to: number
  /** When it is over the limit; undefined: not in the period. */
  readonly overAt: number | undefined
}

/** Of a period less than this part, or less than an hour, says too little. */
const PART_MIN = 0.05
const SECONDS_MIN = 3600
/** Without a period: so long after the first use, and no farther ahead than a few times what there was. */
const LIFETIME_SECONDS_MIN = 86_400
const AHEAD_MAX = 5

/** @param first when anything was used first, s; undefined: it is not known */
export function forecastOf(figure: FigureAnswer, first: number | undefined, now: number): Forecast | undefined {
  const used = Number(figure.used)
  const limit = Number(figure.limit)
  // What time gives back of a rolling window is no matter of a rate.
  if (figure.used === null || used <= 0 || used >= limit || figure.window === 'rolling') return undefined
  const forLife = figure.window === 'lifetime'
  const from = forLife ? first : seconds(figure.period_from)
  const to = forLife ? Number.POSITIVE_INFINITY : seconds(figure.resets_at)
  if (from === undefined || to === undefined) return undefined
  const elapsed = now - from
  if (elapsed < (forLife ? LIFETIME_SECONDS_MIN : Math.max(SECONDS_MIN, (to - from) * PART_MIN))) return undefined
  const rate = used / elapsed
  const overAt = from + limit / rate
  if (forLife && overAt > now + AHEAD_MAX * elapsed) return undefined
  return { rate, from, to, overAt: overAt < to ? overAt : undefined }
}

function seconds(time: string | null): number | undefined {
  return time === null ? undefined : Date.parse(time) / 1000
}
