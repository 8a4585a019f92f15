/** Pages of a list: `limit`, and an opaque `cursor` that says after which record the next page begins. */
import { compareUtf8 } from '../../proto/wire/labels.ts'

export interface PageQuery {
  readonly limit: number
  /** Key of the last record of the page before; undefined: the first page. */
  readonly after: string | undefined
}

export interface Page<T> {
  readonly data: readonly T[]
  /** null: this was the last page. */
  readonly next_cursor: string | null
}

/** A parameter that cannot be understood, and why. */
export interface FieldError {
  readonly field: string
  readonly message: string
}

const LIMIT_DEFAULT = 100
const LIMIT_MAX = 1000
const CURSOR_CHARACTERS_MAX = 20_000

export function readPageQuery(parameters: URLSearchParams): PageQuery | FieldError {
  const limit = parameters.get('limit') ?? String(LIMIT_DEFAULT)
  if (!/^[1-9]\d{0,8}$/.test(limit)) return { field: 'limit', message: 'expected a whole number of at least 1' }
  const cursor = parameters.get('cursor')
  if (cursor !== null && (cursor.length > CURSOR_CHARACTERS_MAX || !/^[\w-]+$/.test(cursor)))
    return { field: 'cursor', message: 'expected next_cursor of the page before, as it was' }
  return {
    limit: Math.min(Number(limit), LIMIT_MAX),
    after: cursor === null ? undefined : Buffer.from(cursor, 'base64url').toString('utf8'),
  }
}

/** The next page begins behind the record of this key. */
export function cursorBehind(key: string): string {
  return Buffer.from(key).toString('base64url')
}

export function noSuchParameter(name: string, known: readonly string[]): FieldError {
  return { field: name.slice(0, 64), message: `there is no such parameter; there are ${known.join(', ')}` }
}

/** The records after the cursor, in byte order of their keys. */
export function pageOf<T>(records: Iterable<readonly [key: string, record: T]>, { limit, after }: PageQuery): Page<T> {
  const sorted = [...records].sort(([a], [b]) => compareUtf8(a, b))
  const rest = after === undefined ? sorted : sorted.filter(([key]) => compareUtf8(key, after) > 0)
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    data: page.map(([, record]) => record),
    next_cursor: rest.length > limit && last !== undefined ? cursorBehind(last[0]) : null,
  }
}
