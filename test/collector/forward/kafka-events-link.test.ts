/** The events lane over Kafka: what goes to topics, what goes aside, and what is said while brokers are away. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KafkaEventsLink } from '../../../collector/forward/kafka-events-link.ts'
import type { BatchLink, LinkAnswer } from '../../../collector/forward/link.ts'
import { EventPublisher } from '../../../proto/kafka/event-publisher.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { decodeEventBatch } from '../../../proto/wire/event-batch.ts'
import { eventBatch, letter, receivedEvent } from '../../support/events.ts'
import { FakeKafka } from '../../support/fake-kafka.ts'
import { eventually } from '../../support/programs.ts'

const NEVER = new AbortController().signal
const STORED: LinkAnswer = { kind: 'stored', expired: 0 }

class Aside implements BatchLink {
  readonly problem = undefined
  readonly counts = { attempts: 0, failures: 0 }
  readonly url = 'http://aside'
  readonly batches: Uint8Array[] = []
  flushes = 0

  async send(batch: Uint8Array): Promise<LinkAnswer> {
    this.batches.push(batch)
    return STORED
  }

  async flush(): Promise<void> {
    this.flushes++
  }

  close(): void {}
}

function linkOf(): { kafka: FakeKafka; aside: Aside; link: KafkaEventsLink } {
  const kafka = new FakeKafka()
  const options = { topics: ['xumi_task'], ownTopic: 'own', bytesMax: 1e6, backoffMaxMs: 5, log: silentLogger }
  const aside = new Aside()
  return { kafka, aside, link: new KafkaEventsLink(new EventPublisher(kafka, options), aside) }
}

test('events go to their topics and letters to our own, and nothing of it over HTTP', async () => {
  const { kafka, aside, link } = linkOf()
  const items = [receivedEvent({ task_id: 't1' }), letter(), receivedEvent({}, { topic: 'elsewhere' })]
  assert.deepEqual(await link.send(eventBatch(items), NEVER), STORED)
  assert.deepEqual(
    kafka.taken.map(({ topic }) => topic),
    ['xumi_task', 'own', 'own'],
  )
  assert.equal(kafka.taken[0]!.key, 'default/t1')
  await link.flush(NEVER)
  assert.deepEqual([aside.batches.length, aside.flushes], [0, 0])
  assert.deepEqual(link.figures, { published: 3, aside: 0, failures: 0, bytesInFlight: 0 })
})

test('what no broker takes goes to the intake with its header, alone, and is counted', async () => {
  const { kafka, aside, link } = linkOf()
  const large = receivedEvent({ note: 'x'.repeat(1_100_000) })
  const bytes = eventBatch([receivedEvent(), large, receivedEvent()])
  assert.deepEqual(await link.send(bytes, NEVER), STORED)
  assert.equal(kafka.taken.length, 2)
  const { header, items } = decodeEventBatch(aside.batches[0]!)
  assert.deepEqual(header, decodeEventBatch(bytes).header)
  assert.deepEqual(items, [large])
  assert.equal(link.figures.aside, 1)
})

test('a partition that was asked for is used where it is; one that is not there is looked for once, and the key chooses', async () => {
  const { kafka, link } = linkOf()
  const items = [3, 77, 78].map((partition) => receivedEvent({}, { partition, key: 'aw==' }))
  await link.send(eventBatch(items), NEVER)
  assert.deepEqual(
    kafka.taken.map(({ partition, key }) => [partition, String(key)]),
    [
      [3, 'k'],
      [undefined, 'k'],
      [undefined, 'k'],
    ],
  )
  assert.equal(kafka.looks, 1)
})

test('while brokers are away nothing is answered, and it says why; then all of it goes', async () => {
  const { kafka, link } = linkOf()
  kafka.away = true
  const answer = link.send(eventBatch([receivedEvent()]), NEVER)
  await eventually('it says why', () => /nobody is there/.test(link.problem ?? ''))
  kafka.away = false
  assert.deepEqual(await answer, STORED)
  assert.equal(link.problem, undefined)
  assert.ok(link.counts.failures > 0)
})

test('it rejects when it is told to stop', async () => {
  const { kafka, link } = linkOf()
  kafka.away = true
  await assert.rejects(link.send(eventBatch([receivedEvent()]), AbortSignal.timeout(20)))
})
