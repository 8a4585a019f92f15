/**
 * A shard seen from the main thread: messages to its thread and their replies. A new thread replays the journal; see
 * actor-thread.ts for when there is one.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BufferPool } from '../../proto/runtime/buffer-pool.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { workerPath } from '../../proto/runtime/worker-url.ts'
import type { Recovery } from '../journal/recovery.ts'
import type { RulesCoreOptions } from '../rules/rules-core.ts'
import type { TimedEmission } from '../rules/shard-rules.ts'
import { ActorThread } from './actor-thread.ts'
import type { ArrivalClock } from './arrival-clock.ts'
import type { PackedBodies, PackedOutcomes } from './hand-over.ts'
import { BodyPacker, unpackOutcomes } from './hand-over.ts'
import type { OutgoingBatch } from './outbox.ts'
import type { OverflowingMetric } from './overflow.ts'
import type { IncomingBody, Taken } from './reception.ts'
import type { RuleWindows, WindowBounds } from './rule-windows.ts'
import type { ShardOptions, Tick } from './shard-core.ts'
import type { CountsSnapshot } from './shard-counts.ts'

export type ShardTask =
  | {
      readonly kind: 'open'
      readonly options: ShardOptions
      readonly fault: string
      readonly merge: RulesCoreOptions | undefined
      /** Of the one that is open: what it gave out up to then is journalled, ms. */
      readonly kept: number
      /** Of the shard that was open before, when there was one: its end, ms. */
      readonly now: number
      /** Bytes of the journal that have been read, and how many there are; in memory that both threads see. */
      readonly replayed: Float64Array
    }
  | { readonly kind: 'take'; readonly now: number; readonly bodies: PackedBodies }
  | { readonly kind: 'tick'; readonly tick: Tick }
  | { readonly kind: 'figures' }
  | { readonly kind: 'rewind'; readonly from: number }
  | { readonly kind: 'describe'; readonly refs: readonly number[] }
  | { readonly kind: 'emission'; readonly now: number; readonly shard: number; readonly emission: TimedEmission }
  | { readonly kind: 'emit again'; readonly closed: number }
  | { readonly kind: 'bound windows'; readonly bounds: WindowBounds }
  | { readonly kind: 'close'; readonly now: number }

/** How far a shard is. */
export interface ShardProgress {
  readonly journalBytes: number
  readonly journalSegments: number
  /** Samples accepted since the journal was made, and how many of them are stored without a gap. */
  readonly end: number
  readonly cursor: number
  readonly series: number
  /** The latest arrival that was given out, ms. */
  readonly lastAt: number
  readonly state: string | undefined
  readonly due: boolean
  /** Windows of rules are given out only in part. */
  readonly emitting: boolean
  /** Which windows of rules its journal has all of. */
  readonly windows: WindowBounds
  readonly rules: RuleWindows['figures']
  /** In the rules' own thread: outputs appended, and groups that came too late. */
  readonly merged:
    | {
        readonly outputs: number
        readonly late: number
        /** By shard: what the last configuration gave out, and has journalled, up to which time, ms. */
        readonly keptBefore: readonly number[]
      }
    | undefined
}

/** A shard's figures, all of one moment. What a tick tells in between is how far it is: the rest takes longer to tell than a tick. */
export interface ShardSnapshot extends ShardProgress {
  readonly counts: CountsSnapshot
  readonly recovery: Recovery
  readonly overflowing: readonly OverflowingMetric[]
}

interface Replies {
  /** `setAside`: what is to be said of each record that could not be replayed. */
  open: ShardSnapshot & { readonly setAside: readonly string[] }
  take: {
    readonly outcomes: PackedOutcomes
    readonly due: boolean
    readonly state: string | undefined
    /** How long the thread worked on them. */
    readonly ms: number
  }
  tick: {
    readonly batches: OutgoingBatch[]
    readonly emission: TimedEmission | undefined
    readonly snapshot: ShardProgress
  }
  figures: ShardSnapshot
  rewind: undefined
  describe: { readonly found: number; readonly section: Uint8Array<ArrayBuffer> }
  /** `kept`: the latest emission of the shard whose outputs are all in the journal, by its time, ms. */
  emission: { readonly kept: number; readonly state: string | undefined }
  'emit again': undefined
  'bound windows': undefined
  close: ShardSnapshot
}
export type ShardReply<K extends ShardTask['kind']> = Replies[K]

