/** Answers to requests, in the words of their contract: our own events door, Kafka REST v2, v3 and its batches. */
import { STATUS_CODES } from 'node:http'
import type { FaultCode } from '../../proto/events/check.ts'
import type { BadBody, Entry } from './entry.ts'
import type { Answered, Format, IncomingEvents } from './incoming.ts'
import type { Judged, Result } from './judge.ts'

const JSON_TYPE = 'application/json'
const PROBLEM_TYPE = 'application/problem+json'
export const KAFKA_V2_TYPE = 'application/vnd.kafka.v2+json'
/** Kafka REST has no cluster of its own here: one name for all. */
export const CLUSTER_ID = 'fleetmeter'

/** @param at arrival, ms */
export function answerOf(incoming: IncomingEvents, judged: Judged, at: number): Answered {
  const counts = { received: judged.results.length, refused: refusedOf(judged.results) }
  return { ...counts, ...written(incoming, judged, at) }
}

type Written = Pick<Answered, 'status' | 'type' | 'text'>

function written(incoming: IncomingEvents, { entries, results }: Judged, at: number): Written {
  switch (incoming.format) {
    case 'kafka_v3':
      return {
        status: 200,
        type: JSON_TYPE,
        text: entries.map((entry, i) => v3Line(incoming, entry, results[i]!, at)).join(''),
      }
    case 'kafka_v3_batch':
      return { status: 207, type: JSON_TYPE, text: v3Batch(incoming, entries, results, at) }
    case 'kafka_json':
    case 'kafka_binary':
    case 'kafka_text':
      return { status: 200, type: KAFKA_V2_TYPE, text: v2Offsets(entries, results) }
    default:
      return events(results)
  }
}

/** Nothing of the body could be used. */
export function answerOfBadBody({ format }: IncomingEvents, { status, code, message }: BadBody): Answered {
  const counts = { received: 0, refused: [] }
  if (!isKafka(format)) return { ...counts, ...problem(status, message) }
  const type = format.startsWith('kafka_v3') ? JSON_TYPE : KAFKA_V2_TYPE
  return { ...counts, status, type, text: JSON.stringify({ error_code: code, message }) }
}

export function isKafka(format: Format): boolean {
  return format.startsWith('kafka')
}

/** @see https://www.rfc-editor.org/rfc/rfc9457 */
export function problem(status: number, detail: string, more: object = {}): Written {
  const code = CODES[status] ?? 'BAD_REQUEST'
  const body = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail, code, ...more }
  return { status, type: PROBLEM_TYPE, text: JSON.stringify(body) }
}

const CODES: Readonly<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  429: 'TOO_MANY_REQUESTS',
  500: 'INTERNAL_ERROR',
  503: 'SERVICE_UNAVAILABLE',
}

function events(results: readonly Result[]): Written {
  const sums = { accepted: 0, duplicate: 0, refused: 0 }
  const told = results.map((result) => {
    if (result.kind === 'refused') {
      sums.refused++
      const { id: event_id, faults: errors } = result
      return { ...(event_id === undefined ? {} : { event_id }), status: 'refused', errors }
    }
    // Letters and errors are of Kafka REST.
    const { id: event_id, kind: status } = result as Result & { kind: 'accepted' | 'duplicate' }
    sums[status]++
    return { event_id, status }
  })
  if (sums.refused > 0 && sums.refused === results.length)
    return problem(422, `No event of ${results.length} can be taken: "events" says why, field by field`, {
      ...sums,
      events: told,
    })
  const status = sums.refused > 0 ? 207 : 200
  return { status, type: JSON_TYPE, text: JSON.stringify({ ...sums, events: told }) }
}

function v2Offsets(entries: readonly Entry[], results: readonly Result[]): string {
  const offsets = results.map((result, i) =>
    'position' in result
      ? { partition: entries[i]!.partition ?? 0, offset: result.position, error_code: null, error: null }
      : { partition: null, offset: null, ...v2Error(result) },
  )
  return JSON.stringify({ offsets, key_schema_id: null, value_schema_id: null })
}

function v2Error(result: Result): { error_code: number; error: string; message: string } {
  const { code, message } = result.kind === 'error' ? result : { code: 42206, message: 'the record is not taken' }
  return { error_code: code, error: message, message }
}

function v3Line(incoming: IncomingEvents, entry: Entry, result: Result, at: number): string {
  return `${JSON.stringify(v3Result(incoming, entry, result, at))}\r\n`
}

function v3Result({ topic, partition }: IncomingEvents, entry: Entry, result: Result, at: number): object {
  if (!('position' in result)) {
    const { error_code, message } = v2Error(result)
    return { error_code, message }
  }
  return {
    error_code: 200,
    cluster_id: CLUSTER_ID,
    topic_name: topic,
    partition_id: entry.partition ?? partition ?? 0,
    offset: result.position,
    timestamp: new Date(entry.time ?? at).toISOString(),
  }
}

function v3Batch(incoming: IncomingEvents, entries: readonly Entry[], results: readonly Result[], at: number): string {
  const told = results.map((result, i) => ({ id: entries[i]!.id, ...v3Result(incoming, entries[i]!, result, at) }))
  return JSON.stringify({
    successes: told.filter((_, i) => 'position' in results[i]!),
    failures: told.filter((_, i) => !('position' in results[i]!)),
  })
}

function refusedOf(results: readonly Result[]): [FaultCode, number][] {
  const counts = new Map<FaultCode, number>()
  for (const result of results) {
    const code = result.kind === 'refused' ? result.faults[0]!.code : result.kind === 'error' ? 'malformed' : undefined
    if (code !== undefined) counts.set(code, (counts.get(code) ?? 0) + 1)
  }
  return [...counts]
}
