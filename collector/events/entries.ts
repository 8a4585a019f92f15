/** Bodies taken apart: what each item of a request is, before it is known whether that is an event. */
import { isUtf8 } from 'node:buffer'
import { gunzipSync } from 'node:zlib'
import { eventOfCloudEvent } from '../../proto/events/cloud-event.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Entry } from './entry.ts'
import { BadBody, malformed, parsedBody, textEntry, textOf } from './entry.ts'
import type { IncomingEvents } from './incoming.ts'
import { readRecords } from './records.ts'

export interface EntryLimits {
  readonly itemsMax: number
  readonly itemBytesMax: number
  /** Of a compressed body. */
  readonly decodedBytesMax: number
}

/** @throws BadBody when nothing can be used */
export function readEntries(incoming: IncomingEvents, limits: EntryLimits): Entry[] {
  const body = plainBody(incoming, limits.decodedBytesMax)
  const entries = entriesOf(incoming, body, limits)
  if (entries.length > limits.itemsMax)
    throw new BadBody(
      413,
      `${entries.length} events in one request, of at most ${limits.itemsMax}: send fewer at a time`,
    )
  return entries
}

function entriesOf(incoming: IncomingEvents, body: Uint8Array, limits: EntryLimits): Entry[] {
  switch (incoming.format) {
    case 'json': {
      const value = parsedBody(body)
      return (Array.isArray(value) ? value : [value]).map((raw) => ({ raw }))
    }
    case 'lines':
      return lineEntries(textOf(body))
    case 'cloud_event':
      return [cloudEntry(parsedBody(body))]
    case 'cloud_events': {
      const value = parsedBody(body)
      if (!Array.isArray(value)) throw new BadBody(400, 'A batch of CloudEvents is a JSON array')
      return value.map(cloudEntry)
    }
    case 'cloud_event_binary':
      return [binaryEntry(incoming.attributes ?? {}, body)]
    default:
      return readRecords(incoming.format, body, incoming, 2 * limits.itemBytesMax) // base64 takes more
  }
}

function plainBody({ body, gzip }: IncomingEvents, bytesMax: number): Uint8Array {
  if (!gzip) return body
  try {
    return gunzipSync(body, { maxOutputLength: bytesMax })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new BadBody(413, `The body decodes to more than ${bytesMax} bytes (collector.decoded_bytes_max)`)
    throw new BadBody(400, `The body is not gzip: ${messageOf(error)}`)
  }
}

function lineEntries(text: string): Entry[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => textEntry(line))
}

function cloudEntry(value: unknown): Entry {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { raw: value, fault: malformed('expected a CloudEvent as a JSON object') }
  const { data, data_base64: base64, ...attributes } = value as Record<string, unknown>
  const content = typeof base64 === 'string' ? dataOf(Buffer.from(base64, 'base64'), attributes) : data
  return mapped(attributes, content, value)
}

function binaryEntry(attributes: Readonly<Record<string, string>>, body: Uint8Array): Entry {
  return mapped(attributes, body.length === 0 ? undefined : dataOf(body, attributes), undefined)
}

/** JSON where it is that, else the text, else base64. */
function dataOf(bytes: Uint8Array, { datacontenttype }: Readonly<Record<string, unknown>>): unknown {
  if (!isUtf8(bytes)) return Buffer.from(bytes).toString('base64')
  const text = textOf(bytes)
  const type = typeof datacontenttype === 'string' ? datacontenttype : 'application/json'
  if (!/[/+]json\b/i.test(type)) return text
  const { raw, fault } = textEntry(text)
  return fault === undefined ? raw : text
}

function mapped(attributes: Readonly<Record<string, unknown>>, data: unknown, raw: unknown): Entry {
  const found = eventOfCloudEvent(attributes, data)
  return 'raw' in found ? found : { raw: raw ?? attributes, fault: malformed(found.message, found.field) }
}
