/**
 * What came in as events, newest first, of one tenant:
 *
 *     GET /v1/events              filters: type (or `family.*`), task_id, user_id, node_id, source, topic, from, to; limit, cursor
 *     GET /v1/events/{event_id}   one
 *     GET /v1/dead_letters        what could not be read as an event: from, to; limit, cursor
 *
 * JSON, or CSV by `Accept: text/csv`; the next page of CSV is named in the header `Link`. What a sender was told to be stored is found at once.
 */
import type { Context, Hono, MiddlewareHandler } from 'hono'
import type { FieldError } from '../overview/cursor.ts'
import { readPageQuery } from '../overview/cursor.ts'
import { asProblem, badParameters } from '../overview/problem.ts'
import { csvOf, eventAnswer, letterAnswer, pageAnswer } from './event-answers.ts'
import type { EventFilter, EventQuery, FoundEvent, FoundLetter, Place } from './event-query.ts'
import { readEventFilter, readPlace } from './event-query.ts'

export interface EventRoutesOptions {
  readonly query: EventQuery
  readonly now: () => number
}

const PATHS = ['/v1/events', '/v1/events/:event_id', '/v1/dead_letters'] as const
const UUID = /^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/

/** Adds the routes. @param entry what every question passes first */
export function addEventRoutes<E extends object>(
  app: Hono<E>,
  { query, now }: EventRoutesOptions,
  entry: readonly MiddlewareHandler<E>[],
  tenantOf: (c: Context<E>) => string,
): void {
  for (const path of PATHS) {
    app.use(path, asProblem)
    for (const middleware of entry) app.use(path, middleware)
  }

  app.get('/v1/events', async (c) => {
    const asked = readQuestion(c, now())
    if ('errors' in asked) return badParameters(asked.errors)
    const { filter, before, limit } = asked
    const found = await query.events(tenantOf(c), filter, before, limit + 1)
    return answer(c, found, limit, eventAnswer, ({ ts, eventId }) => ({ time: ts, id: eventId }))
  })

  app.get('/v1/dead_letters', async (c) => {
    const asked = readQuestion(c, now())
    if ('errors' in asked) return badParameters(asked.errors)
    const { filter, before, limit } = asked
    const found = await query.letters(tenantOf(c), filter, before, limit + 1)
    return answer(c, found, limit, letterAnswer, ({ at, id }) => ({ time: at, id }))
  })

  app.get('/v1/events/:event_id', async (c) => {
    const id = c.req.param('event_id')
    if (!UUID.test(id)) return badParameters([{ field: 'event_id', message: 'expected a UUID' }])
    const found = await query.event(tenantOf(c), id.toLowerCase())
    if (found === undefined)
      return c.json({ message: `There is no event ${id} of this tenant`, code: 'NOT_FOUND' }, 404)
    return c.body(eventAnswer.json(found), 200, { 'Content-Type': 'application/json' })
  })

  for (const path of PATHS)
    app.all(path, (c) =>
      c.json({ message: `${c.req.method} is not allowed on ${path}: expected GET`, code: 'BAD_REQUEST' }, 405, {
        Allow: 'GET, HEAD',
      }),
    )
}

type Question =
  | { readonly filter: EventFilter; readonly before: Place | undefined; readonly limit: number }
  | { readonly errors: readonly FieldError[] }

function readQuestion(c: Context, now: number): Question {
  const parameters = new URL(c.req.url).searchParams
  const page = readPageQuery(parameters)
  const filter = readEventFilter(parameters, now)
  const place = 'field' in page || page.after === undefined ? undefined : readPlace(page.after)
  const errors = [
    ...('field' in page ? [page] : []),
    ...('errors' in filter ? filter.errors : []),
    ...(place === 'unknown'
      ? [{ field: 'cursor', message: 'expected next_cursor of the page before, as it was' }]
      : []),
  ]
  if ('field' in page || 'errors' in filter || place === 'unknown') return { errors }
  return { filter, before: place, limit: page.limit }
}

function answer<T extends FoundEvent | FoundLetter>(
  c: Context,
  found: readonly T[],
  limit: number,
  shape: { readonly columns: readonly string[]; json(one: T): string; cells(one: T): readonly string[] },
  placeOf: (one: T) => Place,
): Response {
  const page = found.slice(0, limit)
  const last = found.length > limit ? page.at(-1) : undefined
  const cursor = last === undefined ? undefined : cursorOf(placeOf(last))
  if (!(c.req.header('accept') ?? '').toLowerCase().includes('text/csv'))
    return c.body(
      pageAnswer(
        page.map((one) => shape.json(one)),
        cursor,
      ),
      200,
      { 'Content-Type': 'application/json' },
    )
  const headers: Record<string, string> = { 'Content-Type': 'text/csv; charset=utf-8; header=present' }
  if (cursor !== undefined) {
    const next = new URL(c.req.url)
    next.searchParams.set('cursor', cursor)
    headers['Link'] = `<${next.pathname}${next.search}>; rel="next"`
  }
  return c.body(
    csvOf(
      shape.columns,
      page.map((one) => shape.cells(one)),
    ),
    200,
    headers,
  )
}

function cursorOf({ time, id }: Place): string {
  return Buffer.from(`${time} ${id}`).toString('base64url')
}
