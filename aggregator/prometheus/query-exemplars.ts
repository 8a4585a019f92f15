/**
 * Exemplars as Prometheus' API gives them, so that Grafana finds them where it looks. The query is a selector: expressions
 * around it are for a PromQL engine, and there is none here.
 * @see https://prometheus.io/docs/prometheus/latest/querying/api/#querying-exemplars
 */
import type { Label } from '../../proto/wire/labels.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { Selector } from '../../proto/wire/selector.ts'
import { METRIC_NAME, parseSelector, SelectorError } from '../../proto/wire/selector.ts'
import { QueryTooLarge } from '../query/metric-query.ts'
import type { ReadContext } from './remote-read.ts'

export interface ExemplarQuery {
  readonly selector: Selector
  /** ms since the epoch, both inclusive */
  readonly from: number
  readonly to: number
}

export interface SeriesExemplars {
  readonly seriesLabels: Readonly<Record<string, string>>
  /** Values as text, times in seconds. */
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly value: string
    readonly timestamp: number
  }[]
}

const EXEMPLARS_MAX = 20_000
const HOUR_MS = 3_600_000

/** @returns the query, or what is wrong with the parameters. @param now ms */
export function readExemplarQuery(parameters: URLSearchParams, now: number): ExemplarQuery | string {
  const from = timeOf(parameters.get('start'), now - HOUR_MS)
  const to = timeOf(parameters.get('end'), now)
  if (from === undefined || to === undefined) return 'start and end are seconds since 1970 or RFC 3339 times'
  if (from > to) return 'start is after end'
  try {
    return { selector: parseSelector(parameters.get('query') ?? ''), from, to }
  } catch (error) {
    if (error instanceof SelectorError)
      return `query: ${error.message}; only a selector such as name{label="value"} is taken`
    throw error
  }
}

/** @throws QueryTooLarge when there are more series or exemplars than an answer may have */
export async function queryExemplars(
  context: ReadContext,
  tenant: string,
  { selector, from, to }: ExemplarQuery,
): Promise<SeriesExemplars[]> {
  await context.settled()
  const matchers = selector.matchers.map(({ op, name, value }) => ({ operator: op, name, value }))
  const selection = { tenant, from, to, matchers }
  const labels = await context.parts.series(selection, context.seriesMax)
  if (labels.size > context.seriesMax) throw new QueryTooLarge(`More than ${context.seriesMax} series match`)
  const exemplars = await context.parts.exemplars(selection, EXEMPLARS_MAX)
  let count = 0
  for (const list of exemplars.values()) count += list.length
  if (count > EXEMPLARS_MAX) throw new QueryTooLarge(`More than ${EXEMPLARS_MAX} exemplars: ask for less time`)
  return [...exemplars].map(([id, list]) => ({
    seriesLabels: recordOf(labels.get(id) ?? [[METRIC_NAME, '']]),
    exemplars: list.map((e) => ({ labels: recordOf(e.labels), value: figure(e.value), timestamp: e.timestamp / 1000 })),
  }))
}

function recordOf(labels: readonly Label[]): Record<string, string> {
  return Object.fromEntries(labels)
}

/** Numbers in Prometheus' words. */
function figure(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}

function timeOf(text: string | null, absent: number): number | undefined {
  if (text === null || text === '') return absent
  const seconds = Number(text)
  return Number.isFinite(seconds) ? Math.round(seconds * 1000) : parseRfc3339(text)
}
