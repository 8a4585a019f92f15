/**
 * A shard seen from the main thread: messages to its thread and their replies; the only file that imports `piscina`.
 *
 * The thread is a pool of one. When it fails (a bug, out of memory) the call that saw it rejects, the next one starts a new
 * thread, and that replays the journal: what was acknowledged is on disk. `generation` tells the two apart, since answers
 * to batches of the old thread mean nothing to the new one.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Piscina } from 'piscina'
import type { BufferPool } from '../../proto/runtime/buffer-pool.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { workerPath } from '../../proto/runtime/worker-url.ts'
import type { Recovery } from '../journal/recovery.ts'
import type { RulesCoreOptions } from '../rules/rules-core.ts'
import type { TimedEmission } from '../rules/shard-rules.ts'
import type { ArrivalClock } from './arrival-clock.ts'
import type { PackedBodies, PackedOutcomes } from './hand-over.ts'
import { packBodies, unpackOutcomes } from './hand-over.ts'
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

/** A shard's figures, all of one moment. */
export interface ShardSnapshot {
  readonly counts: CountsSnapshot
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
  readonly recovery: Recovery
  /** Which windows of rules its journal has all of. */
  readonly windows: WindowBounds
  readonly rules: RuleWindows['figures']
  readonly overflowing: readonly OverflowingMetric[]
  /** In the rules' own thread: outputs appended, and groups that came too late. */
  readonly merged: { readonly outputs: number; readonly late: number } | undefined
}

interface Replies {
  open: ShardSnapshot
  take: {
    readonly outcomes: PackedOutcomes
    readonly due: boolean
    readonly state: string | undefined
    /** How long the thread worked on them. */
    readonly ms: number
    /** Of the bodies, for the next ones. */
    readonly buffers: readonly ArrayBuffer[]
  }
  tick: {
    readonly batches: OutgoingBatch[]
    readonly emission: TimedEmission | undefined
    readonly snapshot: ShardSnapshot
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

/** Tasks that may wait inside the thread: several let it go on without being woken for each. */
const TASKS_IN_THREAD = 8
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
  #options: ShardThreadOptions
  #pool: Piscina | undefined
  #generation = 0
  #failure: string | undefined
  #snapshot: ShardSnapshot | undefined
  #state: string | undefined
  #opening: Promise<Piscina> | undefined
  #bounds: WindowBounds | undefined
  #closing = false
  readonly #replayed = new Float64Array(new SharedArrayBuffer(16))

  constructor(options: ShardThreadOptions) {
    this.#options = options
    this.name = options.name
  }

  /** Grows whenever the thread is a new one, or its shard was opened anew. */
  get generation(): number {
    return this.#generation
  }

  /** How much of the journal has been read at the start, of how much; both 0 before. */
  get replay(): { readonly done: number; readonly of: number } {
    return { done: this.#replayed[0]!, of: this.#replayed[1]! }
  }

  /** The latest figures; undefined before the first start. */
  get snapshot(): ShardSnapshot | undefined {
    return this.#snapshot
  }

  async start(): Promise<void> {
    await this.#opened()
    const recovery = this.#snapshot?.recovery
    if (recovery !== undefined && (recovery.lost > 0 || recovery.quarantined > 0)) {
      this.#options.log.error({ shard: this.name, ...recovery }, 'journal was damaged')
    }
  }

  async stop(): Promise<void> {
    const pool = this.#pool
    if (pool === undefined) return
    this.#closing = true
    try {
      this.#snapshot = await this.#run(pool, { kind: 'close', now: this.#options.clock.now() })
    } finally {
      this.#pool = undefined
      await pool.destroy()
    }
  }

  health(): Health {
    const problem = this.#failure ?? this.#state
    if (problem !== undefined) return { ready: false, detail: problem }
    return this.#snapshot === undefined ? { ready: false, detail: 'replaying the journal' } : { ready: true }
  }

  /** Takes bodies; the memory of large ones is given away. @throws FleetmeterError `FM_SHARD` when the thread fails */
  async take(
    bodies: readonly IncomingBody[],
  ): Promise<{ readonly outcomes: readonly Outcome<Taken>[]; readonly due: boolean; readonly ms: number }> {
    const pool = await this.#opened()
    const { clock, buffers: kept } = this.#options
    const { packed, buffers } = packBodies(bodies, (length) => kept.take(length))
    const reply = await this.#run(pool, { kind: 'take', now: clock.now(), bodies: packed }, buffers)
    this.#state = reply.state
    for (const buffer of reply.buffers) kept.give(buffer)
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
    const pool = await this.#opened()
    const generation = this.#generation
    const told = since === generation ? tick : { ...tick, stored: [], emissionsKept: 0 }
    const reply = await this.#run(pool, {
      kind: 'tick',
      tick: { ...told, now: clock.now(), monotonic: clock.monotonic() },
    })
    this.#snapshot = reply.snapshot
    this.#state = reply.snapshot.state
    return { ...reply, generation }
  }

