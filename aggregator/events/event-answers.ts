/** Events and letters as answers: JSON from the text that is stored, which nobody has to read for it, and CSV that spreadsheets may open. */
import { csvLine } from '../directory/csv.ts'
import type { FoundEvent, FoundLetter } from './event-query.ts'

interface Shape<T> {
  readonly columns: readonly string[]
  json(one: T): string
  cells(one: T): readonly string[]
}

export const eventAnswer: Shape<FoundEvent> = {
  columns: ['event_id', 'event_type', 'timestamp', 'received_at', 'road', 'topic', 'event'],
  json: ({ at, road, topic, json }) =>
    `{"received_at":"${arrival(at)}","road":${JSON.stringify(road)},"topic":${JSON.stringify(topic)},"event":${json}}`,
  cells: ({ eventId, type, ts, at, road, topic, json }) => [
    eventId,
    type,
    new Date(ts).toISOString(),
    arrival(at),
    road,
    topic,
    json,
  ],
}

export const letterAnswer: Shape<FoundLetter> = {
  columns: ['id', 'received_at', 'road', 'topic', 'code', 'reason', 'raw'],
  json: ({ id, at, road, topic, code, reason, raw }) =>
    JSON.stringify({ id, received_at: arrival(at), road, topic, code, reason, raw }),
  cells: ({ id, at, road, topic, code, reason, raw }) => [id, arrival(at), road, topic, code, reason, raw],
}

/** @param records JSON */
export function pageAnswer(records: readonly string[], cursor: string | undefined): string {
  return `{"data":[${records.join(',')}],"next_cursor":${cursor === undefined ? 'null' : JSON.stringify(cursor)}}`
}

export function csvOf(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return [columns, ...rows].map(csvLine).join('')
}

/** @param at µs since the epoch, with the writer in the last three digits */
function arrival(at: number): string {
  return new Date(Math.floor(at / 1000)).toISOString()
}
