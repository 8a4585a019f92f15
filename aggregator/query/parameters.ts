/**
 * The parameters of `GET /api/public/metrics/query`: xtrace's grammar, with any step.
 *
 *     name      required, exact; "" is a name          labels    JSON object: each key present with that text
 *     from, to  RFC 3339, inclusive; now - 1 h, now    step      30, 30s, 1m, 2h, 1d: 1 s to 30 d; default 1m
 *     agg       avg max min sum last p50 p90 p99       group_by  one label key
 *     limit     series in the answer
 */
import type { Label } from '../../proto/wire/labels.ts'
import { sortLabels, wellFormed } from '../../proto/wire/labels.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'

export const AGGREGATES = ['avg', 'max', 'min', 'sum', 'last', 'p50', 'p90', 'p99'] as const
export type Aggregate = (typeof AGGREGATES)[number]

export interface MetricQuery {
  readonly name: string
  /** ms since the epoch, inclusive both. */
  readonly from: number
  readonly to: number
  /** Each must stand on the series; undefined: nothing can match. */
  readonly filter: readonly Label[] | undefined
  readonly stepMs: number
  readonly agg: Aggregate
  readonly groupBy: string | undefined
  /** Most series in the answer; undefined: what the server says. */
  readonly limit: number | undefined
}

const SCALARS: readonly string[] = ['name', 'from', 'to', 'labels', 'step', 'agg', 'group_by', 'limit']
const HOUR_MS = 3_600_000
const STEP_MAX_S = 30 * 86_400
const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/**
 * @param now ms since the epoch
 * @returns the query, or the sentence that says what is wrong
 */
export function readMetricQuery(parameters: URLSearchParams, now: number): MetricQuery | string {
  const twice = SCALARS.find((key) => parameters.getAll(key).length > 1)
  if (twice !== undefined) return `${twice}: given more than once`
  const name = parameters.get('name')
  if (name === null) return 'name: required'
  const to = readTime(parameters.get('to'), now)
  if (to === undefined)
    return 'to: expected an RFC 3339 time with a zone, such as 2026-11-21T10:00:00Z (a + must be written %2B)'
  const from = readTime(parameters.get('from'), to - HOUR_MS)
  if (from === undefined)
    return 'from: expected an RFC 3339 time with a zone, such as 2026-11-21T10:00:00Z (a + must be written %2B)'
  if (from > to) return 'from must be <= to'
  const filter = readFilter(parameters.get('labels'))
  if (typeof filter === 'string') return filter
  const stepMs = readStep(parameters.get('step'))
  if (stepMs === undefined)
    return 'invalid step, must be a number of seconds or a number with s, m, h or d, from 1s to 30d'
  const agg = (parameters.get('agg') ?? 'avg').trim().toLowerCase()
  if (!isAggregate(agg)) return `invalid agg, must be one of: ${AGGREGATES.join(', ')}`
  const groupBy = parameters.get('group_by') ?? undefined
  if (groupBy === '') return 'group_by: expected a label key'
  const limit = readLimit(parameters.get('limit'))
  if (limit === null) return 'limit: expected a whole number of at least 1'
  return { name, from, to, filter: filter.labels, stepMs, agg, groupBy, limit }
}

function readTime(text: string | null, fallback: number): number | undefined {
  return text === null ? fallback : parseRfc3339(text)
}

/** Containment. What is JSON but no object of texts matches nothing, as in the original. */
function readFilter(text: string | null): { labels: Label[] | undefined } | string {
  if (text === null || text.trim() === '') return { labels: [] }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    return `invalid labels json: ${error instanceof Error ? error.message : String(error)}`
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { labels: undefined }
  const entries = Object.entries(parsed)
  if (!entries.every(([, value]) => typeof value === 'string')) return { labels: undefined }
  // Half a surrogate pair cannot be stored: it was replaced when it came in.
  return { labels: sortLabels(entries.map(([key, value]) => [wellFormed(key), wellFormed(value as string)])) }
}

/** @returns ms, or undefined */
export function readStep(text: string | null): number | undefined {
  if (text === null) return 60_000
  const match = /^(\d{1,9})([smhd]?)$/.exec(text.trim())
  if (match === null) return undefined
  const seconds = Number(match[1]) * (UNIT_S[match[2]!] ?? 1)
  return seconds >= 1 && seconds <= STEP_MAX_S ? seconds * 1000 : undefined
}

/** @returns undefined when absent, null when wrong */
function readLimit(text: string | null): number | undefined | null {
  if (text === null) return undefined
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0
  return limit >= 1 ? limit : null
}

function isAggregate(word: string): word is Aggregate {
  return (AGGREGATES as readonly string[]).includes(word)
}
