/**
 * What was used in a quota's period, as a line: sums of `GET /v1/usage` by quarters of an hour, hours or days, added up. Of a rolling
 * window each point is what its window held then.
 */
import type { Quota } from '../../directory/quota.ts'
import type { FigureAnswer } from '../../quotas/api.ts'
import type { UsageAnswer } from '../../tasks/task-answers.ts'
import type { QuotaLevel } from './quotas-question.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

/** Times in s since the epoch, ascending; amounts in the unit of the resource. */
export interface QuotaHistory {
  readonly points: readonly (readonly [time: number, used: number])[]
  /** When anything was used first; undefined: nothing was. */
  readonly first: number | undefined
  readonly step: Step
  /** There is more than is asked for: the line is too low. */
  readonly cut: boolean
}

export type Step = keyof typeof STEPS
const STEPS = { slot: 900, hour: 3600, day: 86_400 } as const

const FILTERS = { user: 'user_id', project: 'project', department: 'department', tenant: '' } as const
const LINES = '1000'
const PAGES_MAX = 6
const FINE_SECONDS_MAX = 2 * 86_400

export interface HistoryQuestion {
  readonly level: QuotaLevel
  readonly figure: Pick<FigureAnswer, 'subject' | 'resource' | 'window' | 'period_from' | 'resets_at'>
  readonly seconds: Quota['seconds']
  /** s. */
  readonly now: number
}

export async function askHistory(
  credentials: Credentials,
  question: HistoryQuestion,
  signal: AbortSignal,
): Promise<QuotaHistory> {
  const { figure, level, now } = question
  const { from, step } = spanOf(question)
  const column = FILTERS[level]
  const asked = {
    group_by: step,
    resource: figure.resource,
    from: new Date(from * 1000).toISOString(),
    to: new Date(now * 1000).toISOString(),
    limit: LINES,
    ...(column === '' ? {} : { [column]: figure.subject }),
  }
  const sums = new Map<number, number>()
  let cursor: string | null = ''
  for (let page = 0; page < PAGES_MAX && cursor !== null; page++) {
    const more: Record<string, string> = cursor === '' ? asked : { ...asked, cursor }
    const answer: UsageAnswer = await ask<UsageAnswer>(credentials, 'v1/usage', more, signal)
    for (const { period, amount } of answer.data) {
      const at = Date.parse(period ?? '') / 1000
      sums.set(at, (sums.get(at) ?? 0) + Number(amount))
    }
    cursor = answer.next_cursor
  }
  const first = sums.size === 0 ? undefined : Math.min(...sums.keys())
  return { points: pointsOf(sums, question, first), first, step, cut: cursor !== null }
}

/** From when on rows are asked for, s, and by what steps. */
function spanOf({ figure, seconds, now }: HistoryQuestion): { readonly from: number; readonly step: Step } {
  const { window, period_from, resets_at } = figure
  if (window === 'lifetime') return { from: 0, step: 'day' }
  if (window === 'rolling') {
    const length = seconds ?? 0
    const step = length <= FINE_SECONDS_MAX ? 'slot' : 'hour'
    return { from: Math.floor((now - 2 * length) / STEPS[step]) * STEPS[step], step }
  }
  const from = Date.parse(period_from ?? '') / 1000
  const to = Date.parse(resets_at ?? '') / 1000
  return { from, step: to - from <= FINE_SECONDS_MAX ? 'slot' : 'hour' }
}

/** Zones may begin their days within an hour: a step counts where it ends. */
function pointsOf(
  sums: ReadonlyMap<number, number>,
  question: HistoryQuestion,
  first: number | undefined,
): QuotaHistory['points'] {
  const { figure, seconds, now } = question
  const { from, step } = spanOf(question)
  const size = STEPS[step]
  const start = figure.window === 'lifetime' ? (first ?? now) : from
  const points: [number, number][] = figure.window === 'rolling' ? [] : [[start, 0]]
  /** Sums of all steps before, for what leaves a rolling window. */
  const before: number[] = [0]
  // A quarter of an hour counts while any of it is in the window: one more than its length has.
  const kept = figure.window === 'rolling' ? Math.floor((seconds ?? 0) / size) + 1 : Number.POSITIVE_INFINITY
  for (let at = Math.floor(start / size) * size; at < now; at += size) {
    before.push(before.at(-1)! + (sums.get(at) ?? 0))
    const end = Math.min(at + size, now)
    if (end > start && (kept === Number.POSITIVE_INFINITY || end > now - (seconds ?? 0)))
      points.push([end, before.at(-1)! - before[Math.max(0, before.length - 1 - kept)]!])
  }
  return points
}
