/**
 * Events from Kafka.
 *
 *     fetched ──▶ checked ──▶ bad ones to the dead-letter topic ──▶ all delivered (stored) ──▶ offset committed ──▶ the next
 *                    │                    │                              │
 *                    └ too many are bad   └── cannot be written ─────────┴── not stored: the partition waits, and begins
 *                      : it waits, and says so                               again where it had committed
 *
 * Nothing is skipped and nothing is committed before it is stored: whatever breaks, messages come again, and identity is in them.
 * Back-pressure is that order: of each partition one fetch is under way, and no more is fetched of a broker until it is done.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { ReceivedItem } from '../../proto/events/event.ts'
import type { EventRules } from '../../proto/kafka/event-message.ts'
import { isFrom, readEventMessage } from '../../proto/kafka/event-message.ts'
import type { Kafka, Lease, ReceivedBatch, ReceivedMessage } from '../../proto/kafka/port.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { deadLetterMessage } from './dead-letter-message.ts'
import { BACKOFF_MIN_MS, GroupMember } from './group-member.ts'
import { PoisonGuard } from './poison-guard.ts'

export interface EventConsumerOptions {
  /** One that does not exist yet is waited for. */
  readonly topics: readonly string[]
  /** Where collectors put what belongs to none of these; consumed too. */
  readonly ownTopic: string
  readonly group: string
  /** For all topics; '': each has its own, `<topic>.<group>.dlq`. */
  readonly deadLetterTopic: string
  /** Beyond so many bad messages of a hundred a partition waits. */
  readonly badPercentMax: number
  readonly rules: EventRules
  /** Resolves when they are stored. Rejects when they are not, for whatever reason: then they come again. */
  readonly deliver: (items: readonly ReceivedItem[], bytes: number) => Promise<void>
  /** 0 to 999: who of several writers this is. */
  readonly writer: number
  readonly backoffMaxMs: number
  /** How often it is looked for new topics, and how far behind this consumer is, ms. */
  readonly lookEveryMs?: number
  readonly clock: Clock
  readonly log: Logger
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

export interface EventConsumerCounts {
  readonly events: number
  readonly letters: number
  readonly commits: number
  readonly failures: number
  readonly assignments: number
}

/** Messages that are read in one go: about 5 ms of the main thread. */
const PIECE = 250
const BATCH_BYTES = 1024 * 1024
const POISON_LOOK_MS = 60_000
const LOG_EVERY_MS = 30_000

interface ReadMessage {
  readonly message: ReceivedMessage
  readonly item: ReceivedItem
  readonly poison: boolean
}

/** Why a partition waits; `ms`: for how long, absent: longer each time. */
interface Stop {
  readonly problem: string
  readonly ms?: number
}

interface PartitionState {
  readonly guard: PoisonGuard
  /** Deliveries that failed in a row. */
  failures: number
  /** Why nothing of it is taken at the moment. */
  problem?: string | undefined
}

export class EventConsumer implements Service {
  readonly name = 'kafka-events'
  readonly #kafka: Kafka
  readonly #options: EventConsumerOptions
  readonly #member: GroupMember
  readonly #often: RateLimitedLog
  readonly #partitions = new Map<string, PartitionState>()
  readonly #counts = { events: 0, letters: 0, commits: 0, failures: 0 }

