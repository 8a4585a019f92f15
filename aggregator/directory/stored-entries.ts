/** Entries of directories in the database, as the JSON that they are everywhere else. */
import type { Queries, Row } from './database.ts'
import type { EntryKind, EntryRecord } from './entry.ts'
import { utcOf } from './fields.ts'
import type { KindRecord } from './snapshot.ts'

const TABLES: Readonly<Record<EntryKind, string>> = {
  membership: 'memberships',
  node: 'nodes',
  price: 'prices',
  quota: 'quotas',
}
const KINDS = Object.keys(TABLES) as readonly EntryKind[]
const TIMES = ['valid_from', 'valid_to', 'changed_at'] as const
/** In a statement: some megabytes. */
const ROWS_AT_ONCE = 2000

export interface State {
  readonly version: number
  /** Of the log of definitions: everything up to there is in the tables. */
  readonly position: number
}

/** @param lock nobody else changes anything before this transaction ends */
export async function readState(queries: Queries, lock: boolean): Promise<State> {
  const [row] = await queries.query(`SELECT version, position FROM directory_state${lock ? ' FOR UPDATE' : ''}`)
  return { version: Number(row!['version']), position: Number(row!['position']) }
}

export async function writeState(queries: Queries, { version, position }: State): Promise<void> {
  await queries.query('UPDATE directory_state SET version = $1, position = $2', [version, position])
}

/** What has changed after a version; all of it after version 0. Several pages are of one moment inside a transaction that locks. */
export async function readEntries(queries: Queries, after: number): Promise<KindRecord[]> {
  const found: KindRecord[] = []
  for (const kind of KINDS) {
    for (let version = after, id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'; ; ) {
      const rows = await queries.query(
        `SELECT row_to_json(t) AS record FROM ${TABLES[kind]} t WHERE (version, id) > ($1::bigint, $2::uuid) ORDER BY version, id LIMIT ${ROWS_AT_ONCE}`,
        [version, id],
      )
      const records = rows.map(recordOf)
      for (const record of records) found.push({ kind, record })
      const last = records.at(-1)
      if (last === undefined || records.length < ROWS_AT_ONCE) break
      version = last.version
      id = last.id
    }
  }
  return found
}

/** Puts entries in the place of those with their ids, or beside them. */
export async function writeEntries(queries: Queries, changes: readonly KindRecord[]): Promise<void> {
  for (const kind of KINDS) {
    const records = changes.filter((change) => change.kind === kind).map(({ record }) => record)
    for (let at = 0; at < records.length; at += ROWS_AT_ONCE) {
      const some = records.slice(at, at + ROWS_AT_ONCE)
      // Quoted: some are words of SQL.
      const columns = Object.keys(some[0]!).map((column) => `"${column}"`)
      const replaced = columns.filter((column) => column !== '"id"').map((column) => `${column} = excluded.${column}`)
      await queries.query(
        `INSERT INTO ${TABLES[kind]} (${columns.join(', ')}) SELECT ${columns.join(', ')} FROM jsonb_populate_recordset(NULL::${TABLES[kind]}, $1::jsonb) ON CONFLICT (id) DO UPDATE SET ${replaced.join(', ')}`,
        [JSON.stringify(some)],
      )
    }
  }
}

/** What somebody with that key was answered, and to which request. */
export async function readAnswer(
  queries: Queries,
  credential: string,
  key: string,
): Promise<{ readonly request: string; readonly answer: unknown } | undefined> {
  const [row] = await queries.query(
    'SELECT request, answer FROM directory_answers WHERE credential = $1 AND key = $2',
    [credential, key],
  )
  return row === undefined ? undefined : { request: String(row['request']), answer: row['answer'] }
}

/** @param keepHours older ones of everybody are forgotten */
export async function writeAnswer(
  queries: Queries,
  given: { readonly credential: string; readonly key: string; readonly request: string; readonly answer: unknown },
  keepHours: number,
): Promise<void> {
  await queries.query("DELETE FROM directory_answers WHERE at < now() - $1::integer * interval '1 hour'", [keepHours])
  await queries.query(
    'INSERT INTO directory_answers (credential, key, request, answer) VALUES ($1, $2, $3, $4::json)',
    [given.credential, given.key, given.request, JSON.stringify(given.answer)],
  )
}

function recordOf(row: Row): EntryRecord {
  const record = { ...(row['record'] as Record<string, unknown>) }
  for (const field of TIMES) {
    const time = record[field]
    if (typeof time === 'string') record[field] = utcOf(Date.parse(time))
  }
  return record as unknown as EntryRecord // the columns are the fields
}
