/**
 * The events lane's way out over Kafka, in the place of link.ts: a batch counts as stored for the journal when brokers have its items.
 *
 *     batch ──▶ items ──▶ their topics ──────────────────────────┬──▶ "stored": the cursor moves
 *                 └─ larger than any broker takes ──▶ the intake, over HTTP ─┘
 *
 * One road for an item: what is on a topic is not sent over HTTP too. Letters are on our own topic, since nobody else reads that. While
 * no aggregator answers, a batch that has something too large for Kafka waits, and those behind it go on as far as batches may be under way.
 */
import type { EventPublisher } from '../../proto/kafka/event-publisher.ts'
import { decodeEventBatch, encodeEventBatch } from '../../proto/wire/event-batch.ts'
import type { BatchLink, LinkAnswer } from './link.ts'

export class KafkaEventsLink implements BatchLink {
  readonly #publisher: EventPublisher
  readonly #aside: BatchLink
  readonly #counts = { attempts: 0, aside: 0 }
  #asideWaits = 0

  /** @param aside to the intake: for what no broker takes */
  constructor(publisher: EventPublisher, aside: BatchLink) {
    this.#publisher = publisher
    this.#aside = aside
  }

  get problem(): string | undefined {
    return this.#publisher.problem ?? this.#aside.problem
  }

  get counts(): { readonly attempts: number; readonly failures: number } {
    const { attempts, failures } = this.#aside.counts
    return { attempts: this.#counts.attempts + attempts, failures: this.#publisher.counts.failures + failures }
  }

  /** Items that brokers have; those that went aside; attempts that failed; bytes on their way. */
  get figures(): Readonly<Record<'published' | 'aside' | 'failures' | 'bytesInFlight', number>> {
    const { published, failures } = this.#publisher.counts
    return { published, aside: this.#counts.aside, failures, bytesInFlight: this.#publisher.bytesInFlight }
  }

  get url(): string {
    return this.#publisher.address
  }

  /** Publishes until brokers have all of it. Rejects only when the signal aborts. */
  async send(bytes: Uint8Array, signal: AbortSignal): Promise<LinkAnswer> {
    const { header, items } = decodeEventBatch(bytes) // made by this process a moment ago
    this.#counts.attempts++
    const tooLarge = await this.#publisher.publish(items, signal)
    if (tooLarge.length === 0) return { kind: 'stored', expired: 0 }
    this.#asideWaits++
    try {
      const answer = await this.#aside.send(encodeEventBatch(header, tooLarge), signal)
      this.#counts.aside += tooLarge.length
      return answer
    } finally {
      this.#asideWaits--
    }
  }

  /** A broker waits for nothing; the intake may. */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#asideWaits > 0) await this.#aside.flush(signal)
  }

  close(): void {
    this.#aside.close()
  }
}
