/** What proto/kafka/port.ts promises, of an adapter and a real cluster. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { GroupMember } from '../../../aggregator/consume/group-member.ts'
import type { Consumption } from '../../../proto/kafka/port.ts'
import { FleetmeterError } from '../../../proto/runtime/errors.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import { clientOf, madeTopic, messagesOf, NEVER, textOf, unique, until } from './clients.ts'

/** A node that says nothing for six seconds is gone, and a consumer asks who is there every five. */
const NODE_GONE_MS = 13_000

export function portCases(broker: () => KafkaBroker): void {
  suite('port', () => {
    test('what is acknowledged while a node is killed and comes back is on the topic, and read once each in effect', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('killed')
      await madeTopic(kafka, topic)
      const seen = new Map<string, number>()
      const reader = new GroupMember(clientOf(t, broker()), {
        name: 'reader',
        topics: [topic],
        group: unique('reader'),
        batchBytes: 1024 * 1024,
        backoffMaxMs: 500,
        onBatch: async ({ messages }, lease) => {
          for (const { value } of messages) seen.set(textOf(value), (seen.get(textOf(value)) ?? 0) + 1)
          await lease.commit(messages.at(-1)!.offset + 1n)
        },
        log: silentLogger,
        random: Math.random,
      })
      reader.start()
      t.after(() => reader.stop())
      const acknowledged: string[] = []
      let stop = false
      // Each send goes to several nodes: the more are under way, the more see the leader of a partition move in the midst.
      const producers = Array.from({ length: 16 }, async (_, who) => {
        for (let n = 0; !stop; n++) {
          const ids = Array.from({ length: 20 }, (_, i) => `${who}/${n}/${i}`)
          await kafka.send(
            ids.map((id) => ({ topic, key: id, value: Buffer.from(id) })),
            NEVER,
          )
          acknowledged.push(...ids)
          await sleep(5) // the machine is small: what counts is that it goes on through the kill
        }
      })
      await until('messages flow', () => acknowledged.length > 1000)
      await broker().kill(2)
      const before = acknowledged.length
      await until('they flow without the node', () => acknowledged.length > before + 1000)
      await broker().up(2)
      const back = acknowledged.length
      await until('they flow with it', () => acknowledged.length > back + 1000)
      stop = true
      await Promise.all(producers)
      const onTopic = new Set((await messagesOf(clientOf(t, broker()), topic)).map(({ value }) => textOf(value)))
      const lost = acknowledged.filter((id) => !onTopic.has(id))
      assert.deepEqual(lost, [])
      await until('all acknowledged are read', () => acknowledged.every((id) => seen.has(id)))
      await reader.stop()
      const repeats = [...seen.values()].reduce((sum, n) => sum + n - 1, 0)
      t.diagnostic(`${acknowledged.length} acknowledged, 0 lost, ${repeats} came again`)
    })

    test('a member that is told to stop while it divides the nodes of a changed cluster leaves, and the process lives', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('left')
      const group = unique('left')
      await madeTopic(kafka, topic)
      let release = (): void => {}
      const held = new Promise<void>((resolve) => (release = resolve))
      let begun = false
      const member = await clientOf(t, broker()).consume({
        group,
        topics: [topic],
        concurrency: 4,
        batchBytes: 1024 * 1024,
        onBatch: async ({ messages }, lease) => {
          begun = true
          await held
          await lease.commit(messages.at(-1)!.offset + 1n).catch(() => {}) // it is stopping
        },
        onEnd: () => {},
      })
      await kafka.send([{ topic, key: null, value: Buffer.from('x') }], NEVER)
      await until('a batch is under way', () => begun)
      await broker().kill(2)
      await sleep(NODE_GONE_MS)
      const stopped = member.stop()
      await sleep(500)
      release()
      await stopped
      await broker().up(2)
      // Whoever comes next does not wait for a member that is no more.
      assert.equal((await messagesOf(kafka, topic)).length, 1)
    })

    test('a partition that was added just now is written to, though the producer has not heard of it', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('grown')
      await madeTopic(kafka, topic)
      await kafka.send([{ topic, key: null, value: Buffer.from('before'), partition: 3 }], NEVER)
      await broker().tool(
        'org.apache.kafka.tools.TopicCommand',
        ['--bootstrap-server', broker().bootstrap.join(','), '--alter', '--topic', topic, '--partitions', '6'],
        '',
      )
      const [place] = await kafka.send([{ topic, key: null, value: Buffer.from('after'), partition: 5 }], NEVER)
      assert.deepEqual(place, { topic, partition: 5, offset: 0n })
      const written = (await messagesOf(kafka, topic)).map(({ partition, value }) => `${partition} ${textOf(value)}`)
      assert.deepEqual(written.sort(), ['3 before', '5 after'])
    })

    test('a node that hangs holds up what it leads until it is back, and nothing is lost', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('paused')
      await madeTopic(kafka, topic)
      await kafka.send([{ topic, key: 'first', value: Buffer.from('first') }], NEVER)
      broker().pause(3)
      const sends = Array.from({ length: 40 }, (_, i) =>
        kafka.send([{ topic, key: `k${i}`, value: Buffer.from(`m${i}`) }], NEVER),
      )
      await Promise.any(sends)
      broker().resume(3)
      await Promise.all(sends)
      const values = new Set((await messagesOf(kafka, topic)).map(({ value }) => textOf(value)))
      for (let i = 0; i < 40; i++) assert.ok(values.has(`m${i}`), `m${i} is missing`)
    })

    test('a wrong password is refused at once, and the error says what to look at', async (t) => {
      const secure = { brokers: broker().secureBootstrap, tls: true, tlsCa: broker().certificate }
      const login = { user: '$ConnectionString', password: 'Endpoint=sb://x/;Key=a=' }
      const right = clientOf(t, broker(), { ...secure, login })
      await right.connect()
      const topic = unique('secure')
      await madeTopic(right, topic)
      await right.send([{ topic, key: null, value: Buffer.from('x') }], NEVER)
      const wrong = clientOf(t, broker(), { ...secure, login: { ...login, password: 'another' } })
      const refused = (error: unknown): boolean =>
        error instanceof FleetmeterError &&
        error.code === 'FM_KAFKA_REFUSED' &&
        /refuses the login as "\$ConnectionString".*KAFKA_PASSWORD/.test(error.message)
      await assert.rejects(wrong.connect(), refused)
      await assert.rejects(wrong.send([{ topic, key: null, value: Buffer.from('x') }], NEVER), refused)
      await assert.rejects(wrong.existing([topic]), refused)
    })

    test('what other producers compress is read: snappy and lz4 and zstd of Kafka itself', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('compressed')
      await madeTopic(kafka, topic)
      const line = (codec: string, i: number): string => `${codec} ${i} ${'as before '.repeat(i % 50)}`
      await Promise.all(
        ['snappy', 'lz4', 'zstd', 'gzip'].map((codec) =>
          broker().tool(
            'org.apache.kafka.tools.ConsoleProducer',
            ['--bootstrap-server', broker().bootstrap.join(','), '--topic', topic, '--compression-codec', codec],
            Array.from({ length: 2000 }, (_, i) => `${line(codec, i)}\n`).join(''),
          ),
        ),
      )
      const values = (await messagesOf(kafka, topic)).map(({ value }) => textOf(value)).sort()
      const expected = ['snappy', 'lz4', 'zstd', 'gzip'].flatMap((codec) =>
        Array.from({ length: 2000 }, (_, i) => line(codec, i)),
      )
      assert.deepEqual(values, expected.sort())
    })

    test('many large messages are cut into requests that a broker takes; one that is too large is refused', async (t) => {
      const kafka = clientOf(t, broker(), { compression: 'gzip' })
      const topic = unique('large')
      await madeTopic(kafka, topic)
      const value = Buffer.alloc(300_000, 'x')
      await kafka.send(
        Array.from({ length: 12 }, (_, i) => ({ topic, key: `k${i}`, value })),
        NEVER,
      )
      assert.equal((await messagesOf(kafka, topic)).length, 12)
      await assert.rejects(
        kafka.send([{ topic, key: null, value: Buffer.alloc(1_000_000) }], NEVER),
        (error) => error instanceof FleetmeterError && error.code === 'FM_KAFKA_TOO_LARGE',
      )
    })

    test('a second member takes over some partitions; what was under way comes again, and nothing is missed', async (t) => {
      const kafka = clientOf(t, broker())
      const topic = unique('shared')
      const group = unique('group')
      await madeTopic(kafka, topic)
      const seen = new Map<string, Set<number>>()
      const member = (who: number): Promise<Consumption> =>
        clientOf(t, broker()).consume({
          group,
          topics: [topic],
          concurrency: 4,
          batchBytes: 1024,
          onBatch: async ({ messages }, lease) => {
            await sleep(20)
            for (const { value } of messages) {
              const by = seen.get(textOf(value)) ?? new Set()
              seen.set(textOf(value), by.add(who))
            }
            await lease.commit(messages.at(-1)!.offset + 1n)
          },
          onEnd: () => {},
        })
      const send = (part: number): Promise<unknown> =>
        kafka.send(
          Array.from({ length: 400 }, (_, i) => ({ topic, key: `k${i}`, value: Buffer.from(`${part}/${i}`) })),
          NEVER,
        )
      await send(0)
      const first = await member(1)
      await until('the first is at work', () => seen.size > 20)
      const second = await member(2)
      await send(1)
      await until('both have taken some', async () => {
        if (seen.size >= 800) await send(seen.size) // it took all before the second came
        return [...seen.values()].some((by) => by.has(2))
      })
      await until('all is read', () => seen.size >= 800)
      await first.stop()
      await send(2)
      await until('the second reads all alone', () => [...Array(400).keys()].every((i) => seen.has(`2/${i}`)))
      await second.stop()
      const committed = await kafka.committed(group, topic)
      for (const [partition, { end }] of await kafka.offsets(topic)) assert.equal(committed.get(partition), end)
    })
  })
}
