/** Batches of samples over a real Kafka: every reader gets to know every series, wherever it begins. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { suite, test } from 'node:test'
import { BatchConsumer } from '../../../aggregator/consume/batch-consumer.ts'
import type { IntakeAnswer } from '../../../aggregator/intake/intake.ts'
import { KafkaLink } from '../../../collector/forward/kafka-link.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { BatchHeader, SeriesDefinition } from '../../../proto/wire/batch.ts'
import { decodeBatch, encodeDefinitions, withSection } from '../../../proto/wire/batch.ts'
import { batchOf, definition } from '../../support/batches.ts'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import { clientOf, messagesOf, NEVER, unique, until } from './clients.ts'

/** What an intake does with series, and no more: those of a session that were described to it. */
class Reader {
  readonly values: string[] = []
  readonly #known = new Map<string, SeriesDefinition>()
  needs = 0
  answer: IntakeAnswer | undefined

  readonly receive = async (bytes: Uint8Array): Promise<IntakeAnswer> => {
    if (this.answer !== undefined) return this.answer
    const { header, definitions, samples } = decodeBatch(bytes)
    for (const described of definitions) this.#known.set(`${header.session}/${described.ref}`, described)
    const refs = [...samples.refs].filter((ref) => !this.#known.has(`${header.session}/${ref}`))
    if (refs.length > 0) {
      this.needs++
      return { kind: 'need', refs }
    }
    samples.refs.forEach((ref, i) => {
      this.values.push(`${this.#known.get(`${header.session}/${ref}`)!.name}@${samples.times[i]}`)
    })
    return { kind: 'stored', expired: 0 }
  }
}

/** A collector's shard: describes what it is asked for. */
class Sender {
  readonly #link: KafkaLink
  readonly #header: Partial<BatchHeader>
  readonly #pad: string
  described = 0

  constructor(link: KafkaLink, header: Partial<BatchHeader>, pad = '') {
    this.#link = link
    this.#header = header
    this.#pad = pad
  }

