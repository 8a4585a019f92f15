/**
 * What happens to quotas as time passes. Clocks only add records: a reservation whose time is over gets its record of that, a threshold
 * that was reached is told once.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Append } from '../owner/fold.ts'
import type { ColdCounts } from './cold-counts.ts'
import { quotaRecord } from './quota-record.ts'
import type { QuotasFold } from './quotas-fold.ts'

export interface QuotaTimersOptions {
  readonly fold: QuotasFold
  readonly counts: ColdCounts
  /** Definitions of now are in the fold. */
  readonly define: () => void
  readonly append: Append
  readonly clock: Clock
  readonly log: Logger
}

/** The clock is looked at so often, since it may be set, and thresholds too. */
const LOOK_MS = 1000
/** Records in one write. */
const EXPIRED_MAX = 1000
const SUBJECTS_MAX = 1000
/** Nobody waits for the answer. */
const COUNT_WITHIN_MS = 60_000

export class QuotaTimers {
  readonly #options: QuotaTimersOptions
  readonly #often: RateLimitedLog
  #timer: NodeJS.Timeout | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #expiring: Promise<void> | undefined
  #telling = false
  #stopped = false

  constructor(options: QuotaTimersOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(60_000, () => options.clock.monotonic())
  }

  start(): void {
    this.#plan(LOOK_MS)
  }

  /** What is being appended is. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#expiring
  }

  /** A reservation was made or extended, and may expire before the next look. */
  look(): void {
    const { fold, clock } = this.#options
    const next = fold.nextExpiry
    if (this.#expiring !== undefined || next === undefined) return
    const after = Math.max(0, next - clock.now())
    if (clock.monotonic() + after < this.#dueAt) this.#plan(after)
  }

  #plan(afterMs: number): void {
    clearTimeout(this.#timer)
    if (this.#stopped) return
    this.#dueAt = this.#options.clock.monotonic() + afterMs
    this.#timer = setTimeout(() => this.#run(), afterMs)
    this.#timer.unref()
  }

  #run(): void {
    this.#expiring = this.#guarded(() => this.#expire()).then(() => {
      this.#expiring = undefined
      this.#plan(LOOK_MS)
      this.look()
    })
    // A count may take long: reservations expire meanwhile.
    if (this.#telling) return
    this.#telling = true
    void this.#guarded(() => this.#tell()).then(() => {
      this.#telling = false
    })
  }

  async #guarded(action: () => Promise<void>): Promise<void> {
    try {
      await action()
    } catch (error) {
      this.#often.once('timers', (held) =>
        this.#options.log.warn({ error: messageOf(error), held }, 'quotas cannot go on with time: tried again'),
      )
    }
  }

  async #expire(): Promise<void> {
    const { fold, append, clock } = this.#options
    for (;;) {
      const records = fold.expired(clock.now(), EXPIRED_MAX)
      if (records.length === 0 || this.#stopped) return
      await append(records)
    }
  }

  async #tell(): Promise<void> {
    const { fold, counts, define, append, clock } = this.#options
    define()
    const subjects = fold.touched(SUBJECTS_MAX) // the same ones again, until they are told
    if (subjects.length === 0) return
    const cold = subjects.flatMap((subject) => fold.cold(subject, clock.now()))
    if (cold.length > 0 && !(await counts.wait(cold, COUNT_WITHIN_MS))) return
    if (this.#stopped) return
    const now = clock.now()
    const records = subjects.flatMap((subject) =>
      fold.reached(subject, now).map((body) => quotaRecord('quota.threshold', subject.tenant, body, now * 1000)),
    )
    if (records.length > 0) await append(records)
  }
}
