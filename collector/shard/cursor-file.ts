/** Where a shard had got to, as a hint for the next start: without it more is sent again, which changes nothing. */
import type { Files } from '../journal/files.ts'

export interface Cursor {
  /** Everything up to here is stored. */
  readonly position: number
  /** No arrival was given out after this one, µs. */
  readonly at: number
}

/** The cursor, or undefined when it is absent or damaged. */
export function readCursor(files: Files, path: string): Cursor | undefined {
  try {
    const read = JSON.parse(files.readText(path) ?? 'null') as Partial<Cursor> | null
    if (read === null || !Number.isSafeInteger(read.position) || !Number.isSafeInteger(read.at)) return undefined
    return { position: read.position as number, at: read.at as number }
  } catch {
    return undefined
  }
}

export function writeCursor(files: Files, path: string, cursor: Cursor): void {
  files.replaceText(path, `${JSON.stringify(cursor)}\n`)
}
