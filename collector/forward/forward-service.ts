/**
 * Sends a shard's batches and reports back what is stored.
 *
 *     timer, "due" ──▶ tick: thread moves its cursor, gives batches for the room there is
 *     batch ──▶ link ──▶ stored ──▶ reported with the next tick
 *                   └──▶ series unknown ──▶ described by the thread and sent again; forgotten there: made again (rewind)
 *
 * Full (batches or bytes in flight): no batches are fetched, the shard falls behind, the journal grows.
 * Nothing to do: a lane that all is stored of, and that was asked nothing, is looked at seldom.
 */

import { messageOf } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { withSection } from '../../proto/wire/batch.ts'
import type { TimedEmission } from '../rules/shard-rules.ts'
import type { OutgoingBatch } from '../shard/outbox.ts'
import type { Tick } from '../shard/shard-core.ts'
import type { BatchLink } from './link.ts'

const FLUSH_MS = 5000
/** What a lane does by itself (a sign of life, windows, a disk that is well again) it does by the second: less what timers are early. */
const QUIET_MS = 900
const STOP_LOOK_EVERY_MS = 100

export interface ForwardOptions {
  readonly intervalMs: number
  readonly batchesMax: number
  readonly bytesMax: number
  /** Takes what rules give out, one at a time. @returns which emission's outputs are journalled, by its time, ms */
  readonly emitted?: (emission: TimedEmission) => Promise<number>
  /** Whether rules may give out anything at the moment; absent: always. */
  readonly emits?: () => boolean
  readonly faults: Faults
  readonly log: Logger
}

/** Where batches come from: the thread of a lane, seen from the main one. */
export interface BatchSource {
  readonly name: string
  /** Grows whenever what was given out before means nothing any more. */
  readonly generation: number
  readonly snapshot: LaneState | undefined
  /** Grows with everything that may give a tick something to do. */
  readonly news: number
  /** @param since the generation that `stored` is about. @returns with the generation whose batches these are */
  tick(
    tick: Omit<Tick, 'now' | 'monotonic'>,
    since: number,
  ): Promise<{
    readonly batches: readonly OutgoingBatch[]
    readonly emission?: TimedEmission | undefined
    readonly snapshot: LaneState
    readonly generation: number
  }>
  /** Makes the batches from a position on again. */
  rewind(from: number): Promise<void>
  describe(refs: readonly number[]): Promise<{ readonly found: number; readonly section: Uint8Array<ArrayBuffer> }>
}

/** How far a lane is. */
interface LaneState {
  readonly end: number
  readonly cursor: number
  /** There is enough for a batch. */
  readonly due: boolean
  /** Windows of rules are given out only in part. */
  readonly emitting?: boolean
}

interface InFlight {
  readonly batch: OutgoingBatch
  readonly abort: AbortController
}

export class ForwardService implements Service {
  readonly name: string
  readonly #thread: BatchSource
  readonly #link: BatchLink
  readonly #options: ForwardOptions
  readonly #often: RateLimitedLog
  readonly #inFlight = new Set<InFlight>()
  #bytesInFlight = 0
  #stored: { from: number; to: number }[] = []
  #generation = 0
  #timer: NodeJS.Timeout | undefined
  #ticking: Promise<void> | undefined
  #asking = false
  #again = false
  #stopping = false
  #sentBatches = 0
  #sentBytes = 0
  #sentSamples = 0
  #unreadable = 0
  #expired = 0
  #emissionsKept = 0
  #emitting: Promise<void> | undefined
  /** The shard gives windows out step by step, and goes on when it is asked: that needs no room for batches. */
  #emitsMore = false
  #rewinds = 0
  #wake: (() => void) | undefined
  /** The last tick: when it was, ms of the clock that goes on, and what of the lane's news it saw. */
  #ticked = { at: Number.NEGATIVE_INFINITY, news: -1 }

  constructor(thread: BatchSource, link: BatchLink, options: ForwardOptions) {
    this.name = `forward-${thread.name}`
    this.#thread = thread
    this.#link = link
    this.#options = options
    this.#often = new RateLimitedLog(10_000, () => performance.now())
  }

