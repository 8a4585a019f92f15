/** What is asked of one metric, as it stands in the address; and its answer as lines. */
import type { ChartLine } from './chart.tsx'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

export const RANGES = {
  '15m': { name: '15 min', seconds: 900, step: 15, every: 10_000 },
  '1h': { name: '1 h', seconds: 3600, step: 60, every: 20_000 },
  '6h': { name: '6 h', seconds: 21_600, step: 300, every: 60_000 },
  '24h': { name: '24 h', seconds: 86_400, step: 900, every: 60_000 },
  '7d': { name: '7 d', seconds: 604_800, step: 7200, every: 300_000 },
} as const
export type Range = keyof typeof RANGES

export const AGGREGATES = ['avg', 'min', 'max', 'last', 'sum', 'p50', 'p90', 'p99'] as const

export interface MetricQuestion {
  readonly name: string
  readonly range: Range
  readonly agg: (typeof AGGREGATES)[number]
  /** How fast it rises instead of how high it is; undefined: as its kind has it. */
  readonly rate: boolean | undefined
  /** Label whose values are told apart; '': every series. */
  readonly by: string
  /** Values that labels must have. */
  readonly filter: Readonly<Record<string, string>>
}

export function readQuestion(parameters: URLSearchParams): MetricQuestion {
  const range = parameters.get('range') ?? ''
  const agg = AGGREGATES.find((a) => a === parameters.get('agg')) ?? 'avg'
  const rate = parameters.get('rate')
  const filter = [...parameters].flatMap(([key, value]) => (key.startsWith('l.') ? [[key.slice(2), value]] : []))
  return {
    name: parameters.get('name') ?? '',
    range: Object.hasOwn(RANGES, range) ? (range as Range) : '15m',
    agg,
    rate: rate === null ? undefined : rate === '1',
    by: parameters.get('by') ?? '',
    filter: Object.fromEntries(filter) as Record<string, string>,
  }
}

export function writeQuestion({ name, range, agg, rate, by, filter }: MetricQuestion): URLSearchParams {
  return new URLSearchParams([
    ['name', name],
    ['range', range],
    ...(agg === 'avg' ? [] : [['agg', agg]]),
    ...(rate === undefined ? [] : [['rate', rate ? '1' : '0']]),
    ...(by === '' ? [] : [['by', by]]),
    ...Object.entries(filter).map(([key, value]) => [`l.${key}`, value]),
  ])
}

/** A series or group, with what its labels say. */
export interface MetricLine extends ChartLine {
  readonly labels: Readonly<Record<string, string | null>>
  /** Of its newest sample, ms. */
  readonly latest: number
}

export interface MetricAnswer {
  /** s since the epoch. */
  readonly times: readonly number[]
  readonly lines: readonly MetricLine[]
  /** How many matched, shown or not. */
  readonly matched: number
  readonly warnings: readonly string[]
}

/** One step of a series. */
export interface QueryValue {
  /** When the step begins. */
  readonly timestamp: string
  readonly value: number
  /** When the sample was taken whose value this is; of `agg=last`. */
  readonly sample_ts?: string
}

/** Of `GET /api/public/metrics/query`. */
export interface QueryAnswer {
  readonly data: readonly {
    readonly labels: Readonly<Record<string, string | null>>
    readonly values: readonly QueryValue[]
    readonly latest_ts: string
  }[]
  readonly meta: { readonly matched_series: number; readonly warnings?: readonly string[] }
}

const SERIES_MAX = 50
/** A sum of rates wants all of them. */
const SUMMED_MAX = 1000

