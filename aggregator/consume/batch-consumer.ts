/**
 * Batches of samples from Kafka, to the intake that takes them over HTTP too: the same identities, so that what comes by both roads,
 * or again, is one.
 *
 *     fetched ──▶ parts put together ──▶ intake, several at a time ──▶ all stored ──▶ offset committed
 *                                           │
 *              a series is not known here ──┤  another aggregator had the partition before, or we began anew: back to where the batch
 *                                           │  says that all is described; what lies between is taken again, which changes nothing
 *                          no room, newer ──┴  the partition waits, and begins again where it had committed
 *
 * A batch names its collector's cursor: up to there brokers have everything, and it stands before the batch on its partition. So it is stored
 * when everything up to the batch was committed, and not before: only then the intake is told.
 *
 * What cannot be read, and what is nowhere described any more, goes to the dead-letter topic as it came.
 */
import { randomUUID } from 'node:crypto'
import type { AssembledBatch } from '../../proto/kafka/batch-message.ts'
import { BatchAssembler, INCOMPLETE_MS_MAX } from '../../proto/kafka/batch-message.ts'
import type { Kafka, Lease, ReceivedBatch, ReceivedMessage } from '../../proto/kafka/port.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { BatchHeader } from '../../proto/wire/batch.ts'
import type { IntakeAnswer } from '../intake/intake.ts'
import { deadLetterMessage } from './dead-letter-message.ts'
import { GroupMember } from './group-member.ts'

export interface BatchConsumerOptions {
  readonly topic: string
  readonly group: string
  /** '': `<topic>.<group>.dlq`. */
  readonly deadLetterTopic: string
  /** @param unproven gets the header of the batch, for `proven` */
  readonly receive: (bytes: Uint8Array, unproven: BatchHeader[]) => Promise<IntakeAnswer>
  /** Everything before these batches on their partition is stored. */
  readonly proven: (headers: readonly BatchHeader[]) => void
  readonly backoffMaxMs: number
  readonly lookEveryMs?: number
  readonly clock: Clock
  readonly log: Logger
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

/** What an insert stores at once comes from one fetch: the fewer, the fewer inserts are waited for. */
const FETCH_BYTES = 8 * 1024 * 1024
const FULL_MS = 1000
const NEWER_MS = 30_000
const LOG_EVERY_MS = 30_000

interface PartitionState {
  assembler: BatchAssembler
  /** The batch for which reading went back: should it lack a series again, that is nowhere any more. */
  wentBackFor: bigint
  problem?: string | undefined
}

/** What to do after a batch. */
type Next = 'on' | 'wait' | 'back'

export class BatchConsumer implements Service {
  readonly name = 'kafka-samples'
  readonly #kafka: Kafka
  readonly #options: BatchConsumerOptions
  readonly #member: GroupMember
  readonly #often: RateLimitedLog
  readonly #partitions = new Map<string, PartitionState>()
  readonly #counts = { batches: 0, wentBack: 0, unreadable: 0, undescribed: 0 }

  constructor(kafka: Kafka, options: BatchConsumerOptions) {
    this.#kafka = kafka
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
    this.#member = new GroupMember(kafka, {
      name: this.name,
      topics: [options.topic],
      group: options.group,
      batchBytes: FETCH_BYTES,
      backoffMaxMs: options.backoffMaxMs,
      lookEveryMs: options.lookEveryMs,
      onBatch: (batch, lease) => this.#take(batch, lease),
      onAssigned: () => {
        for (const { assembler } of this.#partitions.values()) assembler.clear()
      },
      log: options.log,
      random: options.random,
    })
  }

  /** Of batches: taken, for which reading went back, that could not be read, whose series are nowhere described any more. */
  get counts(): Readonly<Record<'batches' | 'wentBack' | 'unreadable' | 'undescribed', number>> {
    return this.#counts
  }

  get lag(): ReadonlyMap<string, number> {
    return this.#member.lag
  }

  async start(): Promise<void> {
    this.#member.start()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await orAborted(this.#member.stop(), deadline)
  }

