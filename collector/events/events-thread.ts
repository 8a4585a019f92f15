/** The events lane seen from the main thread: messages to its thread and their replies. A new thread replays the journal. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { workerPath } from '../../proto/runtime/worker-url.ts'
import type { BatchSource } from '../forward/forward-service.ts'
import { ActorThread } from '../shard/actor-thread.ts'
import type { ArrivalClock } from '../shard/arrival-clock.ts'
import type { OutgoingBatch } from '../shard/outbox.ts'
import type { EventsOptions, EventsSnapshot, EventsTick } from './events-core.ts'
import type { Answered, IncomingEvents } from './incoming.ts'

export type EventsTask =
  | {
      readonly kind: 'open'
      readonly options: EventsOptions
      readonly fault: string
      /** Bytes of the journal that have been read, and how many there are; in memory that both threads see. */
      readonly replayed: Float64Array
    }
  | { readonly kind: 'take'; readonly now: number; readonly requests: readonly IncomingEvents[] }
  | { readonly kind: 'tick'; readonly tick: EventsTick }
  | { readonly kind: 'figures' }
  | { readonly kind: 'rewind'; readonly from: number }
  | { readonly kind: 'limit'; readonly decodedBytesMax: number }
  | { readonly kind: 'close'; readonly now: number }

interface Replies {
  open: EventsSnapshot
  take: {
    readonly outcomes: readonly Outcome<Answered>[]
    readonly due: boolean
    readonly state: string | undefined
    /** How long the thread worked on them. */
    readonly ms: number
  }
  tick: { readonly batches: readonly OutgoingBatch[]; readonly snapshot: EventsSnapshot }
  figures: EventsSnapshot
  rewind: undefined
  limit: undefined
  close: EventsSnapshot
}
export type EventsReply<K extends EventsTask['kind']> = Replies[K]

export interface EventsThreadOptions {
  readonly lane: EventsOptions
  readonly fault: string
  readonly clock: ArrivalClock
  readonly log: Logger
}

/** Name of the lane, of its journal and of its rows on /metrics. */
export const EVENTS_LANE = 'events'
const FIGURES_MS = 1000

export class EventsThread implements Service, BatchSource {
  readonly name: string = EVENTS_LANE
  #options: EventsThreadOptions
  readonly #actor: ActorThread<EventsTask>
  readonly #replayed = new Float64Array(new SharedArrayBuffer(16))
  #snapshot: EventsSnapshot | undefined
  #state: string | undefined
  #closing = false

  constructor(options: EventsThreadOptions) {
    this.#options = options
    const { fault, clock, log } = options
    this.#actor = new ActorThread({
      name: this.name,
      worker: workerPath('./events.worker', import.meta.url),
      open: () => ({ kind: 'open', options: this.#options.lane, fault, replayed: this.#replayed }),
      opened: (reply) => {
        const snapshot = reply as EventsSnapshot
        this.#snapshot = snapshot
        this.#state = snapshot.state
        clock.reached(snapshot.lastAt)
      },
      log,
    })
  }

  get generation(): number {
    return this.#actor.generation
  }

  get news(): number {
    return this.#actor.news
  }

  /** How much of the journal has been read at the start, of how much; both 0 before. */
  get replay(): { readonly done: number; readonly of: number } {
    return { done: this.#replayed[0]!, of: this.#replayed[1]! }
  }

  /** The latest figures; undefined before the first start. */
  get snapshot(): EventsSnapshot | undefined {
    return this.#snapshot
  }

  async start(): Promise<void> {
    await this.#actor.ready()
    const recovery = this.#snapshot?.recovery
    if (recovery !== undefined && (recovery.lost > 0 || recovery.quarantined > 0))
      this.#options.log.error({ shard: this.name, ...recovery }, 'journal was damaged')
  }

  async stop(): Promise<void> {
    if (!this.#actor.running) return
    this.#closing = true
    this.#snapshot = (await this.#actor.close({ kind: 'close', now: this.#options.clock.now() })) as EventsSnapshot
  }

  health(): Health {
    const problem = this.#actor.failure ?? this.#state
    if (problem !== undefined) return { ready: false, detail: problem }
    return this.#snapshot === undefined ? { ready: false, detail: 'replaying the journal' } : { ready: true }
  }

  /** Takes requests; the memory of their bodies is given away. @throws FleetmeterError `FM_SHARD` when the thread fails */
  async take(
    requests: readonly IncomingEvents[],
  ): Promise<{ readonly outcomes: readonly Outcome<Answered>[]; readonly due: boolean; readonly ms: number }> {
    await this.#actor.ready()
    const buffers = requests.map(({ body }) => body.buffer as ArrayBuffer)
    const reply = await this.#ask({ kind: 'take', now: this.#options.clock.now(), requests }, buffers)
    this.#state = reply.state
    return reply
  }

  async tick(
    { stored, roomBatches, roomBytes, urgent }: Pick<EventsTick, 'stored' | 'roomBatches' | 'roomBytes' | 'urgent'>,
    since: number,
  ): Promise<EventsReply<'tick'> & { readonly generation: number }> {
    const { clock } = this.#options
    await this.#actor.ready()
    const { generation } = this
    const times = { now: clock.now(), monotonic: clock.monotonic() }
    const told = since === generation ? stored : []
    const tick = { ...times, stored: told, roomBatches, roomBytes, urgent }
    const reply = await this.#ask({ kind: 'tick', tick })
    this.#snapshot = reply.snapshot
    this.#state = reply.snapshot.state
    return { ...reply, generation }
  }

  /**
   * The figures of now: whatever was acknowledged before is in them. A thread that is away, or busy for longer than a second,
   * keeps those it gave last.
   */
  async refresh(): Promise<void> {
    if (!this.#actor.running || this.#closing) return
    const figures = this.#ask({ kind: 'figures' }).then(
      (snapshot) => {
        this.#snapshot = snapshot
      },
      // The failure is on record: it was logged, and the thread is replaced.
      () => {},
    )
    await Promise.race([figures, sleep(FIGURES_MS, undefined, { ref: false })])
  }

  async rewind(from: number): Promise<void> {
    await this.#ask({ kind: 'rewind', from })
  }

  /** From now on a compressed body may decode to so many bytes. Never rejects. */
  async limit(decodedBytesMax: number): Promise<void> {
    this.#options = { ...this.#options, lane: { ...this.#options.lane, decodedBytesMax } }
    await this.#actor.settled() // one that is being opened may still have the old one
    if (!this.#actor.running) return
    // Should it fail, that is on record, and the thread that takes its place is opened with the new one.
    await this.#ask({ kind: 'limit', decodedBytesMax }).catch(() => {})
  }

  /** Nobody asks: events describe themselves. */
  describe(): Promise<never> {
    return Promise.reject(new Error('a batch of events needs no descriptions'))
  }

  #ask<K extends EventsTask['kind']>(
    task: EventsTask & { readonly kind: K },
    transferList: ArrayBuffer[] = [],
  ): Promise<EventsReply<K>> {
    return this.#actor.ask(task, transferList) as Promise<EventsReply<K>> // each message has its own reply
  }
}
