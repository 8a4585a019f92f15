/** What ClickHouse knows of metrics themselves. */
import type { Database } from '../store/clickhouse.ts'

export interface MetadataEntry {
  readonly type: string
  readonly help: string
  readonly unit: string
}

/**
 * Metadata by metric name; a metric may have several entries when its senders differ.
 * @param request `metric`: only this one
 */
export async function readMetadataOf(
  db: Database,
  database: string,
  tenant: string,
  request: { readonly metric: string | undefined; readonly metricsMax: number; readonly perMetricMax: number },
): Promise<Record<string, MetadataEntry[]>> {
  const { metric, metricsMax, perMetricMax } = request
  const one = metric === undefined ? '' : 'AND metric = {metric:String}'
  const rows = await db.rows<{ metric: string; entries: [type: string, help: string, unit: string][] }>(
    `SELECT metric, arraySlice(arraySort(groupUniqArray((type, help, unit))), 1, ${perMetricMax}) AS entries
     FROM ${database}.metadata WHERE tenant = {tenant:String} ${one} GROUP BY metric ORDER BY metric LIMIT ${metricsMax}`,
    { tenant, metric: metric ?? '' },
  )
  return Object.fromEntries(
    rows.map((row) => [row.metric, row.entries.map(([type, help, unit]) => ({ type, help, unit }))]),
  )
}
