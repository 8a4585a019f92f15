/**
 * CloudEvents as events: what the attributes say of the envelope, and the data's fields beside it.
 *
 *     type ─▶ event_type   source ─▶ source   time ─▶ timestamp   id ─▶ event_id, a UUID made of source and id where it is none
 *     extensions tenantid, userid, sessionid ─▶ tenant_id, user_id, session_id   all others, subject, dataschema ─▶ metadata
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 */
import { readUuid, uuidV5 } from './uuid.ts'

/** Of ids that are no UUIDs. */
const NAMESPACE = '2f7d3f0e9d0b5b7a8d3c1a5e7b9c4d21'

const ENVELOPE: ReadonlyMap<string, string> = new Map([
  ['tenantid', 'tenant_id'],
  ['userid', 'user_id'],
  ['sessionid', 'session_id'],
])
const READ: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'time',
  'datacontenttype',
  'data',
  'data_base64',
])

/** What stands beside the envelope, as far as this version reads it. */
type Attributes = Readonly<Record<string, unknown>>

/**
 * @param attributes by name, as JSON has them or as the head of a request
 * @param data parsed where it is JSON
 * @returns what {@link checkEvent} takes, or what is wrong
 */
export function eventOfCloudEvent(
  attributes: Attributes,
  data: unknown,
): { readonly raw: Readonly<Record<string, unknown>> } | { readonly field: string; readonly message: string } {
  const { specversion, id, source, type } = attributes
  if (specversion !== '1.0') return { field: 'specversion', message: 'expected the version "1.0" of CloudEvents' }
  for (const [field, value] of Object.entries({ id, source, type }))
    if (typeof value !== 'string' || value === '') return { field, message: 'a CloudEvent has this attribute, as text' }
  const others = Object.entries(attributes).filter(([name]) => !READ.has(name) && !ENVELOPE.has(name))
  const fields =
    typeof data === 'object' && data !== null && !Array.isArray(data) ? data : data === undefined ? {} : { data }
  const metadata = (fields as { metadata?: unknown }).metadata
  const envelope = [...ENVELOPE].filter(([name]) => attributes[name] !== undefined)
  return {
    raw: {
      ...fields,
      ...(others.length === 0
        ? {}
        : { metadata: { ...(isObject(metadata) ? metadata : {}), ...Object.fromEntries(others) } }),
      ...Object.fromEntries(envelope.map(([name, field]) => [field, attributes[name]])),
      event_id: readUuid(id as string) ?? uuidV5(NAMESPACE, JSON.stringify([source, id])),
      event_type: type,
      source,
      ...(attributes['time'] === undefined ? {} : { timestamp: attributes['time'] }),
    },
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
