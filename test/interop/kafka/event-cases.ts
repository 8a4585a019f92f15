/** Events over a real Kafka: published, consumed, stored once in effect. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventConsumerOptions } from '../../../aggregator/consume/event-consumer.ts'
import { EventConsumer } from '../../../aggregator/consume/event-consumer.ts'
import type { FleetEvent, ReceivedEvent, ReceivedItem, ReceivedLetter } from '../../../proto/events/event.ts'
import type { EventRules } from '../../../proto/kafka/event-message.ts'
import { EventPublisher } from '../../../proto/kafka/event-publisher.ts'
import type { KafkaJsOptions } from '../../../proto/kafka/kafkajs.ts'
import type { Kafka } from '../../../proto/kafka/port.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import { clientOf, madeTopic, messagesOf, NEVER, textOf, unique, until } from './clients.ts'

const TENANT = '6f1f1b1e-0000-4000-8000-000000000001'

/** Only that it has an id and a type: the real one is tested elsewhere. */
const rules: EventRules = {
  tenant: 'default',
  check: (value) => {
    const event = value as FleetEvent
    if (typeof event?.event_id !== 'string') return { code: 'missing_field', reason: 'event_id is missing' }
    if (typeof event.event_type !== 'string') return { code: 'wrong_type', reason: 'event_type is no text' }
    return { event, topic: '' }
  },
  problem: () => undefined,
  kept: (_, bytes) => bytes,
}

function eventOf(fields: Record<string, unknown> = {}): FleetEvent {
  return {
    event_id: randomUUID(),
    event_type: 'xumi.generation.start',
    timestamp: '2026-01-31T12:00:00.000Z',
    tenant_id: TENANT,
    source: 'test',
    version: '1.0',
    ...fields,
  }
}

function itemOf(topic: string, event: FleetEvent = eventOf()): ReceivedEvent {
  return { tenant: TENANT, at: 1_700_000_000_000_123, road: 'kafka_rest', topic, event }
}

interface World {
  readonly kafka: Kafka
  readonly topic: string
  readonly ownTopic: string
  readonly group: string
  readonly stored: ReceivedItem[]
  consumer(options?: Partial<EventConsumerOptions>, client?: Partial<KafkaJsOptions>): Promise<EventConsumer>
}

async function worldOf(t: TestContext, broker: KafkaBroker, exists = true): Promise<World> {
  const kafka = clientOf(t, broker)
  const [topic, ownTopic, group] = [unique('events'), unique('own'), unique('group')]
  const stored: ReceivedItem[] = []
  if (exists) for (const name of [topic, ownTopic]) await madeTopic(kafka, name)
  return {
    kafka,
    topic,
    ownTopic,
    group,
    stored,
    async consumer(options = {}, client = {}) {
      const consumer = new EventConsumer(clientOf(t, broker, client), {
        topics: [topic],
        ownTopic,
        group,
        deadLetterTopic: '',
        badPercentMax: 50,
        rules,
        deliver: async (items) => void stored.push(...items),
        writer: 7,
        backoffMaxMs: 200,
        lookEveryMs: 200,
        clock: systemClock,
        log: silentLogger,
        random: Math.random,
        ...options,
      })
      await consumer.start()
      t.after(() => consumer.stop(AbortSignal.timeout(5000)))
      return consumer
    },
  }
}

function publisherOf({ kafka, topic, ownTopic }: World): EventPublisher {
  const options = { topics: [topic], ownTopic, bytesMax: 4_000_000, backoffMaxMs: 100, log: silentLogger }
  return new EventPublisher(kafka, options)
}

function idsOf(items: readonly ReceivedItem[]): string[] {
  return items.flatMap((item) => ('event' in item ? [item.event.event_id] : []))
}

async function isCommitted({ kafka, group, topic }: World): Promise<boolean> {
  const committed = await kafka.committed(group, topic)
  return [...(await kafka.offsets(topic))].every(([n, { first, end }]) => end === first || committed.get(n) === end)
}

