/**
 * The way to the aggregators over Kafka, in the place of link.ts: a batch counts as stored for its journal when the broker has it.
 *
 * Over HTTP an aggregator that does not know a series asks. Over Kafka there is nobody to ask, so this link asks in its place, by what
 * it knows to be on the topic:
 *
 *     epoch    some minutes of a session. In each, a series is described again by the first batch that needs it
 *     batch    all its series described in this epoch? no: it is answered "need", and comes again with their descriptions
 *              yes: sent, with the offset where the epoch begins ("described from")
 *
 * Only what was acknowledged counts as described: batches pass each other on their way. Whoever reads and lacks a series goes back to that
 * offset, which is at most an epoch behind.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { batchMessages, SENDING_MS_MAX } from '../../proto/kafka/batch-message.ts'
import type { Kafka, Place } from '../../proto/kafka/port.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Batch, BatchHeader } from '../../proto/wire/batch.ts'
import { decodeBatch } from '../../proto/wire/batch.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import type { BatchLink, LinkAnswer } from './link.ts'

export interface KafkaLinkOptions {
  readonly topic: string
  /** How long a description serves, ms: so far a reader has to go back at most. */
  readonly epochMs: number
  readonly backoffMaxMs: number
  readonly now: () => number
  readonly log: Logger
}

interface Epoch {
  readonly session: string
  readonly until: number
  readonly partition: number
  readonly described: Set<number>
  /** Offset of the first of its batches that the broker has. */
  from: bigint | undefined
}

const NEED_MAX = 100_000
const LOG_EVERY_MS = 30_000

export class KafkaLink implements BatchLink {
  readonly #kafka: Kafka
  readonly #options: KafkaLinkOptions
  readonly #often: RateLimitedLog
  #epoch: Epoch | undefined
  #problem: string | undefined
  readonly #counts = { attempts: 0, failures: 0 }

  constructor(kafka: Kafka, options: KafkaLinkOptions) {
    this.#kafka = kafka
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
  }

  get problem(): string | undefined {
    return this.#problem ?? this.#kafka.problem
  }

  get counts(): { readonly attempts: number; readonly failures: number } {
    return this.#counts
  }

  get url(): string {
    return this.#kafka.address
  }

  /** Sends until the broker has it. Rejects only when the signal aborts. */
  async send(bytes: Uint8Array, signal: AbortSignal): Promise<LinkAnswer> {
    const batch = decodeBatch(bytes)
    for (;;) {
      try {
        return await this.#send(batch, bytes, signal)
      } catch (error) {
        signal.throwIfAborted()
        this.#counts.failures++
        this.#problem = messageOf(error)
        this.#often.once('send', (held) =>
          this.#options.log.warn({ error: this.#problem, held }, 'kafka does not take batches, they are sent again'),
        )
        await sleep(this.#options.backoffMaxMs, undefined, { signal })
      }
    }
  }

  async #send(batch: Batch, bytes: Uint8Array, signal: AbortSignal): Promise<LinkAnswer> {
    const { topic } = this.#options
    const { header, definitions } = batch
    const epoch = await this.#epochOf(header)
    const refs = neededBy(batch)
    for (const { ref } of definitions) refs.delete(ref)
    for (const ref of refs) if (epoch.described.has(ref)) refs.delete(ref)
    if (refs.size > 0) return { kind: 'need', refs: [...refs].slice(0, NEED_MAX) }
    this.#counts.attempts++
    const places: Place[] = []
    for (let began = Number.NEGATIVE_INFINITY; performance.now() - began > SENDING_MS_MAX; ) {
      began = performance.now()
      const of = { topic, partition: epoch.partition, key: keyOf(header), describedFrom: epoch.from }
      places.push(...(await this.#kafka.send(batchMessages(bytes, { ...of, id: randomUUID() }), signal)))
    }
    this.#problem = undefined
    for (const { offset } of places) if (epoch.from === undefined || offset < epoch.from) epoch.from = offset
    for (const { ref } of definitions) epoch.described.add(ref)
    return { kind: 'stored', expired: 0 }
  }

  async #epochOf(header: BatchHeader): Promise<Epoch> {
    const now = this.#options.now()
    const current = this.#epoch
    if (current?.session === header.session && now < current.until) return current
    // A session stays on its partition though the topic gets more of them.
    const partition = current?.session === header.session ? current.partition : await this.#partitionOf(header)
    if (this.#epoch !== current) return this.#epochOf(header) // another batch was first
    this.#epoch = {
      session: header.session,
      until: now + this.#options.epochMs,
      partition,
      described: new Set(),
      from: undefined,
    }
    return this.#epoch
  }

  async #partitionOf(header: BatchHeader): Promise<number> {
    await this.#kafka.ensureTopic(this.#options.topic)
    const partitions = await this.#kafka.partitions(this.#options.topic)
    if (partitions === 0) throw new Error(`the topic "${this.#options.topic}" has no partitions yet`)
    return crc32c(new TextEncoder().encode(keyOf(header))) % partitions
  }

  /** Nothing to ask for: the broker waits for nothing. */
  async flush(): Promise<void> {}

  close(): void {}
}

function keyOf({ collector, shard }: BatchHeader): string {
  return `${collector}/${shard}`
}

function neededBy({ samples, extras, starts }: Batch): Set<number> {
  const refs = new Set<number>(samples.refs)
  for (const extra of extras) if (extra.kind !== 'metadata') refs.add(extra.ref)
  for (const { ref } of starts) refs.add(ref)
  return refs
}
