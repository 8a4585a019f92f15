/**
 * Kafka REST, the produce side of v2 and v3, and what producers ask at their start: whoever has `KAFKA_PROXY_URL` may have this
 * collector's address there. Answered when the records are on the disk; a record's offset is its place in the journal.
 *
 *     POST /topics/{t}, /topics/{t}/partitions/{n}          v2: 200 with an offset for each record; ?async=true: 204
 *     POST /v3/clusters/{c}/topics/{t}/records, records:batch   v3: 200, a result for each record; 207
 *     GET  /topics, /topics/{t}, …/partitions, …/offsets, /, /v3/clusters, /healthy, /ready, /brokers
 *
 * What is no event of ours is kept as a letter and answered like any other: producers drop what is refused. Failures of a whole
 * request are `{"error_code","message"}`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { mediaType, pathOf, sendJson } from '../../proto/runtime/http-answers.ts'
import { CLUSTER_ID, KAFKA_V2_TYPE } from '../events/answers.ts'
import type { Refuse } from './doors.ts'
import { admitted, count } from './doors.ts'
import type { Asked, EventDoorContext } from './event-doors.ts'
import { enteredForEvents, sendAnswer, takeEvents } from './event-doors.ts'
import { streamRecords } from './kafka-rest-stream.ts'

const DOOR = 'kafka_rest'

const V2_FORMATS: ReadonlyMap<string, Asked['format']> = new Map([
  ['application/vnd.kafka.json.v2+json', 'kafka_json'],
  ['application/json', 'kafka_json'],
  ['application/vnd.kafka.binary.v2+json', 'kafka_binary'],
  ['application/vnd.kafka.text.v2+json', 'kafka_text'],
])

/** Codes of the contract by status, where they are more than that. */
const CODES: Readonly<Record<number, number>> = { 401: 40101, 403: 40301 }

/** @returns the parts of a path below the base, without empty ones; undefined: it is none of Kafka REST's */
export function kafkaPath(request: IncomingMessage, basePath: string): readonly string[] | undefined {
  const parts = pathOf(request)
    .split('/')
    .filter((part) => part !== '')
  const base = basePath.split('/').filter((part) => part !== '')
  const below = base.length > 0 && base.every((part, i) => parts[i] === part) ? parts.slice(base.length) : parts
  const [first] = below
  if (first === undefined) return below !== parts || wantsKafka(request) ? [] : undefined
  if (first === 'v3') return below[1] === 'clusters' ? below : undefined
  return ROOTS.has(first) ? below : undefined
}

const ROOTS: ReadonlySet<string> = new Set(['topics', 'brokers', 'healthy', 'ready'])

/** The first page is at `/` too: whoever asks for a page gets that. */
function wantsKafka({ headers, method }: IncomingMessage): boolean {
  return method === 'GET' && (headers.accept ?? '').includes('application/vnd.kafka')
}

export async function receiveKafkaRest(
  context: EventDoorContext,
  path: readonly string[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const refuse = refusal(path[0] === 'v3' ? 'application/json' : KAFKA_V2_TYPE)
  if (request.method === 'POST') return produce(context, path, request, response, refuse)
  request.resume()
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const message = `${request.method} is not served here`
    refuse(response, 405, 'BAD_REQUEST', message, { Allow: 'GET, HEAD, POST' })
  } else if (path[0] === 'healthy') response.writeHead(200).end()
  else if (path[0] === 'ready') response.writeHead(context.thread.health().ready ? 200 : 503).end()
  else if (admitted(context, DOOR, true, request, response, refuse) !== undefined) {
    const { status, body } = described(context, path)
    sendKafka(response, status, body, typeOf(path))
  }
}

async function produce(
  context: EventDoorContext,
  path: readonly string[],
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse,
): Promise<void> {
  const sender = enteredForEvents(context, DOOR, request, response, refuse)
  if (sender === undefined) return
  const asked = askedBy(context, path, request)
  if ('status' in asked) {
    count(context, DOOR, sender.origin, asked.status === 415 ? 'unsupported' : 'invalid')
    sendKafka(response, asked.status, { error_code: asked.code, message: asked.message }, typeOf(path))
    discardRest(request)
    return
  }
  if (asked.format === 'kafka_v3' && request.headers['content-length'] === undefined)
    return streamRecords(context, sender, asked, request, response, refuse)
  const answer = await takeEvents(context, sender, asked, request, response, refuse)
  if (answer === undefined) return
  if (answer.status === 200 && isAsync(request)) response.writeHead(204).end()
  else sendAnswer(response, answer)
}

interface Failed {
  readonly status: number
  readonly code: number
  readonly message: string
}

