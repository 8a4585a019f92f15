/**
 * Batches of events come in here, are split by what they are, and are answered when every item is durable.
 *
 *     bytes ──▶ decode, check ──┬── operational ──▶ owner (durable in its log) ──┐
 *                               └── others, letters ──▶ rows in ClickHouse ──────┴──▶ "stored"
 *
 * Sending a batch again, in any cut, changes nothing: an event is (tenant, event_id). A batch of the same range that comes while the
 * first one is under way, since its sender waited no longer, gets that one's answer: a third and fourth copy would take room.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ReceivedEvent, ReceivedItem, ReceivedLetter, Road } from '../../proto/events/event.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { EventBatch, EventBatchHeader } from '../../proto/wire/event-batch.ts'
import { decodeEventBatch } from '../../proto/wire/event-batch.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Admitted } from '../owner/admission.ts'
import type { Owner } from '../owner/owner.ts'
import { eventRow, timeOf } from '../store/record-rows.ts'
import type { RecordStore } from '../store/record-store.ts'
import { headerProblem, itemProblem } from './event-checks.ts'
import { isOperational } from './operational.ts'

/** Batches on their way into the owner log: the disk may be slow. */
const TAKING_BYTES_MAX = 64 * 1024 * 1024

/** How a batch is answered; `later`: nothing is wrong with it. */
export type EventsAnswer =
  | { readonly kind: 'stored'; readonly expired: number }
  | { readonly kind: 'damaged' | 'unreadable' | 'newer' | 'later'; readonly reason: string }

export interface EventsIntakeOptions {
  readonly quarantine: string
  /** Events older than this are about to expire and are not stored, ms. */
  readonly lateMaxMs: number
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Of items, by the road they came by: received = stored + duplicate + dead + expired + refused by reason + waiting, at any moment.
 * `stored` counts an event when it is durable, in the log or in ClickHouse; `dead` a letter when it is kept. Events that no decision
 * hangs on are not looked up, so that repeats of them are in `stored`.
 */
export interface RoadCounts {
  received: number
  stored: number
  duplicate: number
  dead: number
  expired: number
  waiting: number
  readonly refused: Record<Refusal, number>
}

/** `full`: no room. `log`: the owner log takes nothing. `look_up`: ClickHouse could not say whether older events are repeats. */
export const REFUSALS = ['full', 'log', 'look_up'] as const
type Refusal = (typeof REFUSALS)[number]

export class EventsIntake {
  readonly #owner: Pick<Owner, 'take'>
  readonly #store: Pick<RecordStore, 'add' | 'hasRoom' | 'flush'>
  readonly #options: EventsIntakeOptions
  readonly #often: RateLimitedLog
  readonly #underWay = new Map<string, Promise<EventsAnswer>>()
  readonly #roads = new Map<Road, RoadCounts>()
  #counts = { batches: 0, bytes: 0, repeated: 0, unreadable: 0 }
  #quarantined = 0
  /** Bytes of batches that the owner has not logged yet. */
  #taking = 0

  constructor(
    owner: Pick<Owner, 'take'>,
    store: Pick<RecordStore, 'add' | 'hasRoom' | 'flush'>,
    options: EventsIntakeOptions,
  ) {
    this.#owner = owner
    this.#store = store
    this.#options = options
    this.#often = new RateLimitedLog(10_000, () => options.clock.monotonic())
  }

  get counts(): Readonly<{ batches: number; bytes: number; repeated: number; unreadable: number }> {
    return this.#counts
  }

  get roads(): ReadonlyMap<Road, Readonly<RoadCounts>> {
    return this.#roads
  }

  /** Takes a batch. Resolves when its items are durable, or at once when they will not be. */
  async receive(bytes: Uint8Array): Promise<EventsAnswer> {
    let batch: EventBatch
    try {
      batch = decodeEventBatch(bytes)
      const wrong = headerProblem(batch.header)
      if (wrong !== undefined) throw new WireError('malformed', `header: ${wrong}`)
      for (const [i, item] of batch.items.entries()) {
        const problem = itemProblem(item)
        if (problem !== undefined) throw new WireError('malformed', `item ${i + 1}: ${problem}`)
      }
    } catch (error) {
      if (error instanceof WireError) return this.#undecodable(bytes, error)
      throw error
    }
    this.#counts.batches++
    this.#counts.bytes += bytes.length
    const { header, items } = batch
    const range = rangeOf(header)
    const first = this.#underWay.get(range)
    if (first !== undefined) {
      this.#counts.repeated++
      if (header.urgent) this.#store.flush()
      return first
    }
    const answer = this.take(items, bytes.length)
    if (header.urgent) this.#store.flush()
    this.#underWay.set(range, answer)
    try {
      return await answer
    } finally {
      this.#underWay.delete(range)
    }
  }

