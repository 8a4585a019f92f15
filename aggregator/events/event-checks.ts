/**
 * What the aggregator relies on in the items of a batch. Collectors have checked events already, field by field; this is about a sender
 * that is none, or another version: what cannot be stored by its identity must not get into the log or a table.
 */
import type { ReceivedEvent, ReceivedItem, ReceivedLetter } from '../../proto/events/event.ts'
import { TENANT_FORM } from '../../proto/runtime/tenants.ts'
import type { EventBatchHeader } from '../../proto/wire/event-batch.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'

const ROADS: ReadonlySet<string> = new Set(['http', 'cloudevents', 'kafka_rest', 'kafka'])
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const TYPE = /^[a-z0-9_]+(\.[a-z0-9_]+){2,3}$/
const TENANT = TENANT_FORM[0]
const AT_MAX = Number.MAX_SAFE_INTEGER

/** What is wrong with the header of a batch, or undefined. */
export function headerProblem(header: EventBatchHeader): string | undefined {
  if (!isObject(header)) return 'it is no object'
  const { collector, session, lane, from, to } = header
  if ([collector, session, lane].some((text) => typeof text !== 'string'))
    return 'collector, session and lane must be texts'
  if (![from, to].every((position) => Number.isSafeInteger(position))) return 'from and to must be positions'
  return undefined
}

/** What is wrong with an item, or undefined. */
export function itemProblem(item: ReceivedItem): string | undefined {
  if (!isObject(item)) return 'it is no object'
  if (typeof item.tenant !== 'string' || !TENANT.test(item.tenant)) return 'tenant is no name of a tenant'
  if (!Number.isInteger(item.at) || item.at < 0 || item.at > AT_MAX) return 'at is no time in µs'
  if (!ROADS.has(item.road)) return `road is none of ${[...ROADS].join(', ')}`
  if (typeof item.topic !== 'string') return 'topic is no text'
  if ('event' in item) return eventProblem(item.event)
  if ('dead' in item) return letterProblem(item.dead)
  return 'it has neither "event" nor "dead"'
}

function eventProblem(event: ReceivedEvent['event']): string | undefined {
  if (!isObject(event)) return 'event is no object'
  if (typeof event.event_id !== 'string' || !UUID.test(event.event_id)) return 'event_id is no UUID in lower case'
  if (typeof event.event_type !== 'string' || !TYPE.test(event.event_type))
    return 'event_type is not three or four words with dots'
  if (typeof event.timestamp !== 'string' || parseRfc3339(event.timestamp) === undefined)
    return 'timestamp is no RFC 3339 time'
  if (typeof event.source !== 'string') return 'source is no text'
  if (typeof event.version !== 'string') return 'version is no text'
  if (event.tags !== undefined && !isObject(event.tags)) return 'tags is no object'
  return undefined
}

function letterProblem(dead: ReceivedLetter['dead']): string | undefined {
  if (!isObject(dead)) return 'dead is no object'
  if (typeof dead.id !== 'string' || !UUID.test(dead.id)) return 'id of the letter is no UUID in lower case'
  if ([dead.code, dead.reason, dead.raw].some((text) => typeof text !== 'string'))
    return 'code, reason and raw of a letter must be texts'
  return undefined
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
