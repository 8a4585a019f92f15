/**
 * `POST /v1/events`: one event, a list of them, or one on each line; CloudEvents 1.0 structured, batched and binary.
 *
 *     200  every event is kept, or was (`duplicate`)
 *     207  some are refused, the others are kept: `events` says so for each, in order
 *     422  none can be taken     400  the body cannot be read     413  it is too large     415  another type or encoding
 *     503  try again     429  over a limit: Retry-After says when     401, 403  the token
 *
 * Failures of a whole request are RFC 9457 problems.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { mediaType } from '../../proto/runtime/http-answers.ts'
import { count } from './doors.ts'
import type { Asked, EventDoorContext } from './event-doors.ts'
import { enteredForEvents, refuseWithProblem, sendAnswer, takeEvents } from './event-doors.ts'

export const EVENTS_PATH = '/v1/events'

const FORMATS: ReadonlyMap<string, Pick<Asked, 'door' | 'format'>> = new Map([
  ['application/json', { door: 'events', format: 'json' }],
  ['application/x-ndjson', { door: 'events', format: 'lines' }],
  ['application/ndjson', { door: 'events', format: 'lines' }],
  ['application/jsonl', { door: 'events', format: 'lines' }],
  ['application/cloudevents+json', { door: 'cloud_events', format: 'cloud_event' }],
  ['application/cloudevents-batch+json', { door: 'cloud_events', format: 'cloud_events' }],
])

export async function receiveEvents(
  context: EventDoorContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const asked = askedBy(request)
  const door = asked?.door ?? 'events'
  const sender = enteredForEvents(context, door, request, response, refuseWithProblem)
  if (sender === undefined) return
  if (request.method !== 'POST') {
    refuseWithProblem(
      response,
      405,
      'BAD_REQUEST',
      `${request.method} is not allowed on ${EVENTS_PATH}: expected POST`,
      {
        Allow: 'POST',
      },
    )
    discardRest(request)
    return
  }
  if (asked === undefined) {
    count(context, door, sender.origin, 'unsupported')
    const { type } = mediaType(request.headers['content-type'])
    const expected = `expected one of ${[...FORMATS.keys()].join(', ')}`
    refuseWithProblem(response, 415, 'BAD_REQUEST', `Content-Type "${type}" is not supported: ${expected}`)
    discardRest(request)
    return
  }
  const answer = await takeEvents(context, sender, asked, request, response, refuseWithProblem)
  if (answer !== undefined) sendAnswer(response, answer)
}

/** By the head; undefined where it is of no type that is read here. */
function askedBy({ headers }: IncomingMessage): Asked | undefined {
  if (headers['ce-specversion'] !== undefined)
    return { door: 'cloud_events', format: 'cloud_event_binary', topic: '', attributes: attributesOf(headers) }
  const { type } = mediaType(headers['content-type'] ?? 'application/json')
  const format = FORMATS.get(type)
  return format === undefined ? undefined : { ...format, topic: '' }
}

/** @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode */
function attributesOf(headers: IncomingMessage['headers']): Record<string, string> {
  const found = Object.entries(headers).filter(([name]) => name.startsWith('ce-'))
  const attributes = Object.fromEntries(
    found.map(([name, value]) => [name.slice('ce-'.length), decoded(String(value))]),
  )
  const type = headers['content-type']
  return type === undefined ? attributes : { ...attributes, datacontenttype: type }
}

/** Percent-encoded where it is not printable ASCII; left as it is where that is broken. */
function decoded(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
