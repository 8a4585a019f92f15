/**
 * Fills memory from ClickHouse at the start: the series of the recent past and their points, in the order of the table's
 * key, so that every chain is appended to in the order of time.
 */
import type { Database } from '../store/clickhouse.ts'
import { fixedRows } from '../store/fixed-rows.ts'
import { decodeLabel } from '../store/insert-series.ts'
import { VALUE_SQL } from '../store/schema/migrations.ts'
import type { HotBounds, HotSeries } from './hot-series.ts'
import { BLOCK_BYTES } from './point-chains.ts'
import type { SeriesRegistry } from './series-registry.ts'

const MINUTE_MS = 60_000
/** Blocks hold sixteen points; few are full. Half of the bound leaves room for what comes meanwhile. */
const BYTES_A_POINT = BLOCK_BYTES / 8
const SHARE = 0.5
const ROW_BYTES = 16 + 8 + 8 + 8

const time = (ms: number): string => `fromUnixTimestamp64Milli(toInt64(${ms}), 'UTC')`

/**
 * Chooses how far back memory can reach: to the age that is wanted, or as far as half of the byte bound goes.
 * @returns the floor, ms
 */
export async function chooseFloor(db: Database, database: string, bounds: HotBounds, now: number): Promise<number> {
  const from = now - bounds.ageMs
  const minutes = await db.rows<{ m: string; n: string }>(
    `SELECT toString(toUnixTimestamp(toStartOfMinute(ts))) AS m, toString(count()) AS n FROM ${database}.samples
     WHERE toStartOfHour(ts) >= toStartOfHour(${time(from)}) AND ts >= ${time(from)} GROUP BY m ORDER BY m DESC`,
  )
  let bytes = 0
  for (const { m, n } of minutes) {
    bytes += Number(n) * BYTES_A_POINT
    if (bytes > bounds.bytesMax * SHARE) return Math.max(from, Number(m) * 1000 + MINUTE_MS)
  }
  return from
}

/** @returns how many points were filled in */
export async function fillHot(
  db: Database,
  database: string,
  hot: HotSeries,
  registry: SeriesRegistry,
): Promise<number> {
  const since = `toStartOfHour(ts) >= toStartOfHour(${time(hot.floor)}) AND ts >= ${time(hot.floor)}`
  const series = await db.rows<{ tenant: string; name: string; hex: string; labels: string[] }>(
    `SELECT tenant, name, hex(reinterpretAsFixedString(series)) AS hex, any(kv) AS labels FROM ${database}.series
     WHERE series IN (SELECT series FROM ${database}.samples WHERE ${since}) GROUP BY tenant, name, series`,
  )
  const slots = new Map<string, number>()
  for (const { tenant, name, hex, labels } of series) {
    const id = Uint8Array.from(Buffer.from(hex.padEnd(32, '0'), 'hex'))
    slots.set(`${hex.padEnd(32, '0')}${tenant}`, registry.slotOf({ tenant, id, name, labels: labels.map(decodeLabel) }))
  }
  let points = 0
  for (const tenant of new Set(series.map((s) => s.tenant))) {
    const rows = db.stream(
      `SELECT series, toUnixTimestamp64Milli(ts), ${VALUE_SQL}, toUnixTimestamp64Micro(at) FROM ${database}.samples FINAL
       WHERE tenant = {tenant:String} AND ${since} ORDER BY tenant, toStartOfHour(ts), series, ts SETTINGS do_not_merge_across_partitions_select_final = 1, optimize_read_in_order = 1`,
      'RowBinary',
      { tenant },
    )
    let id = ''
    let slot: number | undefined
    for await (const row of fixedRows(rows, ROW_BYTES)) {
      const next = row.toString('hex', 0, 16)
      if (next !== id) {
        id = next
        slot = slots.get(`${next.toUpperCase()}${tenant}`)
      }
      if (slot === undefined) continue
      hot.fill(slot, Number(row.readBigInt64LE(16)), row.readDoubleLE(24), Number(row.readBigInt64LE(32)))
      points++
    }
  }
  return points
}
