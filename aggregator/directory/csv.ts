/**
 * CSV as RFC 4180 has it, and as spreadsheets write it: a byte order mark, CRLF or LF, quotes, line breaks within quotes. UTF-8 only.
 *
 * A spreadsheet takes a cell that begins with = + - @ for a formula. Such text is written with an apostrophe in front, which
 * spreadsheets show as text and `readCsv` takes away again; one that has an apostrophe there already gets another.
 * @see https://www.rfc-editor.org/rfc/rfc4180
 */
import { Turns } from '../query/turns.ts'

export interface CsvLimits {
  readonly lines: number
  readonly columns: number
}

/** A row with the number of the line on which it begins, the first one being 1. */
export interface CsvRow {
  readonly line: number
  readonly cells: readonly string[]
}

export class CsvError extends Error {
  readonly line: number

  constructor(line: number, message: string) {
    super(message)
    this.name = 'CsvError'
    this.line = line
  }
}

const FORMULA = /^'*[=+\-@\t\r]/
/** Less than nothing is no formula. */
const NUMBER = /^-\d+(\.\d+)?$/
const QUOTE = 34
const COMMA = 44
const LF = 10
const CR = 13

/**
 * Reads all rows; lines with nothing on them are none. Others have their turn meanwhile.
 * @throws CsvError at the first line that is no CSV, or beyond the limits
 */
export async function readCsv(bytes: Uint8Array, limits: CsvLimits): Promise<CsvRow[]> {
  const text = decode(bytes)
  const rows: CsvRow[] = []
  const turns = new Turns()
  let line = 1
  for (let at = 0; at < text.length; ) {
    const begun = line
    const cells: string[] = []
    for (let more = true; more; ) {
      const cell = text.charCodeAt(at) === QUOTE ? quotedCell(text, at, line) : plainCell(text, at, line)
      cells.push(withoutGuard(cell.value))
      if (cells.length > limits.columns) throw new CsvError(begun, `more than ${limits.columns} columns`)
      line += cell.breaks
      at = cell.end
      more = text.charCodeAt(at) === COMMA
      if (more) at++
    }
    if (text.charCodeAt(at) === CR) at++
    if (text.charCodeAt(at) === LF) at++
    line++
    if (cells.length > 1 || cells[0] !== '') rows.push({ line: begun, cells })
    if (rows.length > limits.lines)
      throw new CsvError(begun, `more than ${limits.lines} lines: send them in several files`)
    if (turns.over) await turns.next()
  }
  return rows
}

/** A row of CSV, with its end of line. */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`
}

function csvCell(value: string): string {
  const guarded = FORMULA.test(value) && !NUMBER.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded
}

function withoutGuard(value: string): string {
  return value.startsWith("'") && FORMULA.test(value) ? value.slice(1) : value
}

interface Cell {
  readonly value: string
  /** Where what follows it begins. */
  readonly end: number
  /** Lines that end within it. */
  readonly breaks: number
}

function plainCell(text: string, from: number, line: number): Cell {
  let end = from
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end)
    if (code === COMMA || code === LF || code === CR) break
    if (code === QUOTE)
      throw new CsvError(line, 'a quote within a cell: put the whole cell in quotes, and each quote twice')
  }
  if (text.charCodeAt(end) === CR && text.charCodeAt(end + 1) !== LF)
    throw new CsvError(line, 'a carriage return without a line feed: save it with CRLF or LF line ends')
  return { value: text.slice(from, end), end, breaks: 0 }
}

function quotedCell(text: string, from: number, line: number): Cell {
  let breaks = 0
  for (let end = from + 1; ; end++) {
    const quote = text.indexOf('"', end)
    if (quote < 0) throw new CsvError(line, 'a quote that is never closed')
    for (let lf = text.indexOf('\n', end); lf >= 0 && lf < quote; lf = text.indexOf('\n', lf + 1)) breaks++
    end = quote
    if (text.charCodeAt(quote + 1) === QUOTE) {
      end++
      continue
    }
    const next = text.charCodeAt(quote + 1)
    if (quote + 1 < text.length && next !== COMMA && next !== LF && next !== CR)
      throw new CsvError(line + breaks, 'text behind a closing quote')
    return { value: text.slice(from + 1, quote).replaceAll('""', '"'), end: quote + 1, breaks }
  }
}

function decode(bytes: Uint8Array): string {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw new CsvError(1, 'this is UTF-16: save it as UTF-8')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes) // takes a byte order mark away
  } catch {
    throw new CsvError(lineOfBadByte(bytes), 'this is not UTF-8: save it as UTF-8')
  }
}

/** Of lines up to there, the last one is the first that cannot be read. */
function lineOfBadByte(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (let line = 1, from = 0; from < bytes.length; line++) {
    const lf = bytes.indexOf(LF, from)
    const end = lf < 0 ? bytes.length : lf + 1
    try {
      decoder.decode(bytes.subarray(from, end))
    } catch {
      return line
    }
    from = end
  }
  return 1
}
