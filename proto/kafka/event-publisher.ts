/**
 * Events onto their Kafka topics: the way out of a collector's events lane where KAFKA_BROKERS is set, and of what an aggregator
 * publishes itself.
 *
 * There is no giving up: what brokers do not take stays with whoever called, who has it in a journal and a cursor in that. A login that is refused is tried
 * again too, with long pauses, since it is put right where the broker is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReceivedItem } from '../events/event.ts'
import { FleetmeterError, messageOf } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { RateLimitedLog } from '../runtime/log.ts'
import type { EventTopics } from './event-message.ts'
import { eventMessage } from './event-message.ts'
import type { Kafka, OutgoingMessage } from './port.ts'
import { bytesOf } from './requests.ts'

export interface EventPublisherOptions extends EventTopics {
  /** Most that is on its way at a time, bytes; more waits its turn. */
  readonly bytesMax: number
  readonly backoffMaxMs: number
  readonly log: Logger
}

const LOG_EVERY_MS = 30_000
/** How often it is asked whether a topic has got a partition that somebody asked for, ms. */
const PARTITIONS_LOOK_MS = 60_000

export class EventPublisher {
  readonly #kafka: Kafka
  readonly #options: EventPublisherOptions
  readonly #often: RateLimitedLog
  #bytesInFlight = 0
  #waiting: (() => void)[] = []
  readonly #partitions = new Map<string, { readonly count: number; readonly at: number }>()
  #problem: string | undefined
  readonly #counts = { published: 0, tooLarge: 0, failures: 0 }

  constructor(kafka: Kafka, options: EventPublisherOptions) {
    this.#kafka = kafka
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
  }

  get counts(): { readonly published: number; readonly tooLarge: number; readonly failures: number } {
    return this.#counts
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight
  }

  /** Why events do not get through; undefined while they do. */
  get problem(): string | undefined {
    return this.#problem ?? this.#kafka.problem
  }

  /** Where they go, for a person. */
  get address(): string {
    return this.#kafka.address
  }

  /**
   * Resolves when brokers have them. Again with the same items: the same events, once more on their topics.
   * @param signal when it aborts, it rejects; some may be on their topics
   * @returns those that are larger than any broker takes here, and are not on a topic
   */
  async publish(items: readonly ReceivedItem[], signal: AbortSignal): Promise<readonly ReceivedItem[]> {
    const messages = items.map((item) => eventMessage(item, this.#options))
    for (const [i, message] of messages.entries()) messages[i] = await this.#placed(message, signal)
    const bytes = messages.reduce((sum, message) => sum + bytesOf(message), 0)
    await this.#room(bytes, signal)
    this.#bytesInFlight += bytes
    try {
      const refused = new Set(await this.#send(messages, signal))
      this.#counts.published += items.length - refused.size
      this.#counts.tooLarge += refused.size
      return items.filter((_, i) => refused.has(messages[i]!))
    } finally {
      this.#bytesInFlight -= bytes
      const waiting = this.#waiting
      this.#waiting = []
      for (const go of waiting) go()
    }
  }

  async #room(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.#bytesInFlight > 0 && this.#bytesInFlight + bytes > this.#options.bytesMax) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const go = (): void => {
          signal.removeEventListener('abort', go)
          resolve()
        }
        this.#waiting.push(go)
        signal.addEventListener('abort', go)
      })
    }
    signal.throwIfAborted()
  }

  /** A partition that was asked for and is not there would never be written to: then the key chooses. */
  async #placed(message: OutgoingMessage, signal: AbortSignal): Promise<OutgoingMessage> {
    const { topic, partition } = message
    if (partition === undefined || partition < (await this.#partitionsOf(topic, partition, signal))) return message
    const { partition: _, ...keyed } = message
    return keyed
  }

  async #partitionsOf(topic: string, asked: number, signal: AbortSignal): Promise<number> {
    const known = this.#partitions.get(topic)
    const now = performance.now()
    if (known !== undefined && (asked < known.count || now - known.at < PARTITIONS_LOOK_MS)) return known.count
    const count = await this.#endlessly(async () => {
      await this.#kafka.ensureTopic(topic)
      return this.#kafka.partitions(topic)
    }, signal)
    this.#partitions.set(topic, { count, at: now })
    return count
  }

  /** @returns those that are too large: found by halves, as a broker does not say which */
  async #send(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly OutgoingMessage[]> {
    try {
      await this.#endlessly(async () => {
        for (const topic of new Set(messages.map((message) => message.topic))) await this.#kafka.ensureTopic(topic)
        await this.#kafka.send(messages, signal)
      }, signal)
      return []
    } catch (error) {
      if (!(error instanceof FleetmeterError && error.code === 'FM_KAFKA_TOO_LARGE')) throw error
      if (messages.length === 1) return messages
      const half = Math.ceil(messages.length / 2)
      const first = await this.#send(messages.slice(0, half), signal)
      return [...first, ...(await this.#send(messages.slice(half), signal))]
    }
  }

  /** Until it is done. Rejects when the signal aborts, and with what no further attempt would make otherwise: a message too large. */
  async #endlessly<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        const done = await attempt()
        this.#problem = undefined
        return done
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof FleetmeterError && error.code === 'FM_KAFKA_TOO_LARGE') throw error
        this.#counts.failures++
        this.#problem = messageOf(error)
        this.#often.once('publish', (held) =>
          this.#options.log.warn({ error: this.#problem, held }, 'kafka does not take events, they are sent again'),
        )
        await sleep(this.#options.backoffMaxMs, undefined, { signal })
      }
    }
  }
}
