/** Merges yesterday's partition of points into one part, once: exact reads of it then cost no merging. */
import type { Database } from './clickhouse.ts'

const DAY_MS = 86_400_000
/** A day is merged when it has been over for this long, so that usual lateness does not cut it again. */
const SETTLED_MS = 2 * 3_600_000

/** @param now ms; merges at most one partition a call, since that may take minutes of a processor */
export async function mergeSettledDays(db: Database, database: string, now: number): Promise<void> {
  const before = new Date(now - SETTLED_MS - DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')
  const [partition] = await db.rows<{ partition: string }>(
    `SELECT partition FROM system.parts WHERE database = {database:String} AND table = 'samples' AND active AND partition <= {before:String}
     GROUP BY partition HAVING count() > 1 ORDER BY partition DESC LIMIT 1`,
    { database, before },
  )
  if (partition !== undefined)
    await db.maintain(`OPTIMIZE TABLE ${database}.samples PARTITION ID '${partition.partition}' FINAL`)
}
