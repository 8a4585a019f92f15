/** What other producers put on Kafka: checked, whose it is, the same id each time, nothing personal kept that should not be. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KafkaEventRules } from '../../../aggregator/consume/kafka-event-rules.ts'
import type { ReceivedItem } from '../../../proto/events/event.ts'
import { eventMessage, readEventMessage } from '../../../proto/kafka/event-message.ts'
import type { ReceivedMessage } from '../../../proto/kafka/port.ts'
import { letter, receivedEvent } from '../../support/events.ts'

const NOW = Date.parse('2026-02-01T00:00:00Z')
const rules = new KafkaEventRules({ tenant: 'house', personal: ['*:prompt=digest'], now: () => NOW })
const PLACE = { topic: 'pbac_access', partition: 2 }
const OPTIONS = { ownTopic: 'own', rules, arrival: NOW * 1000 }

function messageOf(value: string | null, headers: Record<string, string> = {}, offset = 5n): ReceivedMessage {
  const bytes = Object.entries(headers).map(([name, text]) => [name, Buffer.from(text)])
  return {
    offset,
    timestamp: NOW - 1000,
    key: null,
    value: value === null ? null : Buffer.from(value),
    headers: Object.fromEntries(bytes),
  }
}

const read = (value: unknown, headers?: Record<string, string>) =>
  readEventMessage(messageOf(JSON.stringify(value), headers), PLACE, OPTIONS)

test('an event without an id has the same each time it comes; without time it has its message’s', () => {
  const event = { event_type: 'new.thing.done', source: 'go', n: 1 }
  const ids = [1n, 1n, 2n].map((offset) => {
    const { item } = readEventMessage(messageOf(JSON.stringify(event), {}, offset), PLACE, OPTIONS)
    assert.ok('event' in item)
    assert.equal(item.event.timestamp, '2026-01-31T23:59:59.000Z')
    assert.deepEqual([item.tenant, item.road, item.topic], ['house', 'kafka', 'pbac_access'])
    return item.event.event_id
  })
  assert.equal(ids[0], ids[1])
})

test('the tenant that an event names is its tenant, where that is a name; else it is a letter', () => {
  const event = { event_type: 'new.thing.done', timestamp: '2026-01-31T12:00:00Z' }
  assert.equal(read({ ...event, tenant_id: 'other' }).item.tenant, 'other')
  const { item, poison } = read({ ...event, tenant_id: '../etc' })
  assert.ok(poison && 'dead' in item)
  assert.deepEqual([item.dead.code, item.tenant], ['unknown_tenant', 'house'])
})

test('what is personal is kept as the setting says, in events and in letters', () => {
  const event = { event_type: 'new.thing.done', timestamp: '2026-01-31T12:00:00Z', prompt: 'secret' }
  for (const value of [event, { ...event, event_type: 'no' }, { prompt: 'secret' }])
    assert.ok(!JSON.stringify(withPlainRaw(read(value).item)).includes('secret'))
  const broken = readEventMessage(messageOf('{"prompt":"secret"'), PLACE, OPTIONS).item
  assert.ok(!JSON.stringify(withPlainRaw(broken)).includes('secret'))
})

function withPlainRaw(item: ReceivedItem): unknown {
  return 'dead' in item ? { ...item, raw: Buffer.from(item.dead.raw, 'base64').toString() } : item
}

test('what a collector published comes back as it was: no value is coerced again', () => {
  const items: ReceivedItem[] = [
    // A field that the catalogue has as a number: the check would make it one.
    receivedEvent(
      { event_type: 'pbac.agent.politics.load', compile_ms: '12' },
      { topic: 'pbac_access', key: 'aw==', at: 5_000_000_123 },
    ),
    { ...letter(), at: 5_000_000_124 },
  ]
  for (const item of items) {
    const { topic, key, value, headers = {} } = eventMessage(item, { topics: ['pbac_access'], ownTopic: 'own' })
    const message = { ...messageOf(value!.toString(), headers as Record<string, string>), key: Buffer.from(key!) }
    assert.deepEqual(readEventMessage(message, { topic, partition: 0 }, OPTIONS), { item, poison: false })
  }
})

test('headers of a collector on what is none are not believed: what the store relies on is looked at', () => {
  const headers = { 'fm.tenant': 'a', 'fm.at': '1', 'fm.road': 'http' }
  for (const [value, more] of [
    [{ event_id: 'x', event_type: 'a.b.c' }, {}],
    [null, {}],
    [[], {}],
    [{ id: 1 }, { 'fm.letter': '1' }],
    [null, { 'fm.letter': '1' }],
    [receivedEvent().event, { 'fm.tenant': '../..' }],
  ] as const) {
    const { item, poison } = read(value, { ...headers, ...more })
    assert.ok(poison && 'dead' in item, JSON.stringify(value))
    assert.deepEqual([item.dead.code, item.tenant], ['malformed', 'house'])
  }
})

test('rubbish is a letter that says what it is, and nothing of it: JSON, bytes, nothing, all sizes', () => {
  for (const value of ['', '{', '[]', '"x"', '1', 'null', '\u0000', `[${'['.repeat(5000)}`, null]) {
    const { item, poison } = readEventMessage(messageOf(value), PLACE, OPTIONS)
    assert.ok(poison && 'dead' in item && item.dead.reason.length > 0, String(value).slice(0, 20))
    assert.equal(item.tenant, 'house')
  }
})