  /**
   * Opens the shard anew with other options, as after a restart. What was asked before is answered by the one of before, what is
   * asked from now on by the new one: nobody is refused meanwhile. Windows are not bound any more.
   * @throws FleetmeterError `FM_SHARD`; whoever asks next opens it, with the new options
   */
  async reopen(setup: ShardSetup): Promise<void> {
    while (this.#opening !== undefined) await this.#opening.catch(() => {}) // with the options of before; whoever asked is told
    this.#options = { ...this.#options, ...setup }
    this.#bounds = undefined
    const pool = this.#pool
    if (pool === undefined) {
      await this.#opened()
      return
    }
    this.#generation++ // from here on: the thread works in order
    const { shard, merge, fault, clock } = this.#options
    this.#snapshot = await this.#run(pool, {
      kind: 'open',
      options: { ...shard, opening: this.#generation },
      fault,
      merge,
      now: clock.now(),
      replayed: this.#replayed,
    })
    this.#state = this.#snapshot.state
    clock.reached(this.#snapshot.lastAt)
  }

  /** To the rules' own thread: windows that a shard has given out. @returns which emission's outputs are journalled, by its time, ms */
  async emission(shard: number, emission: TimedEmission): Promise<number> {
    const now = this.#options.clock.now()
    const { kept, state } = await this.#run(await this.#opened(), { kind: 'emission', now, shard, emission })
    this.#state = state
    return kept
  }

  /** Windows of rules are given out once more, but those that were closed at a time, ms. */
  async emitAgain(closed: number): Promise<void> {
    await this.#run(await this.#opened(), { kind: 'emit again', closed })
  }

  /** For this thread and those that come after it. */
  async boundWindows(bounds: WindowBounds): Promise<void> {
    this.#bounds = bounds
    await this.#run(await this.#opened(), { kind: 'bound windows', bounds })
  }

  /**
   * The figures of now: whatever was acknowledged before is in them. A thread that is away, or busy for longer than a second,
   * keeps those it gave last.
   */
  async refresh(): Promise<void> {
    const pool = this.#pool
    if (pool === undefined || this.#closing) return
    const figures = this.#run(pool, { kind: 'figures' }).then(
      (snapshot) => {
        if (pool === this.#pool) this.#snapshot = snapshot
      },
      // The failure is on record: it was logged, and the thread is replaced.
      () => {},
    )
    await Promise.race([figures, sleep(FIGURES_MS, undefined, { ref: false })])
  }

  async rewind(from: number): Promise<void> {
    await this.#run(await this.#opened(), { kind: 'rewind', from })
  }

  async describe(refs: readonly number[]): Promise<ShardReply<'describe'>> {
    return this.#run(await this.#opened(), { kind: 'describe', refs })
  }

  /** The running pool, or a new one; concurrent callers share the start. */
  #opened(): Promise<Piscina> {
    if (this.#pool !== undefined) return Promise.resolve(this.#pool)
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #open(): Promise<Piscina> {
    const pool = new Piscina({
      filename: workerPath('./shard.worker', import.meta.url),
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: TASKS_IN_THREAD,
      atomics: 'sync',
      recordTiming: false,
    })
    pool.on('error', (error: unknown) => this.#failed(pool, error))
    try {
      this.#snapshot = await (pool.run({
        kind: 'open',
        options: { ...this.#options.shard, opening: this.#generation + 1 },
        fault: this.#options.fault,
        merge: this.#options.merge,
        now: this.#options.clock.now(),
        replayed: this.#replayed,
      }) as Promise<ShardSnapshot>)
    } catch (error) {
      await pool.destroy()
      this.#failure = messageOf(error)
      throw asShardError(error)
    }
    if (this.#bounds !== undefined) await pool.run({ kind: 'bound windows', bounds: this.#bounds })
    this.#pool = pool
    this.#generation++
    this.#failure = undefined
    this.#state = this.#snapshot.state
    this.#options.clock.reached(this.#snapshot.lastAt)
    return pool
  }

  async #run<T extends ShardTask>(
    pool: Piscina,
    task: T,
    transferList: ArrayBuffer[] = [],
  ): Promise<ShardReply<T['kind']>> {
    try {
      return (await pool.run(task, { transferList })) as ShardReply<T['kind']>
    } catch (error) {
      this.#failed(pool, error)
      throw asShardError(error)
    }
  }

  /** The thread cannot be trusted any more: the next call gets a new one. */
  #failed(pool: Piscina, error: unknown): void {
    if (pool !== this.#pool) return
    this.#pool = undefined
    this.#failure = messageOf(error)
    this.#options.log.error(
      { shard: this.name, error: messageOf(error), stack: (error as Error).stack },
      'shard thread failed',
    )
    void pool.destroy()
  }
}

/** Errors lose their class and code on the way between threads; the message arrives. */
function asShardError(error: unknown): FleetmeterError {
  return new FleetmeterError('FM_SHARD', `The shard's thread failed: ${messageOf(error)}`, { cause: error })
}
