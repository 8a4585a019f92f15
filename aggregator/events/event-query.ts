/**
 * Questions about events: what is logged and not in ClickHouse yet from the owner's tail, the rest from ClickHouse. The tail is read
 * first: what leaves it meanwhile is in ClickHouse before the statement begins, and what is found in both is one.
 *
 * A list is read backwards in spans of time that grow until enough is found: the key begins with the hour, so that a page of newest
 * events costs a few granules, however many there are.
 */
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { FieldError } from '../overview/cursor.ts'
import type { Database, Parameters } from '../store/clickhouse.ts'
import type { EventRow } from '../store/record-rows.ts'

export interface EventFilter {
  /** A type, or its beginning with a dot at the end; '' any. */
  readonly type: string
  readonly taskId: string
  readonly userId: string
  readonly nodeId: string
  readonly source: string
  readonly topic: string
  /** [from, to), ms since the epoch. */
  readonly from: number
  readonly to: number
}

/** A record's place in a list: its time and, among those of one time, its id. */
export interface Place {
  readonly time: number
  readonly id: string
}

export type FoundEvent = Pick<EventRow, 'eventId' | 'type' | 'ts' | 'at' | 'topic' | 'json'> & { readonly road: string }

export interface FoundLetter {
  readonly id: string
  /** Arrival, µs since the epoch. */
  readonly at: number
  readonly road: string
  readonly topic: string
  readonly code: string
  readonly reason: string
  readonly raw: string
}

export interface EventQueryOptions {
  readonly db: Database
  readonly database: string
  readonly tail: () => ReadonlyMap<string, EventRow>
  /** Rows that nobody was told of are not waited for; this is how long events are kept, ms. */
  readonly keptMs: number
  readonly now: () => number
}

const HOUR_MS = 3_600_000
const SPAN_GROWTH = 8
/** Where an event's own time may lie ahead of the clock. */
const AHEAD_MS = 366 * 24 * HOUR_MS
const FINAL = 'SETTINGS do_not_merge_across_partitions_select_final = 1'

export class EventQuery {
  readonly #options: EventQueryOptions

  constructor(options: EventQueryOptions) {
    this.#options = options
  }

