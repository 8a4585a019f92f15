/** Messages of events and batches: what is in them, what is made of wrong ones, how they are cut. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReceivedItem, ReceivedLetter } from '../../../proto/events/event.ts'
import type { AssembledBatch } from '../../../proto/kafka/batch-message.ts'
import { BatchAssembler, batchMessages } from '../../../proto/kafka/batch-message.ts'
import type { EventRules } from '../../../proto/kafka/event-message.ts'
import { eventMessage, readEventMessage } from '../../../proto/kafka/event-message.ts'
import type { OutgoingMessage, ReceivedMessage } from '../../../proto/kafka/port.ts'
import { bytesOf, requestsOf } from '../../../proto/kafka/requests.ts'

const TOPICS = { topics: ['xumi_task'], ownTopic: 'own' }
const rules: EventRules = {
  tenant: 'default',
  check: (value) => ({ event: value as never, topic: 'implied' }),
  problem: (item) => {
    const { id = undefined } = 'dead' in item ? (item.dead ?? {}) : { id: item.event.event_id }
    return typeof id === 'string' ? undefined : 'no id'
  },
  kept: (_, bytes) => bytes,
}
const NOW = 1_700_000_000_000_000

function arrived({ key, value, headers = {} }: OutgoingMessage, offset = 0n): ReceivedMessage {
  const bytes = (content: string | Uint8Array | null): Uint8Array | null =>
    typeof content === 'string' ? Buffer.from(content) : content
  const all = Object.entries(headers).map(([name, content]) => [name, bytes(content)!])
  return { offset, timestamp: 1, key: bytes(key), value, headers: Object.fromEntries(all) }
}

function itemOf(topic: string): ReceivedItem {
  const event = {
    event_id: 'e1',
    event_type: 'a.b.c',
    timestamp: '2026-01-31T12:00:00.000Z',
    tenant_id: 't1',
    source: '',
    version: '1.0',
  }
  return { tenant: 't1', at: 1_600_000_000_000_005, road: 'cloudevents', topic, event }
}

test('an event comes back as it went, on its own topic and on another', () => {
  for (const topic of ['xumi_task', 'somewhere', '']) {
    const message = eventMessage(itemOf(topic), TOPICS)
    assert.equal(message.topic, topic === 'xumi_task' ? topic : 'own')
    const place = { topic: message.topic, partition: 0 }
    const read = readEventMessage(arrived(message), place, { ownTopic: 'own', rules, arrival: NOW })
    assert.deepEqual(read, { item: itemOf(topic), poison: false })
  }
})

test('events of a task have one key', () => {
  const item = itemOf('xumi_task') as ReceivedItem & { event: object }
  assert.equal(eventMessage(item, TOPICS).key, 't1/e1')
  assert.equal(eventMessage({ ...item, event: { ...item.event, task_id: 'k' } } as ReceivedItem, TOPICS).key, 't1/k')
})

test('a foreign message has the time and road of its arrival; hostile headers change nothing', () => {
  const value = Buffer.from(JSON.stringify({ event_id: 'e', tenant_id: 't9' }))
  for (const headers of [
    {},
    { 'fm.at': '99999999999999999', 'fm.road': 'constructor' },
    { 'fm.at': 'x', 'fm.road': '' },
  ]) {
    const message = arrived({ topic: 'xumi_task', key: null, value, headers: headers as Record<string, string> })
    const { item } = readEventMessage(
      message,
      { topic: 'xumi_task', partition: 0 },
      { ownTopic: 'own', rules, arrival: NOW },
    )
    assert.deepEqual([item.at, item.road, item.tenant, item.topic], [NOW, 'kafka', 't9', 'xumi_task'])
  }
})

test('what is no event is a letter with its bytes, the same id each time and another at another place', () => {
  const refusing: EventRules = { ...rules, check: () => ({ code: 'wrong_type', reason: 'no' }) }
  const read = (value: Uint8Array | null, offset: bigint, headers = {}): ReceivedLetter => {
    const message = arrived({ topic: 'xumi_task', key: null, value, headers }, offset)
    const options = { ownTopic: 'own', rules: refusing, arrival: NOW }
    const { item, poison } = readEventMessage(message, { topic: 'xumi_task', partition: 3 }, options)
    assert.ok('dead' in item && poison)
    return item
  }
  assert.equal(read(Buffer.from([0xff]), 1n).dead.code, 'malformed')
  assert.equal(read(null, 1n).dead.code, 'malformed')
  assert.equal(read(Buffer.from('{}'), 1n).dead.code, 'wrong_type')
  assert.equal(
    read(Buffer.from('{"id":1}'), 1n, { 'fm.letter': '1', 'fm.tenant': Buffer.from('a') }).dead.code,
    'malformed',
  )
  assert.equal(
    read(Buffer.from('null'), 1n, { 'fm.letter': '1', 'fm.tenant': Buffer.from('a') }).dead.code,
    'malformed',
  )
  const { id, raw } = read(Buffer.from('{'), 7n).dead
  assert.equal(Buffer.from(raw, 'base64').toString(), '{')
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(read(Buffer.from('{'), 7n).dead.id, id)
  assert.notEqual(read(Buffer.from('{'), 8n).dead.id, id)
})

test('requests stay below the bound, in order, and lose nothing', () => {
  const messages = Array.from({ length: 1300 }, (_, i) => ({
    topic: 't',
    key: 'ä',
    value: Buffer.alloc((i * 7919) % 5000),
    headers: { n: String(i) },
  }))
  const requests = [...requestsOf(messages, 100_000)]
  assert.deepEqual(requests.flat(), messages)
  for (const request of requests) {
    assert.ok(request.reduce((sum, message) => sum + bytesOf(message), 0) <= 100_000)
    assert.ok(request.length <= 500)
  }
  assert.equal([...requestsOf(messages.slice(0, 2), 1)].length, 2)
})

const ADDRESS = { topic: 't', partition: 0, key: 'c/0', describedFrom: 5n }

function sentAs(id: string, size: number): { bytes: Uint8Array; messages: OutgoingMessage[] } {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31 + size) & 255)
  return { bytes, messages: batchMessages(bytes, { ...ADDRESS, id }) }
}

test('parts that interleave and come twice are whole batches; what waits holds the offset', () => {
  const a = sentAs('a', 2_000_000)
  const b = sentAs('b', 1_000_000)
  const assembler = new BatchAssembler()
  const order = [a.messages[0]!, b.messages[0]!, a.messages[1]!, a.messages[0]!, b.messages[1]!, a.messages[2]!]
  const whole: AssembledBatch[] = []
  for (const [i, message] of order.entries()) {
    const got = assembler.add(arrived(message, BigInt(10 + i)), 0)
    assert.notEqual(got, 'foreign')
    if (got !== undefined && got !== 'foreign') whole.push(got)
    if (i === 4) assert.equal(assembler.waitsFrom, 12n) // a began again at 13, and its second part is at 12
  }
  assert.deepEqual(
    whole.map(({ offset }) => offset),
    [11n, 12n],
  )
  assert.ok(Buffer.from(b.bytes).equals(whole[0]!.bytes))
  assert.ok(Buffer.from(a.bytes).equals(whole[1]!.bytes))
  assert.equal(whole[0]!.describedFrom, 5n)
  assert.equal(assembler.waitsFrom, undefined)
})

test('what never becomes whole is given up after its time, and beyond a bound', () => {
  const assembler = new BatchAssembler()
  assembler.add(arrived(sentAs('a', 1_000_000).messages[0]!, 1n), 1000)
  assembler.expire(1000)
  assert.equal(assembler.waitsFrom, 1n)
  assembler.expire(1001)
  assert.equal(assembler.waitsFrom, undefined)
  for (let i = 0; i < 200; i++) assembler.add(arrived(sentAs(`b${i}`, 1_000_000).messages[0]!, BigInt(i)), 0)
  assert.ok(assembler.waitsFrom! > 0n)
})

test('a message that is no part is foreign', () => {
  const assembler = new BatchAssembler()
  const value = Buffer.from('x')
  for (const headers of [
    {},
    { 'fm.batch': 'x' },
    ...['0/1', '2/1', '1', '-1/1', '99999/99999'].map((part) => ({ 'fm.batch': 'x', 'fm.part': part })),
  ])
    assert.equal(assembler.add(arrived({ topic: 't', key: null, value, headers }), 0), 'foreign')
  const part = (place: string): ReceivedMessage =>
    arrived({ topic: 't', key: null, value, headers: { 'fm.batch': 'x', 'fm.part': place } })
  assert.equal(assembler.add(part('1/3'), 0), undefined)
  assert.equal(assembler.add(part('1/2'), 0), 'foreign')
})