  health(): Health {
    const problems = this.#member.problem === undefined ? [] : [this.#member.problem]
    for (const [key, { problem }] of this.#partitions)
      if (problem !== undefined && this.#member.owns(key)) problems.push(`${key}: ${problem}`)
    return problems.length === 0 ? { ready: true } : { ready: true, detail: problems.join('; ') }
  }

  #state(key: string): PartitionState {
    let state = this.#partitions.get(key)
    if (state === undefined) {
      state = { assembler: new BatchAssembler(), wentBackFor: -1n }
      this.#partitions.set(key, state)
    }
    return state
  }

  async #take(fetched: ReceivedBatch, lease: Lease): Promise<void> {
    const state = this.#state(`${fetched.topic}/${fetched.partition}`)
    const { assembler } = state
    // Of a batch that is not whole yet the first parts are in an earlier fetch.
    const begin = assembler.waitsFrom ?? fetched.messages[0]!.offset
    let next: Next = 'wait'
    const headers: BatchHeader[] = []
    try {
      next = await this.#takeAll(fetched, state, lease, headers)
    } finally {
      if (next !== 'on') assembler.clear() // from where it goes on, everything comes again
      if (next === 'wait' && !lease.lost.aborted) lease.seek(begin)
    }
    if (next !== 'on' || lease.lost.aborted) return
    state.problem = undefined
    const end = fetched.messages.at(-1)!.offset + 1n
    if (end >= fetched.end) assembler.expire(this.#options.clock.monotonic() - INCOMPLETE_MS_MAX)
    const done = assembler.waitsFrom ?? end
    await lease.commit(done)
    lease.pass(end)
    this.#options.proven(headers)
    this.#member.done(fetched, done)
  }

  /** All of a fetch at once: they are stored together. */
  async #takeAll(fetched: ReceivedBatch, state: PartitionState, lease: Lease, headers: BatchHeader[]): Promise<Next> {
    const now = this.#options.clock.monotonic()
    const taken: { batch: AssembledBatch; answer: Promise<IntakeAnswer> }[] = []
    const foreign: ReceivedMessage[] = []
    for (const message of fetched.messages) {
      const batch = state.assembler.add(message, now)
      if (batch === 'foreign') foreign.push(message)
      else if (batch !== undefined) {
        const answer = this.#options.receive(batch.bytes, headers)
        answer.catch(() => {}) // it is awaited below, in its turn
        taken.push({ batch, answer })
      }
    }
    if (foreign.length > 0)
      await this.#putAside(fetched, foreign, 'malformed', 'the message is no part of a batch', lease)
    for (const { batch, answer } of taken) {
      const first = await answer
      // Its descriptions may have been in a batch that was still being taken; those before it are by now.
      const second = first.kind === 'need' ? await this.#options.receive(batch.bytes, headers) : first
      const next = await this.#settle(fetched, batch, second, state, lease)
      if (next === 'on') continue
      await Promise.allSettled(taken.map((other) => other.answer))
      return next
    }
    return 'on'
  }

  async #settle(
    fetched: ReceivedBatch,
    batch: AssembledBatch,
    answer: IntakeAnswer,
    state: PartitionState,
    lease: Lease,
  ): Promise<Next> {
    switch (answer.kind) {
      case 'stored':
        this.#counts.batches++
        return 'on'
      case 'unreadable': // the intake has kept it
        this.#counts.unreadable++
        return 'on'
      case 'damaged':
        this.#counts.unreadable++
        await this.#putAside(fetched, batch.messages, 'checksum', answer.reason, lease)
        return 'on'
      case 'need':
        return this.#undescribed(fetched, batch, answer.refs.length, state, lease)
      case 'full':
        state.problem = 'the store has no room: it waits'
        lease.pause(FULL_MS)
        return 'wait'
      case 'newer':
        state.problem = `${answer.reason}: it waits`
        this.#often.once('newer', (held) =>
          this.#options.log.error(
            { reason: answer.reason, held },
            'a batch is of a newer version, its partition waits',
          ),
        )
        lease.pause(NEWER_MS)
        return 'wait'
    }
  }

  async #undescribed(
    fetched: ReceivedBatch,
    batch: AssembledBatch,
    series: number,
    state: PartitionState,
    lease: Lease,
  ): Promise<Next> {
    const { offset, describedFrom } = batch
    if (describedFrom !== undefined && describedFrom < offset && state.wentBackFor !== offset) {
      state.wentBackFor = offset
      this.#counts.wentBack++
      this.#options.log.info(
        {
          topic: fetched.topic,
          partition: fetched.partition,
          offset: String(offset),
          to: String(describedFrom),
          series,
        },
        'series are not known here, reading goes back to their descriptions',
      )
      lease.seek(describedFrom)
      return 'back'
    }
    this.#counts.undescribed++
    const reason = `${series} series are described nowhere on the topic any more`
    this.#options.log.error(
      { topic: fetched.topic, partition: fetched.partition, offset: String(offset), series },
      reason,
    )
    await this.#putAside(fetched, batch.messages, 'undescribed', reason, lease)
    return 'on'
  }

  async #putAside(
    { topic, partition }: ReceivedBatch,
    messages: readonly ReceivedMessage[],
    code: string,
    reason: string,
    lease: Lease,
  ): Promise<void> {
    const { group, deadLetterTopic, clock } = this.#options
    const aside = deadLetterTopic === '' ? `${topic}.${group}.dlq` : deadLetterTopic
    await this.#kafka.ensureTopic(aside)
    const from = { topic, partition, group, now: clock.now() }
    const letter = { id: randomUUID(), code, reason, raw: '' }
    await this.#kafka.send(
      messages.map((message) => deadLetterMessage(aside, message, letter, from)),
      lease.lost,
    )
  }
}
