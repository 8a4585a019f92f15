/**
 * A roll-up window is computed from the level below as a whole and replaces what was there. Nothing is ever added to a
 * figure, so repeats, lateness and two computations at once change nothing: the one that saw more has the larger w.
 */
import type { Database } from '../store/clickhouse.ts'
import { VALUE_SQL } from '../store/schema/migrations.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/** Rows that one statement sorts in memory; an hour with more is done in pieces. */
const ROWS_AT_ONCE = 10_000_000

const EXACT = 'do_not_merge_across_partitions_select_final = 1'

/** The finite values of a group of points, in the order of time. */
const ORDERED = 'arrayMap(p -> p.2, arraySort(groupArrayIf((ts, x), isFinite(x))))'

/** First and last values of a group of hours that have any, in the order of time. */
const EDGES = 'arraySort(groupArrayIf((hb, hfirst, hlast), hcount > 0))'

export interface Rollups {
  /** @param start of the hour, ms */
  hour(start: number): Promise<void>
  /** @param start of the day, ms */
  day(start: number): Promise<void>
}

export class ClickHouseRollups implements Rollups {
  readonly #db: Database
  readonly #database: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#database = database
  }

  async hour(start: number): Promise<void> {
    const window = `toStartOfHour(ts) = toDateTime(${start / 1000}, 'UTC') AND ts >= fromUnixTimestamp64Milli(${start}, 'UTC') AND ts < fromUnixTimestamp64Milli(${start + HOUR_MS}, 'UTC')`
    const [counted] = await this.#db.rows<{ n: string }>(
      `SELECT toString(count()) AS n FROM ${this.#database}.samples WHERE ${window}`,
    )
    const pieces = Math.max(1, Math.ceil(Number(counted?.n ?? 0) / ROWS_AT_ONCE))
    for (let piece = 0; piece < pieces; piece++) {
      const part = pieces === 1 ? '' : `AND cityHash64(series) % ${pieces} = ${piece}`
      await this.#db.command(
        `INSERT INTO ${this.#database}.r1h (tenant, series, b, w, count, sum, min, max, first, last, first_ts, last_ts, increase)
         WITH ${ORDERED} AS ordered
         SELECT tenant, series, toDateTime(${start / 1000}, 'UTC') AS b,
           sum(toUInt128(toUnixTimestamp64Micro(at))) AS w,
           countIf(isFinite(x)) AS count, sumIf(x, isFinite(x)) AS sum,
           minIf(x, isFinite(x)) AS min, maxIf(x, isFinite(x)) AS max,
           argMinIf(x, ts, isFinite(x)) AS first, argMaxIf(x, ts, isFinite(x)) AS last,
           minIf(ts, isFinite(x)) AS first_ts, maxIf(ts, isFinite(x)) AS last_ts,
           arraySum((d, v) -> if(d < 0, v, d), arrayDifference(ordered), ordered) AS increase
         FROM (SELECT tenant, series, ts, at, ${VALUE_SQL} AS x FROM ${this.#database}.samples FINAL WHERE ${window} ${part})
         GROUP BY tenant, series
         SETTINGS ${EXACT}`,
      )
    }
  }

  async day(start: number): Promise<void> {
    const window = `b >= toDateTime(${start / 1000}, 'UTC') AND b < toDateTime(${(start + DAY_MS) / 1000}, 'UTC')`
    // Within hours the increases are known; between them it is the step from the last value to the next first one.
    await this.#db.command(
      `INSERT INTO ${this.#database}.r1d (tenant, series, b, w, count, sum, min, max, first, last, first_ts, last_ts, increase)
       WITH ${EDGES} AS edges
       SELECT tenant, series, toDateTime(${start / 1000}, 'UTC') AS b, sum(hw) AS w, sum(hcount) AS count, sumIf(hsum, hcount > 0) AS sum,
         minIf(hmin, hcount > 0) AS min, maxIf(hmax, hcount > 0) AS max,
         argMinIf(hfirst, hb, hcount > 0) AS first, argMaxIf(hlast, hb, hcount > 0) AS last,
         minIf(hfirst_ts, hcount > 0) AS first_ts, maxIf(hlast_ts, hcount > 0) AS last_ts,
         sumIf(hincrease, hcount > 0)
           + arraySum(i -> if(edges[i + 1].2 < edges[i].3, edges[i + 1].2, edges[i + 1].2 - edges[i].3), range(1, toUInt32(length(edges)))) AS increase
       FROM (
         SELECT tenant, series, b AS hb, w AS hw, count AS hcount, sum AS hsum, min AS hmin, max AS hmax, first AS hfirst, last AS hlast,
           first_ts AS hfirst_ts, last_ts AS hlast_ts, increase AS hincrease
         FROM ${this.#database}.r1h FINAL WHERE ${window}
       )
       GROUP BY tenant, series
       SETTINGS ${EXACT}`,
    )
  }
}
