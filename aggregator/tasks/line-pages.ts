/** Pages of lines that are sums: a cursor names the last line by its keys; of CSV the next page is named in `Link`. */
import type { Context } from 'hono'
import type { PageQuery } from '../overview/cursor.ts'

/** What the last line was of: a cursor is of one grouping. @param count of keys */
export function readKeys({ after }: PageQuery, count: number): readonly string[] | undefined | 'unknown' {
  if (after === undefined) return undefined
  try {
    const keys: unknown = JSON.parse(after)
    const fits = Array.isArray(keys) && keys.length === count && keys.every((key) => typeof key === 'string')
    return fits ? (keys as string[]) : 'unknown'
  } catch {
    return 'unknown' // no JSON: somebody made it up
  }
}

export function writeKeys(keys: readonly string[]): string {
  return Buffer.from(JSON.stringify(keys)).toString('base64url')
}

export function wantsCsv(c: Context): boolean {
  return (c.req.header('accept') ?? '').toLowerCase().includes('text/csv')
}

export function csvPage(c: Context, body: string, cursor: string | null): Response {
  const headers: Record<string, string> = { 'Content-Type': 'text/csv; charset=utf-8; header=present' }
  if (cursor !== null) {
    const next = new URL(c.req.url)
    next.searchParams.set('cursor', cursor)
    headers['Link'] = `<${next.pathname}${next.search}>; rel="next"`
  }
  return c.body(body, 200, headers)
}
