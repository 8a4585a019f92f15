/**
 * An event as a message of Kafka.
 *
 *     topic      the one it was sent to or its type implies, where that is consumed; else our own, with the header fm.topic
 *     key        as its producer had it (Kafka REST); else tenant/task, or tenant/event where it is of no task
 *     partition  the one that was asked for; else the one that the key's bytes choose
 *     value      its JSON, as every producer of these topics writes it; a letter's JSON under the header fm.letter
 *     headers    fm.tenant  fm.at (arrival, µs)  fm.road  fm.group (the aggregators that tell of it, and have it)
 *
 * Messages of other producers have none of these headers. All who may write to the topics are trusted with tenants: with fm.tenant
 * somebody says that a collector has checked this event, and so it is taken as it is.
 */
import { createHash } from 'node:crypto'
import type { DeadLetter, FleetEvent, ReceivedItem, Road } from '../events/event.ts'
import type { OutgoingMessage, ReceivedMessage } from './port.ts'

/** What is made of a producer's JSON: an event and the topic that its type implies, or why it is none and whose. */
export type Checked =
  | { readonly event: FleetEvent; readonly topic: string }
  | { readonly code: string; readonly reason: string; readonly tenant?: string }

/** What holds for messages: whose they are, what is an event, what is kept of those that are none. */
export interface EventRules {
  /** Of what names none. */
  readonly tenant: string
  /** Of another producer's. @param value parsed. @param time when the message was made, ms */
  check(value: unknown, time: number): Checked
  /** What is wrong with an item that a collector has checked, or somebody who says so; undefined: nothing. */
  problem(item: ReceivedItem): string | undefined
  /** Of something that is no event. @param value parsed; undefined where it cannot be */
  kept(value: unknown, bytes: Buffer, tenant: string): Buffer
}

const ROADS: readonly string[] = ['http', 'cloudevents', 'kafka_rest', 'kafka'] satisfies readonly Road[]
/** A clock is hardly ever wronger, µs. */
const AHEAD_MAX = 3_600_000_000

export interface EventTopics {
  /** Topics that are consumed. */
  readonly topics: readonly string[]
  /** For what belongs to none of them. */
  readonly ownTopic: string
  /** Of the aggregators that publish what they have stored; absent: who publishes is none of them. */
  readonly group?: string
}

export function eventMessage(item: ReceivedItem, { topics, ownTopic, group }: EventTopics): OutgoingMessage {
  const letter = 'dead' in item
  const topic = !letter && topics.includes(item.topic) ? item.topic : ownTopic
  const asked = topic === item.topic ? item.partition : undefined
  return {
    topic,
    key: item.key === undefined ? derivedKey(item) : Buffer.from(item.key, 'base64'),
    value: Buffer.from(JSON.stringify(letter ? item.dead : item.event)),
    headers: {
      'fm.tenant': item.tenant,
      'fm.at': String(item.at),
      'fm.road': item.road,
      ...(topic === item.topic ? {} : { 'fm.topic': item.topic }),
      ...(letter ? { 'fm.letter': '1' } : {}),
      ...(group === undefined ? {} : { 'fm.group': group }),
    },
    ...(asked === undefined ? {} : { partition: asked }),
  }
}

/** Events of a task are in order, as they are on one partition. */
function derivedKey(item: ReceivedItem): string {
  const of = 'dead' in item ? item.dead.id : (item.event['task_id'] ?? item.event.event_id)
  return `${item.tenant}/${String(of)}`
}

/** Whether a group has it already, since it published it. */
export function isFrom(group: string, { headers }: ReceivedMessage): boolean {
  return textOf(headers['fm.group']) === group
}

/** Where a message stands: its identity, if it has no other. */
export interface MessagePlace {
  readonly topic: string
  readonly partition: number
}

/**
 * What a message is. Every message is something: an item, and where it is one that a person has to look at, that as well.
 * @param arrival for messages that do not say it, µs since the epoch
 */
export function readEventMessage(
  message: ReceivedMessage,
  place: MessagePlace,
  { ownTopic, rules, arrival }: { readonly ownTopic: string; readonly rules: EventRules; readonly arrival: number },
): { readonly item: ReceivedItem; readonly poison: boolean } {
  const { headers, value } = message
  const said = textOf(headers['fm.topic'])
  const topic = place.topic === ownTopic ? (said ?? '') : place.topic
  const tenant = textOf(headers['fm.tenant'])
  const at = arrivalOf(textOf(headers['fm.at']), arrival)
  const road = roadOf(textOf(headers['fm.road']))
  const poison = (code: string, reason: string, of = rules.tenant, parsed?: unknown) => {
    const kept = rules.kept(parsed, bufferOf(value), of)
    const dead = { id: letterId(message, place), code, reason, raw: kept.toString('base64') }
    return { item: { tenant: of, at, road, topic, dead }, poison: true }
  }
  if (value === null) return poison('malformed', 'the message has no value')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value))
  } catch {
    return poison('malformed', 'the value is not JSON in UTF-8') // what the parser says quotes what may be personal
  }
  if (tenant !== undefined) {
    const way = { tenant, at, road, topic }
    const item =
      headers['fm.letter'] === undefined ? { ...way, event: json as FleetEvent } : { ...way, dead: json as DeadLetter }
    const problem = rules.problem(item)
    return problem === undefined ? { item: withKey(item, message.key), poison: false } : poison('malformed', problem)
  }
  const checked = rules.check(json, message.timestamp)
  if (!('event' in checked)) return poison(checked.code, checked.reason, checked.tenant, json)
  const { event } = checked
  const item = { tenant: event.tenant_id, at, road, topic: topic === '' ? checked.topic : topic, event }
  return { item: withKey(item, message.key), poison: false }
}

/** With the message's key, unless we made that ourselves. */
function withKey(item: ReceivedItem, key: Uint8Array | null): ReceivedItem {
  if (key === null || bufferOf(key).equals(Buffer.from(derivedKey(item)))) return item
  return { ...item, key: bufferOf(key).toString('base64') }
}

/** The same however often the message comes. */
function letterId({ value, offset }: ReceivedMessage, { topic, partition }: MessagePlace): string {
  const hash = createHash('sha256')
    .update(`kafka/${topic}/${partition}/${offset}/`)
    .update(bufferOf(value))
    .digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

function bufferOf(bytes: Uint8Array | null): Buffer {
  return bytes === null ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : bufferOf(bytes).toString('utf8')
}

function arrivalOf(said: string | undefined, arrival: number): number {
  const at = Number(said)
  return Number.isSafeInteger(at) && at > 0 && at < arrival + AHEAD_MAX ? at : arrival
}

function roadOf(said: string | undefined): Road {
  return said !== undefined && ROADS.includes(said) ? (said as Road) : 'kafka'
}
