/** Merges yesterday's partition of points into one part, once: exact reads of it then cost no merging. */
import type { Database } from './clickhouse.ts'

const DAY_MS = 86_400_000
/** A day is merged when it has been over, and without news, for this long: late samples do not have it merged again and again. */
const SETTLED_MS = 2 * 3_600_000

/**
 * Merges at most one partition a call, since that may take minutes of a processor.
 * @param now ms
 */
export async function mergeSettledDays(
  db: Database,
  database: string,
  now: number,
  settledMs: number = SETTLED_MS,
): Promise<void> {
  const before = new Date(now - settledMs - DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')
  const [partition] = await db.rows<{ partition: string }>(
    `SELECT partition FROM system.parts WHERE database = {database:String} AND table = 'samples' AND active AND partition <= {before:String}
     GROUP BY partition HAVING count() > 1 AND max(modification_time) <= now() - {quiet:UInt32} ORDER BY partition DESC LIMIT 1`,
    { database, before, quiet: settledMs / 1000 },
  )
  if (partition !== undefined)
    await db.maintain(`OPTIMIZE TABLE ${database}.samples PARTITION ID '${partition.partition}' FINAL`)
}
