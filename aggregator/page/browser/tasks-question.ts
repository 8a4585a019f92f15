/** Which tasks are asked for, as it stands in the address and as the server is asked. */
import type { TaskStateAnswer } from '../../tasks/task-answers.ts'

export const STATES: readonly TaskStateAnswer[] = [
  'queued',
  'loading',
  'running',
  'completed',
  'failed',
  'cancelled',
  'lost',
]

export const PERIODS = {
  '1h': { name: 'Last hour', seconds: 3600 },
  '24h': { name: 'Last 24 hours', seconds: 86_400 },
  '7d': { name: 'Last 7 days', seconds: 604_800 },
  '30d': { name: 'Last 30 days', seconds: 2_592_000 },
  all: { name: 'Any time', seconds: Number.POSITIVE_INFINITY },
  days: { name: 'Days from … to …', seconds: Number.POSITIVE_INFINITY },
} as const
export type Period = keyof typeof PERIODS

/** Texts are exact; '' is any. */
export interface TasksQuestion {
  readonly state: TaskStateAnswer | ''
  readonly model: string
  readonly user: string
  readonly project: string
  readonly node: string
  readonly period: Period
  /** Of the period `days`: the first and the last, here; '' is open. */
  readonly first: string
  readonly last: string
  /** '' is the newest page. */
  readonly cursor: string
}

export const ANY_TASK: TasksQuestion = {
  state: '',
  model: '',
  user: '',
  project: '',
  node: '',
  period: '24h',
  first: '',
  last: '',
  cursor: '',
}

const TEXTS = ['model', 'user', 'project', 'node', 'cursor'] as const
const DAY = /^\d{4}-\d\d-\d\d$/

export function readTasksQuestion(parameters: URLSearchParams): TasksQuestion {
  const period = parameters.get('period') ?? ''
  const day = (name: string): string => (DAY.test(parameters.get(name) ?? '') ? (parameters.get(name) ?? '') : '')
  const texts = Object.fromEntries(TEXTS.map((name) => [name, parameters.get(name) ?? '']))
  return {
    ...ANY_TASK,
    ...texts,
    state: STATES.find((state) => state === parameters.get('state')) ?? '',
    period: Object.hasOwn(PERIODS, period) ? (period as Period) : ANY_TASK.period,
    first: day('first'),
    last: day('last'),
  }
}

/** The address of these tasks: only what differs from any task. */
export function tasksLink(asked: Partial<TasksQuestion>): string {
  const different = Object.entries({ ...ANY_TASK, ...asked }).filter(
    ([name, value]) => value !== ANY_TASK[name as keyof TasksQuestion],
  )
  const search = new URLSearchParams(different).toString()
  return search === '' ? '#/tasks' : `#/tasks?${search}`
}

/** Parameters of `GET /v1/tasks`. @param now ms */
export function tasksParameters(asked: TasksQuestion, now: number): Record<string, string> {
  const { state, model, user, project, node, cursor } = asked
  const { from, to } = spanOf(asked, now)
  const given = { state, model, user_id: user, project, node, cursor, from, to }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''))
}

/** Longer ones are not asked for. */
const NODE_USAGE_DAYS_MAX = 31

/** Parameters of `GET /v1/usage/nodes` for the same time and node; undefined: they are of no time that it is asked for. @param now ms */
export function nodeUsageParameters(asked: TasksQuestion, now: number): Record<string, string> | undefined {
  const { from, to } = spanOf(asked, now)
  const seconds = ((to === '' ? now : Date.parse(to)) - Date.parse(from)) / 1000
  if (!(seconds > 0 && seconds <= NODE_USAGE_DAYS_MAX * 86_400)) return undefined
  const given = { from, to, node: asked.node, limit: '1' }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''))
}

function spanOf({ period, first, last }: TasksQuestion, now: number): { from: string; to: string } {
  const { seconds } = PERIODS[period]
  if (period !== 'days') return { from: Number.isFinite(seconds) ? isoOf(now - seconds * 1000) : '', to: '' }
  const end = last === '' ? undefined : new Date(`${last}T00:00`)
  end?.setDate(end.getDate() + 1)
  return {
    from: first === '' ? '' : isoOf(Date.parse(`${first}T00:00`)),
    to: end === undefined ? '' : isoOf(end.getTime()),
  }
}

/** '' where there is no such day. */
function isoOf(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : ''
}