const FIGURES_MS = 1000

/** What a shard is opened with, and may be opened anew with. */
export interface ShardSetup {
  readonly shard: ShardOptions
  /** Of the rules' own thread. */
  readonly merge: RulesCoreOptions | undefined
}

export interface ShardThreadOptions extends ShardSetup {
  readonly name: string
  readonly fault: string
  readonly clock: ArrivalClock
  readonly buffers: BufferPool
  readonly log: Logger
}

export class ShardThread implements Service {
  readonly name: string
  readonly #actor: ActorThread<ShardTask>
  #options: ShardThreadOptions
  #snapshot: ShardSnapshot | undefined
  #state: string | undefined
  #bounds: WindowBounds | undefined
  #closing = false
  /** A thread has its own. */
  #packer = new BodyPacker()
  #taking = false
  readonly #replayed = new Float64Array(new SharedArrayBuffer(16))

  constructor(options: ShardThreadOptions) {
    this.#options = options
    this.name = options.name
    this.#actor = new ActorThread({
      name: options.name,
      worker: workerPath('./shard.worker', import.meta.url),
      open: (generation) => {
        this.#packer = new BodyPacker()
        return this.#openTask(generation, 0)
      },
      opened: async (reply, ask) => {
        this.#opened(reply as ShardReply<'open'>)
        if (this.#bounds !== undefined) await ask({ kind: 'bound windows', bounds: this.#bounds })
      },
      log: options.log,
    })
  }

  /** Grows whenever the thread is a new one, or its shard was opened anew. */
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

  /** The latest figures; undefined before the first start. Each tick changes how far it is; counts are those of the last {@link refresh}. */
  get snapshot(): ShardSnapshot | undefined {
    return this.#snapshot
  }

  async start(): Promise<void> {
    await this.#actor.ready()
    const recovery = this.#snapshot?.recovery
    if (recovery !== undefined && (recovery.lost > 0 || recovery.quarantined > 0)) {
      this.#options.log.error({ shard: this.name, ...recovery }, 'journal was damaged')
    }
  }

  async stop(): Promise<void> {
    if (!this.#actor.running) return
    this.#closing = true
    this.#snapshot = (await this.#actor.close({
      kind: 'close',
      now: this.#options.clock.now(),
    })) as ShardReply<'close'>
  }

  health(): Health {
    const problem = this.#actor.failure ?? this.#state
    if (problem !== undefined) return { ready: false, detail: problem }
    return this.#snapshot === undefined ? { ready: false, detail: 'replaying the journal' } : { ready: true }
  }

  /** Takes bodies, of one call at a time; their memory goes to the pool. @throws FleetmeterError `FM_SHARD` when the thread fails */
  async take(
    bodies: readonly IncomingBody[],
  ): Promise<{ readonly outcomes: readonly Outcome<Taken>[]; readonly due: boolean; readonly ms: number }> {
    await this.#actor.ready()
    const { clock, buffers } = this.#options
    if (this.#taking) throw new FleetmeterError('FM_SHARD', 'Bodies are being taken, and others would take their place')
    const packed = this.#packer.pack(bodies)
    for (const { body } of bodies) buffers.give(body)
    this.#taking = true
    const reply = await this.#ask({ kind: 'take', now: clock.now(), bodies: packed }).finally(() => {
      this.#taking = false
    })
    this.#state = reply.state
    return { outcomes: unpackOutcomes(reply.outcomes), due: reply.due, ms: reply.ms }
  }

  /**
   * @param since the generation that `stored` and `emissionsKept` are about; another one is not told of them
   * @returns with the generation whose batches these are
   */
  async tick(
    tick: Omit<Tick, 'now' | 'monotonic'>,
    since: number,
  ): Promise<ShardReply<'tick'> & { readonly generation: number }> {
    const { clock } = this.#options
    await this.#actor.ready()
    const { generation } = this
    const told = since === generation ? tick : { ...tick, stored: [], emissionsKept: 0 }
    const reply = await this.#ask({
      kind: 'tick',
      tick: { ...told, now: clock.now(), monotonic: clock.monotonic() },
    })
    // In its place: another one for each tick would be for a full collection to find.
    if (this.#snapshot !== undefined) Object.assign(this.#snapshot, reply.snapshot)
    this.#state = reply.snapshot.state
    return { ...reply, generation }
  }

  /**
   * Opens the shard anew with other options, as after a restart. What was asked before is answered by the one of before, what is
   * asked from now on by the new one: nobody is refused meanwhile. Windows are not bound any more.
   * @param kept what was given out up to then is journalled, ms: the shard itself hears of it a tick later
   * @throws FleetmeterError `FM_SHARD`; whoever asks next opens it, with the new options
   */
  async reopen(setup: ShardSetup, kept = 0): Promise<void> {
    await this.#actor.settled() // with the options of before
    this.#options = { ...this.#options, ...setup }
    this.#bounds = undefined
    this.#actor.forgetFailures()
    if (!this.#actor.running) {
      await this.#actor.ready()
      return
    }
    const generation = this.#actor.renew() // from here on: the thread works in order
    this.#opened((await this.#actor.ask(this.#openTask(generation, kept))) as ShardReply<'open'>)
  }

  /** To the rules' own thread: windows that a shard has given out. @returns which emission's outputs are journalled, by its time, ms */
  async emission(shard: number, emission: TimedEmission): Promise<number> {
    const now = this.#options.clock.now()
    const { kept, state } = await this.#ask({ kind: 'emission', now, shard, emission })
    this.#state = state
    return kept
  }

  /** Windows of rules are given out once more, but those that were closed at a time, ms. */
  async emitAgain(closed: number): Promise<void> {
    await this.#ask({ kind: 'emit again', closed })
  }

  /** For this thread and those that come after it. */
  async boundWindows(bounds: WindowBounds): Promise<void> {
    this.#bounds = bounds
    await this.#ask({ kind: 'bound windows', bounds })
  }

  /**
   * The figures of now: whatever was acknowledged before is in them. A thread that is away, or busy for longer than a second,
   * keeps those it gave last.
   */
  async refresh(): Promise<void> {
    if (!this.#actor.running || this.#closing) return
    const { generation } = this
    const figures = this.#ask({ kind: 'figures' }).then(
      (snapshot) => {
        if (generation === this.generation) this.#snapshot = snapshot
      },
      // The failure is on record: it was logged, and the thread is replaced.
      () => {},
    )
    await Promise.race([figures, sleep(FIGURES_MS, undefined, { ref: false })])
  }

  async rewind(from: number): Promise<void> {
    await this.#ask({ kind: 'rewind', from })
  }

  async describe(refs: readonly number[]): Promise<ShardReply<'describe'>> {
    return this.#ask({ kind: 'describe', refs })
  }

  #openTask(generation: number, kept: number): ShardTask {
    const { shard, merge, fault, clock } = this.#options
    return {
      kind: 'open',
      options: { ...shard, opening: generation },
      fault,
      merge,
      kept,
      now: clock.now(),
      replayed: this.#replayed,
    }
  }

  #opened({ setAside, ...snapshot }: ShardReply<'open'>): void {
    for (const reason of setAside) this.#options.log.error({ shard: this.name, reason }, 'a record was set aside')
    this.#snapshot = snapshot
    this.#state = snapshot.state
    this.#options.clock.reached(snapshot.lastAt)
  }

  #ask<K extends ShardTask['kind']>(task: ShardTask & { readonly kind: K }): Promise<ShardReply<K>> {
    return this.#actor.ask(task) as Promise<ShardReply<K>> // each message has its own reply
  }
}
