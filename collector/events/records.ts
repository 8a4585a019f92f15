/**
 * Bodies of Kafka REST: records of v2 (`{"records":[{"key","value","partition"}]}`) and of v3 (objects one after the other, or
 * `{"entries":[…]}`). A record that holds no event is an entry all the same: it is kept as a letter.
 */
import { isUtf8 } from 'node:buffer'
import { readTime } from '../../proto/events/values.ts'
import type { Entry } from './entry.ts'
import { BadBody, malformed, parsedBody, textEntry, textOf } from './entry.ts'
import type { Format, IncomingEvents } from './incoming.ts'
import { JsonObjects } from './json-objects.ts'

type KafkaFormat = Extract<Format, `kafka_${string}`>
type Fields = Readonly<Record<string, unknown>>

const IDS_CHARS_MAX = 80
const TOMBSTONE: Entry = {
  raw: null,
  fault: { field: '', code: 'tombstone', message: 'the record has no value: topics of events have no tombstones' },
}

/** @throws BadBody when nothing can be used */
export function readRecords(
  format: KafkaFormat,
  body: Uint8Array,
  { partition }: Pick<IncomingEvents, 'partition'>,
  recordBytesMax: number,
): Entry[] {
  if (format === 'kafka_v3') return concatenated(body, recordBytesMax)
  if (format === 'kafka_v3_batch') return batched(parsedBody(body))
  const value = parsedBody(body)
  const records = isObject(value) ? value['records'] : undefined
  if (!Array.isArray(records) || records.length === 0)
    throw new BadBody(422, 'Expected {"records":[{"value":…}]} with at least one record')
  return records.map((record) => v2Entry(format, record, partition))
}

function v2Entry(format: KafkaFormat, record: unknown, ofPath: number | undefined): Entry {
  if (!isObject(record)) return { raw: record, fault: malformed('expected a record {"value":…}') }
  const { value, key, timestamp } = record
  const partition = isPartition(record['partition']) ? record['partition'] : ofPath
  const time = typeof timestamp === 'number' ? timestamp : undefined
  const rest = { partition, time, key: keyOf(format, key) }
  if (value === null || value === undefined) return { ...TOMBSTONE, ...rest }
  if (format === 'kafka_json') return { raw: value, ...rest }
  if (typeof value !== 'string') return { raw: value, fault: malformed('expected the value as text', 'value'), ...rest }
  return { ...(format === 'kafka_text' ? textEntry(value) : binaryEntry(value)), ...rest }
}

function keyOf(format: KafkaFormat, key: unknown): string | undefined {
  if (key === null || key === undefined) return undefined
  if (format === 'kafka_binary' && typeof key === 'string' && isBase64(key)) return key
  const text = format === 'kafka_text' && typeof key === 'string' ? key : JSON.stringify(key)
  return Buffer.from(text).toString('base64')
}

function binaryEntry(base64: string): Entry {
  if (!isBase64(base64)) return { raw: undefined, text: base64, fault: malformed('the value is not base64', 'value') }
  const bytes = new Uint8Array(Buffer.from(base64, 'base64'))
  if (!isUtf8(bytes)) return { raw: undefined, text: bytes, fault: malformed('the value is not UTF-8', 'value') }
  return textEntry(textOf(bytes))
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
}

function concatenated(body: Uint8Array, recordBytesMax: number): Entry[] {
  const objects = new JsonObjects(recordBytesMax)
  const entries = objects.push(body).map((bytes) => v3Entry(isUtf8(bytes) ? textEntry(textOf(bytes)).raw : undefined))
  if (objects.problem !== undefined) entries.push(refusedRecord(400, objects.problem))
  else if (objects.unfinished) entries.push(refusedRecord(400, 'the last record is cut off'))
  if (entries.length === 0) throw new BadBody(400, 'Expected records one after the other, got none')
  return entries
}

function batched(value: unknown): Entry[] {
  const entries = isObject(value) ? value['entries'] : undefined
  if (!Array.isArray(entries) || entries.length === 0)
    throw new BadBody(422, 'Expected {"entries":[{"id":"1","value":…}]} with at least one entry', 42208)
  const ids = entries.map((entry) => (isObject(entry) ? entry['id'] : undefined))
  if (!ids.every((id) => typeof id === 'string' && id.length > 0 && id.length <= IDS_CHARS_MAX))
    throw new BadBody(422, `Every entry needs an "id" of 1 to ${IDS_CHARS_MAX} characters`, 42208)
  if (new Set(ids).size !== ids.length) throw new BadBody(422, 'The entries have an "id" twice', 42208)
  return entries.map((entry, i) => ({ ...v3Entry(entry), id: ids[i] as string }))
}

function v3Entry(record: unknown): Entry {
  if (!isObject(record)) return refusedRecord(400, 'the record is not a JSON object')
  const { key, value, timestamp, partition_id: partition } = record
  for (const [name, part] of Object.entries({ key, value })) {
    const problem = schemaProblem(name, part)
    if (problem !== undefined) return problem
  }
  const time = timestamp === undefined || timestamp === null ? undefined : readTime(timestamp)
  const rest = { time, partition: isPartition(partition) ? partition : undefined, key: v3Key(key) }
  if (!isObject(value) || value['data'] === undefined || value['data'] === null) return { ...TOMBSTONE, ...rest }
  return { ...v3Value(value), ...rest }
}

function v3Value({ type = 'BINARY', data }: Fields): Entry {
  if (type === 'JSON') return { raw: data }
  if (typeof data !== 'string') return { raw: data, fault: malformed('expected the data as text', 'value') }
  return type === 'STRING' ? textEntry(data) : binaryEntry(data)
}

function v3Key(key: unknown): string | undefined {
  if (!isObject(key)) return undefined
  const { type = 'BINARY', data } = key
  return keyOf(type === 'JSON' ? 'kafka_json' : type === 'STRING' ? 'kafka_text' : 'kafka_binary', data)
}

const TYPES: ReadonlySet<unknown> = new Set(['BINARY', 'JSON', 'STRING', undefined])
const SCHEMA_FIELDS = ['schema', 'schema_id', 'schema_version', 'subject'] as const

function schemaProblem(name: string, part: unknown): Entry | undefined {
  if (part === undefined || part === null) return undefined
  if (!isObject(part)) return refusedRecord(400, `"${name}" is not {"type":…,"data":…}`)
  if (SCHEMA_FIELDS.some((field) => part[field] !== undefined) || !TYPES.has(part['type']))
    return refusedRecord(
      42205,
      `"${name}" asks for a schema: there is no schema registry here, send JSON, STRING or BINARY`,
    )
  return undefined
}

function refusedRecord(code: number, message: string): Entry {
  return { raw: undefined, error: { code, message } }
}

function isPartition(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