  /** Newest first. @param before the place of the last record of the page before */
  async events(
    tenant: string,
    filter: EventFilter,
    before: Place | undefined,
    limit: number,
  ): Promise<readonly FoundEvent[]> {
    const found = new Map<string, FoundEvent>()
    for (const row of this.#options.tail().values())
      if (row.tenant === tenant && matches(row, filter) && (before === undefined || precedes(row, before)))
        found.set(row.eventId, row)
    let complete = Number.POSITIVE_INFINITY
    for (const { from, to } of this.#spans(filter, before)) {
      for (const row of await this.#stored(tenant, { ...filter, from, to }, before, limit)) found.set(row.eventId, row)
      complete = from
      let enough = 0
      for (const { ts } of found.values()) if (ts >= complete) enough++
      if (enough >= limit) break
    }
    return [...found.values()]
      .sort((a, b) => b.ts - a.ts || (a.eventId < b.eventId ? 1 : a.eventId > b.eventId ? -1 : 0))
      .slice(0, limit)
  }

  async event(tenant: string, eventId: string): Promise<FoundEvent | undefined> {
    for (const row of this.#options.tail().values()) if (row.eventId === eventId && row.tenant === tenant) return row
    const [row] = await this.#rows(
      'tenant = {tenant:String} AND event_id = {id:UUID} ORDER BY at DESC LIMIT 1',
      { tenant, id: eventId },
      '',
    )
    return row
  }

  async letters(
    tenant: string,
    { from, to, topic }: EventFilter,
    before: Place | undefined,
    limit: number,
  ): Promise<readonly FoundLetter[]> {
    const { db, database } = this.#options
    const rows = await db.rows<Omit<FoundLetter, 'at'> & { micros: string }>(
      `SELECT id, toString(toUnixTimestamp64Micro(at)) AS micros, road, topic, code, reason, raw FROM ${database}.dead_letters FINAL
       WHERE tenant = {tenant:String} AND at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND at < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
       ${topic === '' ? '' : 'AND topic = {topic:String}'}
       ${before === undefined ? '' : "AND (at, id) < (fromUnixTimestamp64Micro({time:Int64}, 'UTC'), {id:UUID})"}
       ORDER BY at DESC, id DESC LIMIT {limit:UInt32}`,
      { tenant, from, to, topic, time: before?.time ?? 0, id: before?.id ?? NO_ID, limit },
    )
    return rows.map(({ micros, ...rest }) => ({ ...rest, at: Number(micros) }))
  }

  /** Backwards from the end, each longer than the one before. */
  *#spans({ from, to }: EventFilter, before: Place | undefined): Iterable<{ from: number; to: number }> {
    const oldest = Math.max(from, this.#options.now() - this.#options.keptMs)
    // An hour's beginning: the key has whole hours.
    const hour = (ms: number): number => Math.floor(ms / HOUR_MS) * HOUR_MS
    let end = Math.min(to, before === undefined ? to : before.time + 1)
    let start = Math.min(hour(end - 1), hour(this.#options.now()))
    for (let span = HOUR_MS; ; span *= SPAN_GROWTH) {
      const begin = Math.max(start, oldest)
      if (begin < end) yield { from: begin, to: end }
      if (start <= oldest) return
      end = Math.min(end, start)
      start -= span
    }
  }

  #stored(
    tenant: string,
    filter: EventFilter,
    before: Place | undefined,
    limit: number,
  ): Promise<readonly FoundEvent[]> {
    const { type, taskId, userId, nodeId, source, topic, from, to } = filter
    const equal: readonly (readonly [column: string, value: string])[] = [
      ['task_id', taskId],
      ['user_id', userId],
      ['node_id', nodeId],
      ['source', source],
      ['topic', topic],
    ]
    const conditions = [
      'tenant = {tenant:String}',
      "toStartOfHour(ts) >= toStartOfHour(fromUnixTimestamp64Milli({from:Int64}, 'UTC'))",
      "toStartOfHour(ts) <= toStartOfHour(fromUnixTimestamp64Milli({to:Int64}, 'UTC'))",
      "ts >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({to:Int64}, 'UTC')",
      ...(type === ''
        ? []
        : [type.endsWith('.') ? 'startsWith(event_type, {type:String})' : 'event_type = {type:String}']),
      ...equal.filter(([, value]) => value !== '').map(([column]) => `${column} = {${column}:String}`),
      ...(before === undefined
        ? []
        : ["(ts, toString(event_id)) < (fromUnixTimestamp64Milli({time:Int64}, 'UTC'), {id:String})"]),
    ]
    return this.#rows(
      `${conditions.join(' AND ')} ORDER BY ts DESC, toString(event_id) DESC LIMIT 1 BY event_id LIMIT {limit:UInt32}`,
      { tenant, type, from, to, limit, time: before?.time ?? 0, id: before?.id ?? '', ...Object.fromEntries(equal) },
      FINAL,
    )
  }

  async #rows(where: string, parameters: Parameters, settings: string): Promise<readonly FoundEvent[]> {
    const { db, database } = this.#options
    const rows = await db.rows<Omit<FoundEvent, 'ts' | 'at'> & { millis: string; micros: string }>(
      `SELECT toString(event_id) AS eventId, event_type AS type, toString(toUnixTimestamp64Milli(ts)) AS millis,
       toString(toUnixTimestamp64Micro(at)) AS micros, road, topic, event AS json
       FROM ${database}.events ${settings === '' ? '' : 'FINAL'} WHERE ${where} ${settings}`,
      parameters,
    )
    return rows.map(({ millis, micros, ...rest }) => ({ ...rest, ts: Number(millis), at: Number(micros) }))
  }
}

const NO_ID = '00000000-0000-0000-0000-000000000000'

function matches(row: EventRow, { type, taskId, userId, nodeId, source, topic, from, to }: EventFilter): boolean {
  return (
    (type === '' || (type.endsWith('.') ? row.type.startsWith(type) : row.type === type)) &&
    (taskId === '' || row.taskId === taskId) &&
    (userId === '' || row.userId === userId) &&
    (nodeId === '' || row.nodeId === nodeId) &&
    (source === '' || row.source === source) &&
    (topic === '' || row.topic === topic) &&
    row.ts >= from &&
    row.ts < to
  )
}

/** Whether it stands behind that place in a list of newest first. */
function precedes({ ts, eventId }: EventRow, { time, id }: Place): boolean {
  return ts < time || (ts === time && eventId < id)
}

/** Names every parameter that cannot be understood. */
export function readEventFilter(
  parameters: URLSearchParams,
  now: number,
): EventFilter | { readonly errors: readonly FieldError[] } {
  const errors: FieldError[] = []
  const time = (field: string, otherwise: number): number => {
    const text = parameters.get(field)
    if (text === null) return otherwise
    const ms = parseRfc3339(text)
    if (ms === undefined) errors.push({ field, message: 'expected an RFC 3339 time such as 2026-11-21T10:00:00Z' })
    return ms ?? otherwise
  }
  const text = (field: string): string => parameters.get(field) ?? ''
  const type = text('type')
  if (type !== '' && !/^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$/.test(type))
    errors.push({ field: 'type', message: 'expected an event type, or its first words and ".*"' })
  const from = time('from', 0)
  const to = time('to', now + AHEAD_MS)
  if (errors.length === 0 && from >= to) errors.push({ field: 'from', message: 'expected a time before "to"' })
  if (errors.length > 0) return { errors }
  return {
    type: type.endsWith('.*') ? type.slice(0, -1) : type,
    taskId: text('task_id'),
    userId: text('user_id'),
    nodeId: text('node_id'),
    source: text('source'),
    topic: text('topic'),
    from,
    to,
  }
}

/** The place that a cursor names. */
export function readPlace(cursor: string): Place | 'unknown' {
  const match = /^(\d{1,16}) ([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$/.exec(cursor)
  return match === null ? 'unknown' : { time: Number(match[1]), id: match[2]! }
}