  /**
   * Takes items that are what event-checks.ts asks for. Resolves when they are durable, or at once when they will not be.
   * @param bytes of their JSON
   */
  async take(items: readonly ReceivedItem[], bytes: number): Promise<EventsAnswer> {
    const { operational, others, letters, expired } = this.#split(items)
    const full = this.#taking > 0 && this.#taking + bytes > TAKING_BYTES_MAX
    if (full || !this.#store.hasRoom(bytes)) {
      for (const item of [...operational, ...others, ...letters]) this.#settle(item, { refused: 'full' })
      return {
        kind: 'later',
        reason: full ? 'The owner log does not take events fast enough' : 'ClickHouse does not take rows fast enough',
      }
    }
    const stored = others.length + letters.length === 0 ? undefined : this.#insert(others, letters)
    const outcomes = operational.length === 0 ? [] : await this.#log(operational, bytes)
    for (const [i, outcome] of outcomes.entries()) this.#settle(operational[i]!, outcome)
    await stored
    const refusal = outcomes.find((outcome) => typeof outcome === 'object')
    if (refusal === undefined) return { kind: 'stored', expired }
    this.#often.once('refused', (held) =>
      this.#options.log.warn({ error: messageOf(refusal.error), held }, 'events cannot be taken now'),
    )
    return { kind: 'later', reason: messageOf(refusal.error) }
  }

  async #log(events: readonly ReceivedEvent[], bytes: number): Promise<Admitted[]> {
    this.#taking += bytes
    try {
      return await this.#owner.take(events)
    } finally {
      this.#taking -= bytes
    }
  }

  /** Counts every item as received, and those that are too old as expired. */
  #split(items: readonly ReceivedItem[]): {
    readonly operational: ReceivedEvent[]
    readonly others: ReceivedEvent[]
    readonly letters: ReceivedLetter[]
    readonly expired: number
  } {
    const oldest = this.#options.clock.now() - this.#options.lateMaxMs
    const [operational, others, letters]: [ReceivedEvent[], ReceivedEvent[], ReceivedLetter[]] = [[], [], []]
    let expired = 0
    for (const item of items) {
      const counts = this.#road(item.road)
      counts.received++
      if ('dead' in item) letters.push(item)
      else if (timeOf(item) < oldest) {
        counts.expired++
        expired++
        continue
      } else if (isOperational(item)) operational.push(item)
      else others.push(item)
      counts.waiting++
    }
    return { operational, others, letters, expired }
  }

  async #insert(events: readonly ReceivedEvent[], letters: readonly ReceivedLetter[]): Promise<void> {
    await this.#store.add(
      events.map((received) => eventRow(received, 0, JSON.stringify(received.event))),
      letters,
    )
    for (const received of events) this.#settle(received, 'logged')
    for (const letter of letters) this.#settle(letter, 'logged')
  }

  #settle(item: ReceivedItem, outcome: Admitted | { readonly refused: 'full' }): void {
    const counts = this.#road(item.road)
    counts.waiting--
    if (typeof outcome === 'object') counts.refused[outcome.refused]++
    else if (outcome === 'duplicate') counts.duplicate++
    else if ('dead' in item) counts.dead++
    else counts.stored++
  }

  #road(road: Road): RoadCounts {
    let counts = this.#roads.get(road)
    if (counts === undefined) {
      const refused = { full: 0, log: 0, look_up: 0 }
      counts = { received: 0, stored: 0, duplicate: 0, dead: 0, expired: 0, waiting: 0, refused }
      this.#roads.set(road, counts)
    }
    return counts
  }

  async #undecodable(bytes: Uint8Array, error: WireError): Promise<EventsAnswer> {
    if (error.code === 'unsupported') return { kind: 'newer', reason: error.message }
    if (error.code === 'checksum') return { kind: 'damaged', reason: error.message }
    this.#counts.unreadable++
    const file = join(this.#options.quarantine, `events-${this.#options.clock.now()}-${this.#quarantined++}.bin`)
    this.#options.log.error({ file, reason: error.message }, 'batch of events cannot be read, kept aside')
    // The collector goes on after this answer: when there is no copy, it has to keep its own.
    await writeFile(file, bytes, { flush: true })
    return { kind: 'unreadable', reason: error.message }
  }
}

function rangeOf({ collector, session, lane, from, to }: EventBatchHeader): string {
  return `${collector}/${session}/${lane}/${from}-${to}`
}
