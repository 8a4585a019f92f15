/** Brings the tables to this version and their retention to the configuration. Safe to run by several processes at once. */
import { FleetmeterError } from '../../../proto/runtime/errors.ts'
import type { Database } from '../clickhouse.ts'
import { EVENT_TABLE_TTLS } from './event-tables.ts'
import type { Retention } from './migrations.ts'
import { MIGRATIONS } from './migrations.ts'

/**
 * @param database name of the database in ClickHouse; made when it is not there
 * @throws FleetmeterError `FM_STORAGE` when ClickHouse is away, `FM_CONFIG` when the tables are of a newer version
 */
export async function migrate(db: Database, database: string, retention: Retention): Promise<void> {
  await db.command(`CREATE DATABASE IF NOT EXISTS ${database}`)
  await db.command(
    `CREATE TABLE IF NOT EXISTS ${database}.migrations (version UInt32, name String, applied DateTime('UTC') DEFAULT now()) ENGINE = ReplacingMergeTree ORDER BY version`,
  )
  const [found] = await db.rows<{ newest: number }>(`SELECT max(version) AS newest FROM ${database}.migrations`)
  const newest = MIGRATIONS.at(-1)!.version
  if (found !== undefined && found.newest > newest + 1) {
    throw new FleetmeterError(
      'FM_CONFIG',
      `The tables in "${database}" are of version ${found.newest}, this program knows up to ${newest}: run the version that made them, or a newer one`,
    )
  }
  for (const { version, name, statements } of MIGRATIONS) {
    for (const statement of statements(database, retention)) await db.command(statement)
    if (found === undefined || found.newest < version) {
      await db.command(`INSERT INTO ${database}.migrations (version, name) SELECT {version:UInt32}, {name:String}`, {
        version,
        name,
      })
    }
  }
  await keep(db, database, 'samples', 'toDateTime(ts)', retention.pointsDays)
  await keep(db, database, 'series', 'seen', retention.rollupDays + 1)
  await keep(db, database, 'r1h', 'b', retention.rollupDays)
  await keep(db, database, 'r1d', 'b', retention.rollupDays)
  for (const [table, expression] of EVENT_TABLE_TTLS) await keep(db, database, table, expression, retention.eventDays)
}

/** Changes a table's retention where it is another one. */
async function keep(db: Database, database: string, table: string, expression: string, days: number): Promise<void> {
  const [row] = await db.rows<{ ddl: string }>(
    'SELECT create_table_query AS ddl FROM system.tables WHERE database = {database:String} AND name = {table:String}',
    { database, table },
  )
  if (row === undefined || row.ddl.includes(`toIntervalDay(${days})`)) return
  await db.command(`ALTER TABLE ${database}.${table} MODIFY TTL ${expression} + INTERVAL ${days} DAY`)
}