function askedBy(context: EventDoorContext, path: readonly string[], request: IncomingMessage): Asked | Failed {
  const v3 = path[0] === 'v3'
  const [topics, name, ...rest] = v3 ? path.slice(3) : path
  if (topics !== 'topics' || name === undefined)
    return notFound(404, `There is nothing to post to at ${pathOf(request)}`)
  const topic = named(name)
  if (topic === undefined || !context.topics.has(topic))
    return notFound(40401, `There is no topic "${name.slice(0, 100)}": collector.events_topics adds others`)
  const { type } = mediaType(
    request.headers['content-type'] ?? (v3 ? 'application/json' : 'application/vnd.kafka.json.v2+json'),
  )
  if (v3) {
    const format =
      rest.length === 1 && rest[0] === 'records'
        ? 'kafka_v3'
        : rest[0] === 'records:batch'
          ? 'kafka_v3_batch'
          : undefined
    if (path[2] !== CLUSTER_ID)
      return notFound(404, `There is no cluster "${path[2]?.slice(0, 100)}": GET /v3/clusters names it`)
    if (format === undefined) return notFound(404, 'Records are posted to …/records and …/records:batch')
    if (type !== 'application/json') return unsupported(type, 'application/json')
    return { door: DOOR, format, topic }
  }
  const partition = partitionOf(rest)
  if (partition !== undefined && !(partition >= 0))
    return notFound(40402, `There is no partition "${rest[1]?.slice(0, 100)}"`)
  const format = V2_FORMATS.get(type)
  if (format === undefined) return unsupported(type, [...V2_FORMATS.keys()].join(', '))
  return { door: DOOR, format, topic, partition }
}

/** NaN for what is no partition; undefined where none is named. */
function partitionOf([word, number, ...more]: readonly string[]): number | undefined {
  if (word === undefined) return undefined
  return word === 'partitions' && more.length === 0 && /^\d{1,9}$/.test(number ?? '') ? Number(number) : Number.NaN
}

function notFound(code: number, message: string): Failed {
  return { status: 404, code, message }
}

function unsupported(type: string, expected: string): Failed {
  const schema = /avro|jsonschema|protobuf/.test(type) ? ' (there is no schema registry here)' : ''
  return { status: 415, code: 415, message: `Content-Type "${type}" is not supported${schema}: expected ${expected}` }
}

function isAsync(request: IncomingMessage): boolean {
  return /[?&]async=true(&|$)/.test(request.url ?? '')
}

/** A name out of a path; undefined where its escapes are broken. */
function named(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

/** What producers ask before they send. */
function described(
  context: EventDoorContext,
  path: readonly string[],
): { readonly status: number; readonly body: unknown } {
  const v3 = path[0] === 'v3'
  const [root, name, partitions, number, offsets] = v3 ? path.slice(3) : path
  const found = (body: unknown) => ({ status: 200, body })
  const missing = (error_code: number, message: string) => ({ status: 404, body: { error_code, message } })
  if (root === undefined) return found(v3 ? v3Clusters(path[2]) : {})
  if (root === 'brokers') return found({ brokers: [0] })
  if (root !== 'topics') return missing(404, 'There is nothing here')
  if (name === undefined) return found(v3 ? v3Topics(context) : [...context.topics])
  const topic = named(name) ?? ''
  if (!context.topics.has(topic)) return missing(40401, `There is no topic "${topic.slice(0, 100)}"`)
  if (v3) return found(v3Topic(topic))
  if (partitions === undefined) return found({ name: topic, configs: {}, partitions: [PARTITION] })
  if (number === undefined) return found([PARTITION])
  if (number !== '0') return missing(40402, 'There is partition 0 alone')
  return found(
    offsets === undefined ? PARTITION : { beginning_offset: 0, end_offset: context.thread.snapshot?.end ?? 0 },
  )
}

const PARTITION = { partition: 0, leader: 0, replicas: [{ broker: 0, leader: true, in_sync: true }] }

function v3Clusters(id: string | undefined): unknown {
  const one = { kind: 'KafkaCluster', metadata: {}, cluster_id: CLUSTER_ID }
  return id === undefined ? { kind: 'KafkaClusterList', metadata: { next: null }, data: [one] } : one
}

function v3Topic(topic: string): object {
  return {
    kind: 'KafkaTopic',
    metadata: {},
    cluster_id: CLUSTER_ID,
    topic_name: topic,
    is_internal: false,
    partitions_count: 1,
  }
}

function v3Topics({ topics }: EventDoorContext): unknown {
  return { kind: 'KafkaTopicList', metadata: { next: null }, data: [...topics].map(v3Topic) }
}

function typeOf(path: readonly string[]): string {
  return path[0] === 'v3' ? 'application/json' : KAFKA_V2_TYPE
}

function sendKafka(response: ServerResponse, status: number, body: unknown, type: string): void {
  sendJson(response, status, body, { 'Content-Type': type })
}

function refusal(type: string): Refuse {
  return (response, status, _code, message, headers = {}) =>
    sendJson(response, status, { error_code: CODES[status] ?? status, message }, { 'Content-Type': type, ...headers })
}
