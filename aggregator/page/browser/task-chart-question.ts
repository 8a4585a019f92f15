/** What a chart of a task shows: samples of one metric, of its node or GPUs, over its window and a little to either side. */
import type { TaskChartAnswer, WindowAnswer } from '../../tasks/task-answers.ts'
import type { ChartLine } from './chart.tsx'
import type { Unit } from './format.ts'
import type { QueryAnswer } from './metric-question.ts'
import { risesOf, valuesAt } from './metric-question.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

/** Steps that a chart may have, s. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400]
const POINTS = 240
/** A node's processors have a series for each mode: of those there are many. */
const POINTS_OF_COUNTERS = 60
const SERIES_MAX = 10_000
/** More cannot be told apart. */
const LINES_MAX = 8

/** Times of a chart, s since the epoch. */
export interface ChartTimes {
  readonly from: number
  readonly to: number
  readonly step: number
  readonly open: boolean
  readonly times: readonly number[]
}

export interface TaskChart {
  readonly times: readonly number[]
  readonly lines: readonly ChartLine[]
  /** What is not shown, and why; '' where nothing is. */
  readonly note: string
}

/** @param isCounter what rises is shown as how fast */
export function timesOf({ from, to, open }: Omit<WindowAnswer, 'seconds'>, isCounter: boolean): ChartTimes {
  const [start, end] = [Date.parse(from) / 1000, Date.parse(to) / 1000]
  const length = end - start
  const step = STEPS.find((s) => length / s <= (isCounter ? POINTS_OF_COUNTERS : POINTS)) ?? STEPS.at(-1)!
  // What is told about seldom is told outside a short window, if at all.
  const around = Math.max(length * 0.04, step * 2, length < 60 ? 10 : 0)
  const first = Math.floor((start - around) / step) * step
  const count = Math.floor((end + around - first) / step) + 1
  return { from: start, to: end, step, open, times: Array.from({ length: count }, (_, i) => first + i * step) }
}

/** One figure of all GPUs of a task, or of its node. */
export interface ChartGroup {
  readonly name: string
  readonly metric: string
  readonly unit: string
  readonly counter: boolean
  readonly charts: readonly TaskChartAnswer[]
}

/** Figures of one name and metric are one chart. */
export function groupsOf(charts: readonly TaskChartAnswer[]): ChartGroup[] {
  const groups = new Map<string, { group: ChartGroup; members: TaskChartAnswer[] }>()
  for (const chart of charts) {
    const { name, metric, unit, counter } = chart
    const key = JSON.stringify([name, metric])
    const members = groups.get(key)?.members ?? []
    members.push(chart)
    groups.set(key, { group: { name, metric, unit, counter, charts: members }, members })
  }
  return [...groups.values()].map(({ group }) => group)
}

/** One question for all lines: what their series have in common is asked for, and what else comes is left out. */
export async function askChart(
  credentials: Credentials,
  { metric, counter, charts }: ChartGroup,
  { times, step }: ChartTimes,
  signal: AbortSignal,
): Promise<TaskChart> {
  const last = times.at(-1)! + step
  const { data } = await ask<QueryAnswer>(
    credentials,
    'api/public/metrics/query',
    {
      name: metric,
      step: `${step}s`,
      agg: counter ? 'last' : 'avg',
      // A rise begins at the value of the step before.
      from: new Date((times[0]! - (counter ? step : 0)) * 1000).toISOString(),
      to: new Date(last * 1000 - 1).toISOString(),
      limit: String(SERIES_MAX),
      labels: JSON.stringify(commonOf(charts.flatMap(({ series }) => series.map(({ labels }) => labels)))),
    },
    signal,
  )
  const found = new Map(data.map((line) => [identityOf(line.labels), line.values]))
  const names = namesOf(charts)
  const lines = charts.flatMap(({ gpu, series, scale }): ChartLine[] => {
    const drawn = series.flatMap(({ labels }) => {
      const values = found.get(identityOf(labels))
      if (values === undefined) return []
      const line = counter ? risesOf(values, times) : valuesAt(values, times)
      return [line.map((value) => (value === null ? null : value * scale))]
    })
    if (drawn.length === 0) return []
    return [{ name: names.get(gpu) ?? 'node', values: together(drawn, counter) }]
  })
  const note = lines.length > LINES_MAX ? `the first ${LINES_MAX} of ${lines.length}` : ''
  return { times, lines: lines.slice(0, LINES_MAX), note }
}

/** GPUs by the first letters of their UUIDs, where those tell them apart. */
function namesOf(charts: readonly TaskChartAnswer[]): Map<string | null, string> {
  const gpus = charts.flatMap(({ gpu }) => gpu ?? [])
  const short = gpus.map((gpu) => gpu.replace(/^(GPU-[0-9a-f]{8})-[0-9a-f-]{27}$/, '$1'))
  const used = new Set(short).size === gpus.length ? short : gpus
  return new Map(gpus.map((gpu, i) => [gpu, used[i]!]))
}

/** Counters of one thing are parts of it; gauges are the same, from one series and then from another. */
function together(drawn: readonly (readonly (number | null)[])[], counter: boolean): (number | null)[] {
  return drawn[0]!.map((_, i) => {
    const there = drawn.flatMap((values) => values[i] ?? [])
    if (there.length === 0) return null
    return counter ? there.reduce((a, b) => a + b, 0) : there[0]!
  })
}

type Labels = Readonly<Record<string, string | null>>

function commonOf(all: readonly Labels[]): Labels {
  const entries = Object.entries(all[0] ?? {})
  return Object.fromEntries(
    entries.filter(([key, value]) => key !== '__name__' && all.every((labels) => labels[key] === value)),
  )
}

function identityOf(labels: Labels): string {
  const entries = Object.entries(labels).filter(([key]) => key !== '__name__')
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

const UNITS: Readonly<Record<string, Unit>> = {
  ratio: 'ratio',
  bytes: 'bytes',
  watts: 'watts',
  seconds: 'seconds',
  celsius: 'celsius',
  bytes_per_second: 'bytes',
}

/** How a figure of that unit is shown. */
export function unitShown(unit: string): { readonly unit: Unit; readonly perSecond: boolean } {
  return { unit: UNITS[unit] ?? 'number', perSecond: unit === 'bytes_per_second' }
}
