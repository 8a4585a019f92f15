/**
 * The way of a single aggregator's log into PostgreSQL, once: records, snapshots and cursors in one transaction, then its directory is
 * put aside. A crash in between: what PostgreSQL has is known by a mark that the directory has too.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { utf8Decode, utf8Encode } from '../../proto/wire/bytes.ts'
import type { OperationalDatabase, Queries } from '../directory/database.ts'
import type { FileLog } from './file-log.ts'
import type { LogFiles } from './log-files.ts'
import { PARTITION } from './owner-table.ts'
import { postgresFiles } from './postgres-files.ts'

export interface MoveOptions {
  readonly files: LogFiles
  /** Holds snapshots and cursors; its `log` the segments. */
  readonly directory: string
  readonly log: FileLog
  readonly logger: Logger
}

/** In the directory, and among the owner's files in PostgreSQL: the same text in both. */
const MARK = 'moved-to-postgres'
const INSERT = `INSERT INTO owner_log (partition, n, gen, kind, tenant, key, at, body)
  SELECT $1, n, 0, kind, tenant, key, at, body
  FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[]) AS r (n, kind, tenant, key, at, body)`

/** @throws FleetmeterError `FM_CONFIG` where PostgreSQL has another log already */
export async function moveLog(database: OperationalDatabase, options: MoveOptions): Promise<void> {
  const { files, directory, logger } = options
  await files.makeDirectory(directory)
  const names = await files.list(directory)
  if (names.includes(MARK)) {
    const mark = utf8Decode(await files.read(join(directory, MARK)))
    if ((await markIn(database)) === mark) return
  } else if (!(await hasRecords(options, names))) return
  const [row] = await database.query(
    'SELECT (SELECT count(*) FROM owner_log) + (SELECT count(*) FROM owner_files) AS n FROM (SELECT 1) AS one',
  )
  if (Number(row!['n']) > 0)
    throw new FleetmeterError(
      'FM_CONFIG',
      `owner_log is postgres, and both "${directory}" and ${database.name} have a log of tasks and quotas: two cannot become one. The aggregator whose log is to stay moves it there, before all others; another one begins with a directory without "owner"`,
    )
  const mark = randomUUID()
  await files.replace(directory, MARK, utf8Encode(mark))
  const records = await database.transaction((queries) => copy(queries, mark, names, options))
  logger.warn(
    { directory, records },
    'the owner log was moved to PostgreSQL: the files are left as they are, and not used any more',
  )
}

/** @throws FleetmeterError `FM_CONFIG` where the directory's log was moved: what came since would be missing */
export async function refuseMovedLog(
  files: Pick<LogFiles, 'makeDirectory' | 'list'>,
  directory: string,
): Promise<void> {
  await files.makeDirectory(directory)
  if ((await files.list(directory)).includes(MARK))
    throw new FleetmeterError(
      'FM_CONFIG',
      `owner_log is file, and the log in "${directory}" was moved to PostgreSQL, where it has gone on: set owner_log to postgres (FLEETMETER_AGGREGATOR_OWNER_LOG)`,
    )
}

async function hasRecords({ files, directory }: MoveOptions, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => name.startsWith('snapshot-'))) return true
  return names.includes('log') && (await files.list(join(directory, 'log'))).length > 0
}

async function markIn(queries: Queries): Promise<string | undefined> {
  const files = postgresFiles(queries, 0)
  return (await files.list('')).includes(MARK) ? utf8Decode(await files.read(MARK)) : undefined
}

/** @returns how many records */
async function copy(
  queries: Queries,
  mark: string,
  names: readonly string[],
  { files, directory, log }: MoveOptions,
): Promise<number> {
  const kept = postgresFiles(queries, 0)
  for (const name of names)
    if (/^(snapshot-\d+|usage-published)\.json$/.test(name))
      await kept.replace('', name, await files.read(join(directory, name)))
  await kept.replace('', MARK, utf8Encode(mark))
  let records = 0
  await log.open(0, 0)
  try {
    for await (const piece of log.read(0)) {
      const columns = (['n', 'kind', 'tenant', 'key', 'at', 'body'] as const).map((name) =>
        piece.map((one) => one[name]),
      )
      await queries.query(INSERT, [PARTITION, ...columns])
      records += piece.length
    }
  } finally {
    await log.close()
  }
  return records
}
