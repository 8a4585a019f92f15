/** What ClickHouse knows of logged events: rows come from the log only, so a row says that its event was logged. */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import type { Database } from '../store/clickhouse.ts'
import { jsonRows } from '../store/json-rows.ts'
import { timeOf } from '../store/record-rows.ts'
import { eventKey } from './admission.ts'
import { RecentIds } from './recent-ids.ts'

const HOUR_MS = 3_600_000
/** How far back the recent set reaches after a start. */
const RECENT_MS = 24 * HOUR_MS
/** Rows of events are not known by their positions, so that not all of them are looked at. */
const POSITIONS_MS = 32 * 24 * HOUR_MS

export class LoggedIds {
  readonly #db: Database
  readonly #database: string
  readonly #now: () => number

  constructor(db: Database, database: string, now: () => number) {
    this.#db = db
    this.#database = database
    this.#now = now
  }

  /** The recent set as the tables have it. @param max most ids of the set; half of it is filled */
  async recent(max: number): Promise<RecentIds> {
    const from = this.#now() - RECENT_MS
    const limit = max >> 1
    const sql = `SELECT tenant, event_id, toUnixTimestamp64Milli(ts) AS t FROM ${this.#database}.events
      WHERE n > 0 AND ts >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') ORDER BY ts DESC LIMIT {limit:UInt32}`
    const found: { tenant: string; event_id: string; t: string }[] = []
    for await (const row of jsonRows<(typeof found)[number]>(this.#db.stream(sql, 'JSONEachRow', { from, limit })))
      found.push(row)
    // Of the oldest time that was read, there may be more.
    const set = new RecentIds(found.length < limit ? from : Number(found.at(-1)!.t) + 1, max)
    for (const { tenant, event_id, t } of found) set.add(tenant, event_id, Number(t))
    return set
  }

  /** The largest position of the log that a row has; of events, among those of the last month. */
  async newestPosition(): Promise<number> {
    const from = this.#now() - POSITIONS_MS
    const [row] = await this.#db.rows<{ n: string }>(
      `SELECT max(n) AS n FROM (
         SELECT max(n) AS n FROM ${this.#database}.usage
         UNION ALL SELECT max(n) AS n FROM ${this.#database}.tasks
         UNION ALL SELECT max(n) AS n FROM ${this.#database}.events WHERE ts >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
       )`,
      { from },
    )
    return Number(row?.n ?? 0)
  }

  /** Of these events, the keys of those that were logged. One query, by hour and id: it reads a few granules. */
  async among(events: readonly ReceivedEvent[]): Promise<ReadonlySet<string>> {
    const hours = new Set(events.map((received) => Math.floor(timeOf(received) / HOUR_MS) * HOUR_MS))
    const rows = await this.#db.rows<{ tenant: string; event_id: string }>(
      `SELECT DISTINCT tenant, event_id FROM ${this.#database}.events
       WHERE tenant IN {tenants:Array(String)} AND toStartOfHour(ts) IN (SELECT fromUnixTimestamp64Milli(arrayJoin({hours:Array(Int64)}), 'UTC'))
       AND event_id IN {ids:Array(UUID)} AND n > 0`,
      {
        tenants: [...new Set(events.map(({ tenant }) => tenant))],
        hours: [...hours],
        ids: events.map(({ event }) => event.event_id),
      },
    )
    return new Set(rows.map(({ tenant, event_id }) => eventKey(tenant, event_id)))
  }
}
