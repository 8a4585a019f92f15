/** Usage that was calculated, as it is stored: the rows of `telemetry.usage.calculated`, in the order of the owner log. */
import type { FleetEvent } from '../../proto/events/event.ts'
import type { Database } from '../store/clickhouse.ts'

export interface StoredUsageEvent {
  /** Position of its calculation. */
  readonly n: number
  /** When it was calculated, µs since the epoch. */
  readonly at: number
  readonly event: FleetEvent
}

export interface UsageSpan {
  /** Behind this position of the log … */
  readonly after: number
  /** … up to this one. */
  readonly upTo: number
  /** None of them is older, ms: what bounds the rows that are looked at. */
  readonly since: number
}

export type ReadUsage = (span: UsageSpan, limit: number) => Promise<readonly StoredUsageEvent[]>

export function storedUsage(db: Database, database: string): ReadUsage {
  return async ({ after, upTo, since }, limit) => {
    const rows = await db.rows<{ calculated: string; micros: string; event: string }>(
      `SELECT JSONExtractUInt(event, 'position') AS calculated, toUnixTimestamp64Micro(at) AS micros, event FROM ${database}.events FINAL
       WHERE ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND event_type = 'telemetry.usage.calculated' AND road = 'own'
         AND calculated > {after:UInt64} AND calculated <= {upTo:UInt64}
       ORDER BY calculated LIMIT {limit:UInt32}`,
      { since, after, upTo, limit },
    )
    return rows.map(({ calculated, micros, event }) => ({
      n: Number(calculated),
      at: Number(micros),
      event: JSON.parse(event) as FleetEvent,
    }))
  }
}