  async send(refs: readonly number[], time: number): Promise<void> {
    let bytes: Uint8Array = batchOf(
      refs.map((ref) => ({ ref, time, at: time * 1000, value: 1 })),
      [],
      this.#header,
    )
    for (;;) {
      const answer = await this.#link.send(bytes, NEVER)
      if (answer.kind === 'stored') return
      assert.equal(answer.kind, 'need')
      const asked = answer.kind === 'need' ? answer.refs : []
      this.described += asked.length
      const definitions = asked.map((ref) => definition(ref, `m${ref}`, { pad: this.#pad }))
      bytes = withSection(bytes, encodeDefinitions(definitions))
    }
  }
}

function linkOf(t: TestContext, broker: KafkaBroker, topic: string, now = (): number => 0): KafkaLink {
  return new KafkaLink(clientOf(t, broker), { topic, epochMs: 1000, backoffMaxMs: 100, now, log: silentLogger })
}

async function consumerOf(
  t: TestContext,
  broker: KafkaBroker,
  topic: string,
  group: string,
  reader: Reader,
): Promise<BatchConsumer> {
  const consumer = new BatchConsumer(clientOf(t, broker), {
    topic,
    group,
    deadLetterTopic: '',
    receive: reader.receive,
    proven: () => {},
    backoffMaxMs: 200,
    lookEveryMs: 200,
    clock: systemClock,
    log: silentLogger,
    random: Math.random,
  })
  await consumer.start()
  t.after(() => consumer.stop(AbortSignal.timeout(5000)))
  return consumer
}

export function batchCases(broker: () => KafkaBroker): void {
  suite('batches', () => {
    test('a reader that takes over in the midst goes back to the descriptions; what it read before comes again', async (t) => {
      const [topic, group] = [unique('samples'), unique('group')]
      const sender = new Sender(linkOf(t, broker(), topic), { session: unique('s') })
      await sender.send([1, 2, 3], 100)
      await sender.send([1, 2, 3], 200)
      assert.equal(sender.described, 3) // once an epoch
      const first = new Reader()
      const firstConsumer = await consumerOf(t, broker(), topic, group, first)
      await until('the first has all', () => first.values.length === 6)
      assert.equal(first.needs, 0)
      await firstConsumer.stop(AbortSignal.timeout(5000))
      await sender.send([1, 2, 3], 300)
      const second = new Reader()
      const consumer = await consumerOf(t, broker(), topic, group, second)
      await until('the second has what is new', () => second.values.includes('m3@300'))
      assert.equal(consumer.counts.wentBack, 1)
      assert.equal(consumer.counts.undescribed, 0)
      assert.ok(second.values.includes('m1@100'))
    })

    test('each epoch describes again; batches sent at once describe for themselves; another session is another epoch', async (t) => {
      const topic = unique('samples')
      let now = 0
      const link = linkOf(t, broker(), topic, () => now)
      const sender = new Sender(link, { session: unique('s') })
      await Promise.all([sender.send([1], 1), sender.send([1], 2), sender.send([1, 2], 3)])
      assert.ok(sender.described >= 2)
      const before = sender.described
      await sender.send([1, 2], 4)
      assert.equal(sender.described, before)
      now = 1000
      await sender.send([1, 2], 5)
      assert.equal(sender.described, before + 2)
      const other = new Sender(link, { session: unique('s') })
      await other.send([1], 6)
      assert.equal(other.described, 1)
      const reader = new Reader()
      const consumer = await consumerOf(t, broker(), topic, unique('group'), reader)
      await until('all are read', () => reader.values.includes('m1@6'))
      assert.equal(consumer.counts.undescribed, 0)
    })

    test('a batch larger than a request comes in parts, whole, and is committed as one', async (t) => {
      const [topic, group] = [unique('samples'), unique('group')]
      const refs = Array.from({ length: 1000 }, (_, i) => i)
      const sender = new Sender(linkOf(t, broker(), topic), { session: unique('s') }, 'x'.repeat(3000))
      await sender.send(refs, 100)
      const kafka = clientOf(t, broker())
      assert.ok((await messagesOf(kafka, topic)).length >= 4)
      const reader = new Reader()
      await consumerOf(t, broker(), topic, group, reader)
      await until('it is read', () => reader.values.length >= 1000)
      await until('it is committed', async () => {
        const committed = await kafka.committed(group, topic)
        return [...(await kafka.offsets(topic))].every(
          ([n, { first, end }]) => end === first || committed.get(n) === end,
        )
      })
      assert.equal(reader.values.length, 1000)
    })

    test('no room: nothing is committed and all comes again; what is no batch goes to the dead-letter topic', async (t) => {
      const [topic, group] = [unique('samples'), unique('group')]
      const kafka = clientOf(t, broker())
      const sender = new Sender(linkOf(t, broker(), topic), { session: unique('s') })
      await sender.send([1], 100)
      const reader = new Reader()
      reader.answer = { kind: 'full' }
      const consumer = await consumerOf(t, broker(), topic, group, reader)
      await until('it says so', () => /no room/.test(consumer.health().detail ?? ''))
      assert.equal((await kafka.committed(group, topic)).size, 0)
      reader.answer = undefined
      await until('it is stored', () => reader.values.includes('m1@100'))
      await kafka.send([{ topic, key: 'k', value: Buffer.from('rubbish') }], NEVER)
      const aside = `${topic}.${group}.dlq`
      await until('the rubbish is put aside', async () => (await kafka.existing([aside])).length === 1)
      await until('and there', async () =>
        [...(await kafka.offsets(aside)).values()].some(({ first, end }) => end > first),
      )
      assert.equal((await messagesOf(kafka, aside))[0]!.value?.toString(), 'rubbish')
    })
  })
}
