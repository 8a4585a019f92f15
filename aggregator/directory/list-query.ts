/** Questions about a list of entries: which, of what time, how many, from where on. */
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import { noSuchParameter, readPageQuery } from '../overview/cursor.ts'
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { ALL_TENANTS, holdsAt } from './entry.ts'
import type { EntryTable } from './entry-table.ts'
import type { Fault } from './refusal.ts'
import { faulty } from './refusal.ts'

export interface ListQuery {
  readonly limit: number
  /** Id of the last entry of the page before. */
  readonly after: string | undefined
  /** Only what holds at this time, ms. */
  readonly at: number | undefined
  /** What its fields have to say. */
  readonly filters: readonly (readonly [field: string, value: string])[]
}

interface ListPage {
  readonly data: readonly EntryRecord[]
  readonly next_cursor: string | null
}

const PARAMETERS: readonly string[] = ['limit', 'cursor', 'at']

/** @throws Refusal naming every parameter at fault */
export function readListQuery(directory: Directory, parameters: URLSearchParams): ListQuery {
  const faults: Fault[] = []
  const known = [...PARAMETERS, ...directory.filters]
  for (const name of new Set(parameters.keys())) if (!known.includes(name)) faults.push(noSuchParameter(name, known))
  const page = readPageQuery(parameters)
  if ('field' in page) faults.push(page)
  if (faults.length > 0) throw faulty(faults)
  const at = readTime(parameters, 'at')
  const filters = directory.filters.flatMap((field) => parameters.getAll(field).map((value) => [field, value] as const))
  return { ...(page as Exclude<typeof page, { field: string }>), at, filters }
}

/** @throws Refusal when it is there and is no time */
export function readTime(parameters: URLSearchParams, name: string): number | undefined {
  const given = parameters.get(name)
  if (given === null) return undefined
  const ms = parseRfc3339(given.replace(' ', '+')) // a plus that nobody escaped
  if (ms !== undefined && ms >= 0) return ms
  throw faulty([{ field: name, message: 'expected a time such as 2026-01-31T00:00:00Z' }])
}

/** A page in the order in which entries were made. */
export function listPage(table: EntryTable<EntryRecord>, tenant: string, query: ListQuery): ListPage {
  const data: EntryRecord[] = []
  for (const record of matching(table, tenant, query)) {
    if (data.length === query.limit) return { data, next_cursor: Buffer.from(data.at(-1)!.id).toString('base64url') }
    data.push(record)
  }
  return { data, next_cursor: null }
}

/** All that match, from the cursor on; however many. */
export function* matching(
  table: EntryTable<EntryRecord>,
  tenant: string,
  { after, at, filters }: Omit<ListQuery, 'limit'>,
): Iterable<EntryRecord> {
  for (let i = after === undefined ? 0 : table.indexAfter(after); i < table.all.length; i++) {
    const entry = table.all[i] as Entry
    const { record } = entry
    if (record.tenant !== tenant && record.tenant !== ALL_TENANTS) continue
    if (at !== undefined && !holdsAt(entry, at)) continue
    if (filters.every(([field, value]) => says(record, field, value))) yield record
  }
}

function says(record: EntryRecord, field: string, value: string): boolean {
  return (record as unknown as Readonly<Record<string, unknown>>)[field] === value
}