export function eventCases(broker: () => KafkaBroker): void {
  suite('events', () => {
    test('what is published is delivered as it was: tenant, arrival, road, topic, whole event; letters too', async (t) => {
      const world = await worldOf(t, broker())
      await world.consumer()
      const dead = { id: randomUUID(), code: 'malformed', reason: 'no JSON', raw: 'e30=' }
      const letter: ReceivedLetter = { tenant: TENANT, at: 5_000_000_001, road: 'http', topic: 'kubernetes', dead }
      const items: ReceivedItem[] = [
        itemOf(world.topic, eventOf({ prompt: 'ünï', task_id: 't' })),
        itemOf('elsewhere'),
        letter,
      ]
      assert.deepEqual(await publisherOf(world).publish(items, NEVER), [])
      await until('all three are there', () => world.stored.length >= 3)
      for (const item of items)
        assert.ok(
          world.stored.some((got) => isSame(got, item)),
          JSON.stringify([item, world.stored]),
        )
      await until('offsets are committed', () => isCommitted(world))
    })

    test('a consumer that fails in the midst, and one that is killed there, cost repeats and nothing else', async (t) => {
      const world = await worldOf(t, broker())
      const items = Array.from({ length: 1500 }, () => itemOf(world.topic))
      await publisherOf(world).publish(items, NEVER)
      let calls = 0
      const failing = await world.consumer({
        deliver: async (some) => {
          calls++
          world.stored.push(...some.slice(0, 100)) // stored in part, and then it breaks
          throw new Error('the database is away')
        },
      })
      await until('it was tried again', () => calls >= 3)
      await until('health says why', () => /not stored.*the database is away/.test(failing.health().detail ?? ''))
      assert.equal(failing.counts.commits, 0)
      await failing.stop(AbortSignal.timeout(5000))
      await world.consumer()
      await until('all are stored', () => new Set(idsOf(world.stored)).size === items.length)
      await until('offsets are committed', () => isCommitted(world))
      assert.deepEqual(new Set(idsOf(world.stored)), new Set(idsOf(items)))
    })

    test('a delivery that takes longer than the session is not taken away', async (t) => {
      const world = await worldOf(t, broker())
      let calls = 0
      const deliver = async (some: readonly ReceivedItem[]): Promise<void> => {
        calls++
        await sleep(4500)
        world.stored.push(...some)
      }
      const consumer = await world.consumer({ deliver }, { sessionTimeoutMs: 3000 })
      await publisherOf(world).publish([itemOf(world.topic)], NEVER)
      await until('it is committed', () => isCommitted(world))
      assert.equal(calls, 1)
      assert.equal(consumer.counts.assignments, 1)
    })

    test('bad messages go to the dead-letter topic as received, and on as letters; the good ones beside them are stored', async (t) => {
      const world = await worldOf(t, broker())
      const bad = Buffer.from([0xff, 0x7b, 0x00])
      const good = Array.from({ length: 20 }, () => eventOf())
      await world.kafka.send(
        [
          { topic: world.topic, key: 'k', value: bad, headers: { trace: 'abc' } },
          { topic: world.topic, key: null, value: null },
          { topic: world.topic, key: 'k', value: Buffer.from('{"event_type":"a.b.c"}') },
          ...good.map((event) => ({
            topic: world.topic,
            key: event.event_id,
            value: Buffer.from(JSON.stringify(event)),
          })),
        ],
        NEVER,
      )
      const consumer = await world.consumer()
      await until('all are delivered', () => world.stored.length >= 23)
      assert.deepEqual(new Set(idsOf(world.stored)), new Set(good.map((event) => event.event_id)))
      const letters = world.stored.flatMap((item) => ('dead' in item ? [item] : []))
      assert.deepEqual(letters.map(({ dead }) => dead.code).sort(), ['malformed', 'malformed', 'missing_field'])
      assert.ok(letters.some(({ dead }) => dead.raw === bad.toString('base64')))
      assert.equal(consumer.counts.letters, 3)
      const put = await messagesOf(world.kafka, `${world.topic}.${world.group}.dlq`)
      const same = put.find(({ value }) => value !== null && bad.equals(value))!
      assert.equal(textOf(same.key), 'k')
      assert.equal(textOf(same.headers['trace']!), 'abc')
      assert.equal(textOf(same.headers['fm.dlq.topic']!), world.topic)
      assert.equal(textOf(same.headers['fm.dlq.error.class']!), 'malformed')
      assert.equal(put.length, 3)
    })

    test('a topic of nothing but rubbish is left where it is, and health says so', async (t) => {
      const world = await worldOf(t, broker())
      const rubbish = Array.from({ length: 300 }, (_, i) => ({
        topic: world.topic,
        key: 'k',
        value: Buffer.from(`<${i}>`),
      }))
      await world.kafka.send(rubbish, NEVER)
      const consumer = await world.consumer()
      await until('it waits', () => /% of the messages are bad/.test(consumer.health().detail ?? ''))
      assert.equal(world.stored.length, 0)
      assert.deepEqual(await world.kafka.existing([`${world.topic}.${world.group}.dlq`]), [])
    })

    test('a topic that is made later is waited for', async (t) => {
      const world = await worldOf(t, broker(), false)
      const consumer = await world.consumer()
      await until('it says that it waits', () => (consumer.health().detail ?? '').includes(world.topic))
      const item = itemOf(world.topic)
      await publisherOf(world).publish([item], NEVER) // makes it
      await until('it is delivered', () => idsOf(world.stored).includes(item.event.event_id))
      assert.equal(consumer.health().detail, undefined)
    })

    test('an event that no broker takes is handed back, and the others are published', async (t) => {
      const world = await worldOf(t, broker())
      const large = itemOf(world.topic, eventOf({ prompt: 'x'.repeat(1_100_000) }))
      const items = [itemOf(world.topic), large, itemOf(world.topic)]
      assert.deepEqual(await publisherOf(world).publish(items, NEVER), [large])
      assert.equal((await messagesOf(world.kafka, world.topic)).length, 2)
    })
  })
}

function isSame(got: ReceivedItem, item: ReceivedItem): boolean {
  try {
    assert.deepEqual(got, item)
    return true
  } catch {
    return false
  }
}
