/** Our adapter for the tests' broker, with short times; and what a topic holds. */
import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { KafkaJsOptions } from '../../../proto/kafka/kafkajs.ts'
import { KafkaJs } from '../../../proto/kafka/kafkajs.ts'
import type { Kafka, ReceivedMessage } from '../../../proto/kafka/port.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import { eventually } from '../../support/programs.ts'

export const NEVER: AbortSignal = new AbortController().signal
/** Far longer than it takes: a cluster and its clients on a machine that does other things too have needed most of a minute. */
const WITHIN_MS = 240_000

/** A client that is closed when the test ends. */
export function clientOf(t: TestContext, broker: KafkaBroker, options: Partial<KafkaJsOptions> = {}): KafkaJs {
  const client = new KafkaJs({
    clientId: 'test',
    brokers: broker.bootstrap,
    tls: false,
    compression: 'none',
    backoffMaxMs: 500,
    requestTimeoutMs: 3000,
    sessionTimeoutMs: 6000,
    log: silentLogger,
    random: Math.random,
    ...options,
  })
  t.after(() => client.close())
  return client
}

export function unique(name: string): string {
  return `${name}.${randomUUID().slice(0, 8)}`
}

/** Waits until it is so. Rejects with the words when that takes far too long. */
export function until(what: string, so: () => boolean | Promise<boolean>): Promise<void> {
  return eventually(what, so, WITHIN_MS)
}

/** A node that has not heard of a topic yet says that there is none: whoever makes one tries again, and so do we. */
export function madeTopic(kafka: Kafka, topic: string): Promise<void> {
  return until(`the topic "${topic}" is there`, () => kafka.ensureTopic(topic).then(() => true))
}

/** Everything that a topic holds now, read by a group of its own. */
export async function messagesOf(kafka: Kafka, topic: string): Promise<(ReceivedMessage & { partition: number })[]> {
  const ends = await kafka.offsets(topic)
  const missing = new Map([...ends].filter(([, { first, end }]) => end > first).map(([n, { end }]) => [n, end]))
  const found: (ReceivedMessage & { partition: number })[] = []
  if (missing.size === 0) return found
  const consumption = await kafka.consume({
    group: unique('reader'),
    topics: [topic],
    concurrency: 1,
    batchBytes: 1024 * 1024,
    onBatch: async ({ partition, messages }, lease) => {
      found.push(...messages.map((message) => ({ ...message, partition })))
      const next = messages.at(-1)!.offset + 1n
      await lease.commit(next)
      if (next >= (missing.get(partition) ?? next)) missing.delete(partition)
    },
    onEnd: () => {},
  })
  await until(`${topic} is read`, () => missing.size === 0)
  await consumption.stop()
  return found
}

export function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? 'null' : Buffer.from(bytes).toString('utf8')
}