  get counts(): {
    readonly batches: number
    readonly bytes: number
    readonly samples: number
    readonly unreadable: number
    readonly expired: number
    readonly inFlight: number
    readonly bytesInFlight: number
  } {
    return {
      batches: this.#sentBatches,
      bytes: this.#sentBytes,
      samples: this.#sentSamples,
      unreadable: this.#unreadable,
      expired: this.#expired,
      inFlight: this.#inFlight.size,
      bytesInFlight: this.#bytesInFlight,
    }
  }

  async start(): Promise<void> {
    this.#generation = this.#thread.generation
    this.#timer = setInterval(() => {
      if (!this.#isQuiet()) this.poke()
    }, this.#options.intervalMs)
  }

  /** Sends what there is and waits for it to be stored, as long as the deadline allows and the aggregator answers. */
  async stop(deadline: AbortSignal): Promise<void> {
    clearInterval(this.#timer)
    this.#stopping = true
    await orAborted(Promise.resolve(this.#ticking), deadline)
    while (!deadline.aborted && this.#link.problem === undefined) {
      await this.#tick()
      const snapshot = this.#thread.snapshot
      if (
        snapshot === undefined ||
        (snapshot.cursor === snapshot.end && this.#stored.length === 0 && this.#inFlight.size === 0)
      )
        break
      void this.#link.flush(deadline)
      await this.#anyAnswer()
    }
    await orAborted(Promise.resolve(this.#emitting), deadline)
    for (const { abort } of this.#inFlight) abort.abort()
  }

  health(): Health {
    // An aggregator that is away is no reason to refuse samples: the journal takes them.
    return this.#link.problem === undefined ? { ready: true } : { ready: true, detail: this.#link.problem }
  }

  /** There is enough for a batch. Without room for it, an answer or the timer is what brings it on its way. */
  due(): void {
    if (this.#hasRoom) this.poke()
  }

  /** There may be something to do. */
  poke(): void {
    if (this.#stopping) return
    if (this.#ticking !== undefined) {
      this.#again = true
      return
    }
    this.#ticking = this.#tick()
      .catch((error: unknown) => {
        this.#often.once('tick', (held) =>
          this.#options.log.error({ service: this.name, error: messageOf(error), held }, 'tick failed'),
        )
      })
      .finally(() => {
        this.#ticking = undefined
        if (this.#again && (this.#hasRoom || this.#emitsMore)) {
          this.#again = false
          this.poke()
        }
      })
  }

  #isQuiet(): boolean {
    const { snapshot, generation, news } = this.#thread
    const done = snapshot !== undefined && snapshot.cursor === snapshot.end && this.#stored.length === 0
    const same = generation === this.#generation && news === this.#ticked.news
    return done && same && this.#inFlight.size === 0 && performance.now() - this.#ticked.at < QUIET_MS
  }

  get #hasRoom(): boolean {
    return this.#inFlight.size < this.#options.batchesMax && this.#bytesInFlight < this.#options.bytesMax
  }

  async #tick(): Promise<void> {
    this.#checkGeneration()
    this.#ticked = { at: performance.now(), news: this.#thread.news }
    const stored = this.#stored
    const rewinds = this.#rewinds
    this.#stored = []
    const { emitted, emits } = this.#options
    const takesEmission = this.#emitting === undefined && emitted !== undefined && emits?.() !== false
    this.#emitsMore = false
    const { batches, emission, snapshot, generation } = await this.#thread.tick(
      {
        stored,
        roomBatches: Math.max(0, this.#options.batchesMax - this.#inFlight.size),
        roomBytes: Math.max(0, this.#options.bytesMax - this.#bytesInFlight),
        urgent: this.#stopping,
        emissionsKept: this.#emissionsKept,
        takesEmission,
      },
      this.#generation,
    )
    this.#checkGeneration()
    if (generation !== this.#generation) return // of a shard that is no more: it is all made again
    // Batches cut before a rewind are made again: it came after this tick in the thread, and before its reply here.
    if (rewinds === this.#rewinds) for (const batch of batches) void this.#send(batch)
    this.#emitsMore = takesEmission && snapshot.emitting === true
    if (this.#emitsMore || (snapshot.due && batches.length > 0)) this.#again = true
    if (emission !== undefined) this.#hand(emission)
    if (snapshot.due && !this.#hasRoom) void this.#askToStore()
  }

  /**
   * All that may be under way is, and more waits: an aggregator that waits for more would wait in vain. One that does not answer is not
   * asked: it is the link that tries again, and paces that.
   */
  async #askToStore(): Promise<void> {
    if (this.#asking || this.#link.problem !== undefined) return
    this.#asking = true
    await this.#link.flush(AbortSignal.timeout(FLUSH_MS))
    this.#asking = false
  }

  /** Beside the ticks: what rules make of it must not hold up what is to be sent. */
  #hand(emission: TimedEmission): void {
    const generation = this.#generation
    this.#emitting = this.#options.emitted!(emission)
      .then((kept) => {
        if (generation === this.#generation) this.#emissionsKept = Math.max(this.#emissionsKept, kept)
      })
      .finally(() => {
        this.#emitting = undefined
      })
  }

  /** A new thread begins at its cursor: batches of the old one are made again, and answers to them mean nothing. */
  #checkGeneration(): void {
    if (this.#thread.generation === this.#generation) return
    this.#generation = this.#thread.generation
    this.#emissionsKept = 0
    this.#drop(0)
  }

  async #send(batch: OutgoingBatch): Promise<void> {
    const abort = new AbortController()
    const flight: InFlight = { batch, abort }
    this.#inFlight.add(flight)
    this.#bytesInFlight += batch.bytes.length
    this.#sentBatches++
    this.#sentBytes += batch.bytes.length
    this.#sentSamples += batch.samples
    this.#options.faults('batch.send.before')
    try {
      if (!(await this.#deliver(batch, abort.signal))) return
      this.#stored.push({ from: batch.from, to: batch.to })
    } catch (error) {
      if (!abort.signal.aborted)
        this.#options.log.error({ service: this.name, error: messageOf(error) }, 'batch is not sent')
    } finally {
      if (this.#inFlight.delete(flight)) this.#bytesInFlight -= batch.bytes.length
      this.#answered()
    }
  }

  /** @returns false when the batch has to be made again */
  async #deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<boolean> {
    let bytes: Uint8Array = batch.bytes
    const generation = this.#generation
    for (;;) {
      const answer = await this.#link.send(bytes, signal)
      if (answer.kind === 'stored') {
        this.#expired += answer.expired
        return true
      }
      if (answer.kind === 'unreadable') {
        this.#unreadable += batch.samples
        this.#options.log.error(
          { from: batch.from, to: batch.to, samples: batch.samples, reason: answer.reason },
          'aggregator cannot read a batch and keeps it aside',
        )
        return true
      }
      const { found, section } = await this.#thread.describe(answer.refs)
      signal.throwIfAborted()
      if (generation !== this.#thread.generation) return false // described was what its references mean now
      if (found < answer.refs.length) {
        this.#drop(batch.from)
        this.#rewinds++
        await this.#thread.rewind(batch.from)
        return false
      }
      bytes = withSection(bytes, section)
    }
  }

  /** Forgets the batches from a position on; what is known to be stored of them is not reported any more. */
  #drop(from: number): void {
    for (const flight of this.#inFlight) {
      if (flight.batch.from < from) continue
      this.#inFlight.delete(flight)
      this.#bytesInFlight -= flight.batch.bytes.length
      flight.abort.abort()
    }
    this.#stored = this.#stored.filter((range) => range.from < from)
  }

  #answered(): void {
    this.#wake?.()
    // Room has come free: a shard that is behind has more.
    if (this.#thread.snapshot?.due) this.poke()
  }

  /** Or a moment: an aggregator that went away gives none. */
  async #anyAnswer(): Promise<void> {
    if (this.#inFlight.size === 0) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      setTimeout(resolve, STOP_LOOK_EVERY_MS)
    })
    this.#wake = undefined
  }
}
