/**
 * Counters that are not in memory are counted here, from ClickHouse:
 *
 *     wait(counters) ─▶ under way already? ─▶ that one
 *                   └─▶ queue ─▶ one query for many, a few at a time ─▶ fold: hot ─▶ whoever waits
 *
 * A thousand that ask for one subject at once make one query. Whoever waits does so up to a deadline, and then decides without; the
 * count goes on, for whoever asks next.
 */

import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { ColdCounter } from './decision.ts'
import type { CountedSlots, QuotasFold } from './quotas-fold.ts'
import { windowKey } from './window.ts'

export interface ColdCountsOptions {
  readonly fold: Pick<QuotasFold, 'count'>
  /** @see UsageSums.of */
  readonly sums: { of(counters: readonly ColdCounter[], upTo: number): Promise<CountedSlots[]> }
  /** Most counters that wait or are being counted. */
  readonly waitingMax: number
  readonly monotonic: () => number
  readonly log: Logger
}

interface UnderWay {
  readonly counter: ColdCounter
  /** Whether it was counted. */
  readonly done: Promise<boolean>
  readonly end: (counted: boolean) => void
}

/** Queries at a time: a slow one keeps not everybody waiting. */
const PARALLEL = 2
/** What a query asks for stands in its address: names of so many characters, at nine bytes each at worst, fit in what an engine reads. */
const CHARACTERS_MAX = 100_000
/** Sums that a query may answer with, at worst: a rolling window has one a quarter of an hour. */
const SUMS_MAX = 100_000
const SLOT_SECONDS = 900
/** What the log has from before there were quotas is on its way into ClickHouse. */
const NOT_YET_MS = 200

export class ColdCounts {
  readonly #options: ColdCountsOptions
  readonly #often: RateLimitedLog
  /** By key; those of the queue in its order. */
  readonly #underWay = new Map<string, UnderWay>()
  readonly #queue: UnderWay[] = []
  #running = 0
  #planned = false
  #stopped = false
  #problem: string | undefined
  readonly #counts = { queries: 0, counters: 0, failures: 0, refused: 0 }

  constructor(options: ColdCountsOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(10_000, options.monotonic)
  }

  get counts(): Readonly<{ queries: number; counters: number; failures: number; refused: number }> {
    return this.#counts
  }

  get waiting(): number {
    return this.#underWay.size
  }

  /** Why the last count came to nothing; undefined: it did not. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Nothing more is begun. */
  stop(): void {
    this.#stopped = true
    for (const { end } of this.#queue.splice(0)) end(false)
  }

  /** @returns whether all of them are in memory; false: not by then, or counting failed, or too many wait */
  async wait(counters: readonly ColdCounter[], withinMs: number): Promise<boolean> {
    const waited = counters.map((counter) => this.#underWayOf(counter))
    if (waited.includes(undefined)) {
      this.#counts.refused++
      return false
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), withinMs)
    })
    const all = Promise.all(waited.map((one) => one!.done)).then((done) => done.every((counted) => counted))
    try {
      return await Promise.race([all, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #underWayOf(counter: ColdCounter): UnderWay | undefined {
    const key = keyOf(counter)
    const known = this.#underWay.get(key)
    if (known !== undefined) return known
    if (this.#stopped || this.#underWay.size >= this.#options.waitingMax) return undefined
    let end: (counted: boolean) => void = () => {}
    const done = new Promise<boolean>((resolve) => {
      end = (counted) => {
        this.#underWay.delete(key)
        resolve(counted)
      }
    })
    const made = { counter, done, end }
    this.#underWay.set(key, made)
    this.#queue.push(made)
    this.#plan(0)
    return made
  }

  /** What is asked for in one turn goes into one query. */
  #plan(afterMs: number): void {
    if (this.#planned) return
    this.#planned = true
    const next = (): void => {
      this.#planned = false
      while (this.#running < PARALLEL && this.#queue.length > 0 && !this.#planned) void this.#run(this.#next())
    }
    if (afterMs === 0) setImmediate(next)
    else setTimeout(next, afterMs).unref()
  }

  /** As many as go into one query. */
  #next(): UnderWay[] {
    let characters = 0
    let sums = 0
    let count = 0
    for (const { counter } of this.#queue) {
      const { tenant, subject, resource, window } = counter
      characters += tenant.length + subject.length + resource.length + 9
      sums += window.kind === 'rolling' ? window.seconds / SLOT_SECONDS + 1 : 1
      if (count > 0 && (characters > CHARACTERS_MAX || sums > SUMS_MAX)) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  async #run(batch: readonly UnderWay[]): Promise<void> {
    const { fold, sums, log } = this.#options
    const run = fold.count()
    if (run === undefined) {
      this.#queue.unshift(...batch)
      this.#plan(NOT_YET_MS)
      return
    }
    this.#running++
    this.#counts.queries++
    this.#counts.counters += batch.length
    let counted = false
    try {
      const slots = await sums.of(
        batch.map(({ counter }) => counter),
        run.upTo,
      )
      run.finish(slots)
      counted = true
      this.#problem = undefined
    } catch (error) {
      run.abandon()
      this.#counts.failures++
      this.#problem = messageOf(error)
      this.#often.once('count', (held) =>
        log.warn({ error: messageOf(error), counters: batch.length, held }, 'what was used cannot be counted'),
      )
    }
    this.#running--
    for (const { end } of batch) end(counted)
    if (this.#queue.length > 0) this.#plan(0)
  }
}

function keyOf({ tenant, level, subject, resource, window, period }: ColdCounter): string {
  return JSON.stringify([tenant, level, subject, resource, windowKey(window), period.from])
}