export async function askMetric(
  credentials: Credentials,
  question: MetricQuestion,
  rate: boolean,
  signal: AbortSignal,
): Promise<MetricAnswer> {
  const { name, by, filter, agg } = question
  const { seconds, step } = RANGES[question.range]
  const to = Math.floor(Date.now() / 1000)
  const start = (Math.floor(to / step) - seconds / step + 1) * step
  const parameters = {
    name,
    step: `${step}s`,
    agg: rate ? 'last' : agg,
    // A rise begins at the value of the step before.
    from: new Date((rate ? start - step : start) * 1000).toISOString(),
    limit: String(rate && by !== '' ? SUMMED_MAX : SERIES_MAX),
    ...(Object.keys(filter).length === 0 ? {} : { labels: JSON.stringify(filter) }),
    ...(by === '' || rate ? {} : { group_by: by }),
  }
  const { data, meta } = await ask<QueryAnswer>(credentials, 'api/public/metrics/query', parameters, signal)
  const count = Math.floor((to - start) / step) + 1
  const times = Array.from({ length: count }, (_, i) => start + i * step)
  const lines = data.map(({ labels, values, latest_ts }): MetricLine => {
    const line = rate ? risesOf(values, times) : valuesAt(values, times)
    return { name: '', labels, values: line, latest: Date.parse(latest_ts) }
  })
  const grouped = rate && by !== '' ? sumsBy(lines, by) : lines
  return {
    times,
    lines: named(grouped),
    matched: rate && by !== '' ? grouped.length : meta.matched_series,
    warnings: meta.warnings ?? [],
  }
}

/** The value of each step; null where there is none. */
export function valuesAt(values: readonly QueryValue[], times: readonly number[]): (number | null)[] {
  const byStart = byStartOf(values)
  return times.map((time) => byStart.get(time)?.value ?? null)
}

/**
 * How much a counter rose a second, from the last sample before each step to the step's last, by the times of both; where it fell it
 * began anew, at zero.
 * @param values of `agg=last`
 * @param times starts of the steps, s since the epoch
 */
export function risesOf(values: readonly QueryValue[], times: readonly number[]): (number | null)[] {
  const byStart = byStartOf(values)
  const earlier = values.filter(({ timestamp }) => startOf(timestamp) < (times[0] ?? 0))
  let before = earlier.at(-1)
  return times.map((time) => {
    const last = byStart.get(time)
    if (last === undefined) return null
    const from = before
    before = last
    if (from === undefined) return null
    const rise = last.value >= from.value ? last.value - from.value : last.value
    const over = (sampledAt(last) - sampledAt(from)) / 1000
    return over > 0 ? rise / over : null
  })
}

function byStartOf(values: readonly QueryValue[]): Map<number, QueryValue> {
  return new Map(values.map((value) => [startOf(value.timestamp), value]))
}

/** s since the epoch. */
function startOf(timestamp: string): number {
  return Math.round(Date.parse(timestamp) / 1000)
}

/** ms since the epoch. */
function sampledAt({ timestamp, sample_ts }: QueryValue): number {
  return Date.parse(sample_ts ?? timestamp)
}

function sumsBy(lines: readonly MetricLine[], by: string): MetricLine[] {
  const groups = new Map<string | null, MetricLine[]>()
  for (const line of lines) {
    const value = line.labels[by] ?? null
    groups.set(value, [...(groups.get(value) ?? []), line])
  }
  return [...groups].map(([value, members]) => ({
    name: '',
    labels: { [by]: value },
    values: members[0]!.values.map((_, i) => {
      const there = members.flatMap(({ values }) => values[i] ?? [])
      return there.length === 0 ? null : there.reduce((a, b) => a + b, 0)
    }),
    latest: Math.max(...members.map(({ latest }) => latest)),
  }))
}

/** Lines are named by the label that tells them apart in the fewest letters, or by all in which they differ. */
function named(lines: readonly MetricLine[]): MetricLine[] {
  const telling = tellingKeys(lines)
  const letters = (key: string): number => lines.reduce((n, { labels }) => n + (labels[key] ?? '').length, key.length)
  const alone = telling
    .filter((key) => new Set(lines.map(({ labels }) => labels[key])).size === lines.length)
    .sort((a, b) => letters(a) - letters(b))
  const used = alone[0] === undefined ? telling : [alone[0]]
  return lines.map((line) => ({ ...line, name: labelText(line.labels, used) }))
}

/** Labels in which lines differ; all of them where there is one line. */
export function tellingKeys(lines: readonly Pick<MetricLine, 'labels'>[]): string[] {
  const keys = [...new Set(lines.flatMap(({ labels }) => Object.keys(labels)))]
  if (lines.length < 2) return keys
  return keys.filter((key) => new Set(lines.map(({ labels }) => labels[key])).size > 1)
}

function labelText(labels: MetricLine['labels'], keys: readonly string[]): string {
  const parts = keys.flatMap((key) => (key in labels ? [`${key} ${labels[key] ?? '(none)'}`] : []))
  return parts.length === 0 ? 'no labels' : parts.join(', ')
}
