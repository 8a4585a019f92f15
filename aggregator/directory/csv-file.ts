/**
 * A directory as a CSV file, in and out. The first line names the columns, in any order; what `GET` gives out may be edited and sent
 * back: a row with an `id` is that entry (and its `version`, where it is given, must still be the same), one without is a new entry.
 * Rows that say what is there already change nothing, so a file may be sent twice.
 */
import { Turns } from '../query/turns.ts'
import type { ChangeAnswer, Decide } from './changes.ts'
import { checkedValues } from './changes.ts'
import type { CsvRow } from './csv.ts'
import { CsvError, csvLine, readCsv } from './csv.ts'
import type { Asking } from './draft.ts'
import { Draft, isFault, isSuperseded } from './draft.ts'
import type { Directory, EntryRecord } from './entry.ts'
import type { FieldProblem, Value, Values } from './fields.ts'
import { cellOf, valueOfCell } from './fields.ts'
import type { Fault } from './refusal.ts'
import { faulty } from './refusal.ts'

/** What an import did, or would do. */
export interface ImportAnswer {
  readonly dry_run: boolean
  readonly created: number
  readonly replaced: number
  readonly unchanged: number
}

/** With more than that, work on them would take more memory than a request should. */
export const IMPORT_LINES_MAX = 200_000
const COLUMNS_MAX = 64
/** Beyond it nobody reads on. */
const FAULTS_MAX = 100_000
const HEAD: readonly string[] = ['id', 'version']

/** @throws Refusal at once when the file is no such table */
export async function importFile(
  directory: Directory,
  asking: Asking,
  bytes: Uint8Array,
  dryRun: boolean,
): Promise<Decide> {
  const rows = await readRows(bytes)
  const columns = readColumns(directory, rows[0])
  return async (snapshot, stamp) => {
    const draft = new Draft(directory, snapshot, stamp)
    const faults: Fault[] = []
    const counts = { created: 0, replaced: 0, unchanged: 0 }
    const turns = new Turns()
    for (const row of rows.slice(1)) {
      const problems: FieldProblem[] = []
      const what = importRow(draft, asking, columns, row, problems)
      if (what !== undefined) counts[what]++
      faults.push(...problems.map((problem) => ({ line: row.line, ...problem })))
      if (faults.length >= FAULTS_MAX) break
      if (turns.over) await turns.next()
    }
    if (faults.length > 0) throw faulty(faults)
    const body: ImportAnswer = { dry_run: dryRun, ...counts }
    const answer: ChangeAnswer = { status: 200, headers: {}, body }
    return { answer, changes: dryRun ? [] : draft.changes }
  }
}

/** The lines of a file with these entries. */
export function* exportLines(directory: Directory, records: Iterable<EntryRecord>): Iterable<string> {
  const columns = [...HEAD, ...[...directory.fields, ...directory.ownFields].map(({ name }) => name)]
  yield csvLine(columns)
  for (const record of records) {
    const values = record as unknown as Readonly<Record<string, Value>>
    yield csvLine(columns.map((column) => cellOf(values[column])))
  }
}

async function readRows(bytes: Uint8Array): Promise<CsvRow[]> {
  try {
    return await readCsv(bytes, { lines: IMPORT_LINES_MAX + 1, columns: COLUMNS_MAX })
  } catch (error) {
    if (error instanceof CsvError) throw faulty([{ line: error.line, field: '', message: error.message }])
    throw error
  }
}

/** @returns names of the columns, as they stand. @throws Refusal */
function readColumns(directory: Directory, first: CsvRow | undefined): readonly string[] {
  const known = [...HEAD, ...[...directory.fields, ...directory.ownFields].map(({ name }) => name)]
  if (first === undefined)
    throw faulty([
      { line: 1, field: '', message: `expected a first line with the names of columns: ${known.join(',')}` },
    ])
  const columns = first.cells.map((cell) => cell.trim())
  const faults: Fault[] = []
  for (const [i, column] of columns.entries()) {
    const shown = column.slice(0, 64)
    if (!known.includes(column))
      faults.push({ line: first.line, field: shown, message: `there is no such column; there are ${known.join(', ')}` })
    else if (columns.indexOf(column) !== i)
      faults.push({ line: first.line, field: shown, message: 'the column is there twice' })
  }
  for (const { name, required } of directory.fields)
    if (required && !columns.includes(name))
      faults.push({ line: first.line, field: name, message: 'the column is missing' })
  if (faults.length > 0) throw faulty(faults)
  return columns
}

/** @returns undefined when something is wrong with it, which is then in `problems` */
function importRow(
  draft: Draft,
  asking: Asking,
  columns: readonly string[],
  { cells }: CsvRow,
  problems: FieldProblem[],
): 'created' | 'replaced' | 'unchanged' | undefined {
  if (cells.length !== columns.length) {
    problems.push({ field: '', message: `expected ${columns.length} cells, as in the first line, got ${cells.length}` })
    return undefined
  }
  const cell = (name: string): string => cells[columns.indexOf(name)] ?? ''
  const given: Record<string, unknown> = {}
  for (const field of draft.directory.fields)
    if (columns.includes(field.name)) given[field.name] = valueOfCell(field, cell(field.name))
  const values = checkedValues(draft.directory, asking, given, problems)
  if (problems.length > 0) return undefined
  if (cell('id') !== '')
    return importKnown(draft, asking, { id: cell('id'), version: cell('version') }, values, problems)
  if (draft.same(values) !== undefined) return 'unchanged'
  return taken(draft.add(values), problems) ? 'created' : undefined
}

function importKnown(
  draft: Draft,
  asking: Asking,
  { id, version }: { readonly id: string; readonly version: string },
  values: Values,
  problems: FieldProblem[],
): 'replaced' | 'unchanged' | undefined {
  const before = draft.get(id)
  const reached = before !== undefined && (asking.admin || before.tenant === asking.tenant)
  if (!reached) problems.push({ field: 'id', message: `there is no ${draft.directory.kind} with this id` })
  else if (version !== '' && version !== String(before.version))
    problems.push({ field: 'version', message: `it was changed meanwhile: it is ${before.version} now` })
  else if (values['tenant'] !== before.tenant)
    problems.push({ field: 'tenant', message: `it is of ${before.tenant}, and stays so` })
  else if (draft.says(before, values)) return 'unchanged'
  else if (isSuperseded(before))
    problems.push({ field: 'id', message: 'it was superseded, and holds no more: change its successor' })
  else return taken(draft.replace(before, values), problems) ? 'replaced' : undefined
  return undefined
}

function taken(result: EntryRecord | Fault, problems: FieldProblem[]): boolean {
  if (!isFault(result)) return true
  problems.push(result)
  return false
}