  constructor(kafka: Kafka, options: EventConsumerOptions) {
    this.#kafka = kafka
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
    this.#member = new GroupMember(kafka, {
      name: this.name,
      topics: [...options.topics, options.ownTopic],
      group: options.group,
      batchBytes: BATCH_BYTES,
      backoffMaxMs: options.backoffMaxMs,
      lookEveryMs: options.lookEveryMs,
      onBatch: (batch, lease) => this.#take(batch, lease),
      log: options.log,
      random: options.random,
    })
  }

  get counts(): EventConsumerCounts {
    return { ...this.#counts, assignments: this.#member.assignments }
  }

  /** How many messages of each topic are not stored yet, as far as that was heard last. */
  get lag(): ReadonlyMap<string, number> {
    return this.#member.lag
  }

  /** Brokers that are away are no reason not to start: it is tried until they are there. */
  async start(): Promise<void> {
    this.#member.start()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await orAborted(this.#member.stop(), deadline)
  }

  /** An aggregator without Kafka still answers questions. */
  health(): Health {
    const { problem, missing } = this.#member
    const problems = problem === undefined ? [] : [problem]
    for (const [key, state] of this.#partitions)
      if (state.problem !== undefined && this.#member.owns(key)) problems.push(`${key}: ${state.problem}`)
    const awaited = missing.filter((topic) => topic !== this.#options.ownTopic)
    if (awaited.length > 0) problems.push(`topics that do not exist yet: ${awaited.join(', ')}`)
    return problems.length === 0 ? { ready: true } : { ready: true, detail: problems.join('; ') }
  }

  #state(key: string): PartitionState {
    let state = this.#partitions.get(key)
    if (state === undefined) {
      state = { guard: new PoisonGuard(this.#options.badPercentMax), failures: 0 }
      this.#partitions.set(key, state)
    }
    return state
  }

  /** All pieces of a fetch are under way together, since they are stored together; what is stored without a gap is committed. */
  async #take(batch: ReceivedBatch, lease: Lease): Promise<void> {
    const state = this.#state(`${batch.topic}/${batch.partition}`)
    this.#member.done(batch, batch.messages[0]!.offset)
    const pieces: { readonly next: bigint; readonly stopped: Promise<Stop | undefined> }[] = []
    for (let at = 0; at < batch.messages.length && !lease.lost.aborted; at += PIECE) {
      const messages = batch.messages.slice(at, at + PIECE)
      const read = this.#read(batch, messages)
      const percent = state.guard.look(read.map(({ poison }) => poison))
      const next = messages.at(-1)!.offset + 1n
      const stopped =
        percent === undefined ? this.#store(batch, read, lease) : Promise.resolve(this.#tooBad(batch, read, percent))
      pieces.push({ next, stopped })
      if (percent !== undefined) break
      await immediate() // a fetch is larger than what may be read in one go
    }
    let next: bigint | undefined
    let stop: Stop | undefined
    for (const piece of pieces) {
      const stopped = await piece.stopped
      stop ??= stopped
      if (stop === undefined) next = piece.next
    }
    if (lease.lost.aborted) return
    if (next !== undefined) {
      state.failures = 0
      await lease.commit(next)
      this.#counts.commits++
      this.#member.done(batch, next)
    }
    state.problem = stop?.problem
    if (stop === undefined) return
    const { random, backoffMaxMs } = this.#options
    lease.pause(stop.ms ?? random() * Math.min(backoffMaxMs, BACKOFF_MIN_MS * 2 ** Math.min(state.failures++, 20)))
  }

  #read(batch: ReceivedBatch, messages: readonly ReceivedMessage[]): ReadMessage[] {
    const { rules, ownTopic, group, clock, writer } = this.#options
    const arrival = clock.now() * 1000 + writer
    return messages
      .filter((message) => !isFrom(group, message)) // what this group tells others is stored here
      .map((message) => ({ message, ...readEventMessage(message, batch, { ownTopic, rules, arrival }) }))
  }

  #tooBad({ topic, partition }: ReceivedBatch, read: readonly ReadMessage[], percent: number): Stop {
    const { item } = read.find(({ poison }) => poison)!
    const problem = `${Math.round(percent)} % of the messages are bad, so that it waits: ${'dead' in item ? item.dead.reason : ''}`
    this.#often.once(`poison ${topic}/${partition}`, (held) =>
      this.#options.log.error({ topic, partition, offset: String(read[0]!.message.offset), held }, problem),
    )
    return { problem, ms: POISON_LOOK_MS }
  }

  /** @returns undefined when it is stored */
  async #store(batch: ReceivedBatch, read: readonly ReadMessage[], lease: Lease): Promise<Stop | undefined> {
    if (read.length === 0) return undefined
    const { deliver, log } = this.#options
    const { topic, partition } = batch
    try {
      const poisoned = read.filter(({ poison }) => poison)
      if (poisoned.length > 0) await this.#putAside(batch, poisoned, lease.lost)
      await deliver(
        read.map(({ item }) => item),
        read.reduce((bytes, { message }) => bytes + (message.value?.length ?? 0), 0),
      )
    } catch (error) {
      const problem = `not stored, so that it waits: ${messageOf(error)}`
      if (lease.lost.aborted) return { problem }
      this.#counts.failures++
      this.#often.once(`deliver ${topic}`, (held) =>
        log.warn({ topic, partition, error: messageOf(error), held }, 'events are not stored, they come again'),
      )
      return { problem }
    }
    for (const { item } of read) this.#counts['dead' in item ? 'letters' : 'events']++
    return undefined
  }

  /** Bad messages, byte for byte, before their offset is committed. */
  async #putAside(batch: ReceivedBatch, poisoned: readonly ReadMessage[], lost: AbortSignal): Promise<void> {
    const { group, deadLetterTopic, clock } = this.#options
    const topic = deadLetterTopic === '' ? `${batch.topic}.${group}.dlq` : deadLetterTopic
    await this.#kafka.ensureTopic(topic)
    const from = { topic: batch.topic, partition: batch.partition, group, now: clock.now() }
    const letters = poisoned.flatMap(({ message, item }) =>
      'dead' in item ? [deadLetterMessage(topic, message, item.dead, from)] : [],
    )
    await this.#kafka.send(letters, lost)
  }
}
