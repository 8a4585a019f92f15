/** The JSON of a metric query, in the original's shape; what is ours is added beside it. */
import { formatRfc3339 } from '../../proto/wire/rfc3339.ts'
import { labelsJson } from '../hot/series-registry.ts'
import { aggregate } from './buckets.ts'
import type { MetricResult } from './metric-query.ts'
import { QueryTooLarge } from './metric-query.ts'
import type { MetricQuery } from './parameters.ts'
import { Turns } from './turns.ts'

interface Meta {
  /** The newest sample's own time among all that matched; absent when none did. */
  readonly latest_ts?: string
  readonly series_count: number
  readonly truncated: boolean
  /** Ours: series that matched, shown or not. */
  readonly matched_series: number
  /** Ours: what the answer cannot tell. */
  readonly warnings?: readonly string[]
}

/**
 * `{"data":[{"labels":{…},"values":[{"timestamp","value"}…],"latest_ts"}…],"meta":{…}}` as text, since an object would put labels
 * that look like numbers first. `latest_ts` of a series is ours: its newest sample, so that one dead replica shows among
 * living ones; so is `sample_ts` beside the value of `agg=last`, when that sample was taken: what a rate is divided by.
 * @param pointsMax newest values of a series that are shown
 * @throws QueryTooLarge when a sum is beyond what a double holds
 */
export async function metricAnswer(query: MetricQuery, result: MetricResult, pointsMax: number): Promise<string> {
  const turns = new Turns()
  /** What stands before a value: the starts of buckets are the same in every series. */
  const heads = new Map<number, string>()
  const headOf = (start: number): string => {
    let head = heads.get(start)
    if (head === undefined) {
      head = `{"timestamp":"${formatRfc3339(start)}","value":`
      heads.set(start, head)
    }
    return head
  }
  let cut = result.matched > result.series.length
  const data: string[] = []
  for (const { labels, buckets } of result.series) {
    const sorted = buckets.sorted()
    if (sorted.length > pointsMax) cut = true
    const values: string[] = []
    for (const [start, bucket] of sorted.slice(-pointsMax)) {
      const value = aggregate(bucket, query.agg)
      if (!Number.isFinite(value))
        throw new QueryTooLarge(
          `${query.agg} of ${query.name} ${labelsJson(labels)} at ${formatRfc3339(start)} is beyond what a number holds`,
        )
      const sampled = query.agg === 'last' ? `,"sample_ts":"${formatRfc3339(bucket.lastTime)}"` : ''
      values.push(`${headOf(start)}${value}${sampled}}`)
    }
    data.push(
      `{"labels":${labelsJson(labels)},"values":[${values.join()}],"latest_ts":"${formatRfc3339(buckets.latest)}"}`,
    )
    if (turns.over) await turns.next()
  }
  const meta: Meta = {
    ...(result.latest === undefined ? {} : { latest_ts: formatRfc3339(result.latest) }),
    series_count: data.length,
    truncated: cut,
    matched_series: result.matched,
    ...(result.warnings.length === 0 ? {} : { warnings: result.warnings }),
  }
  return `{"data":[${data.join(',')}],"meta":${JSON.stringify(meta)}}`
}
