/**
 * Recomputes roll-ups of windows that are over and marked.
 *
 *     read marks ─▶ hours: recompute ─▶ mark their days ─▶ clear what was read ─▶ days: recompute ─▶ clear
 *
 * A crash anywhere leaves marks, and the windows are computed again. Away database: the round ends, the next one tries again.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { Level, Mark, Marks } from './marks.ts'
import type { Rollups } from './recompute.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const LENGTH: Readonly<Record<Level, number>> = { 1: HOUR_MS, 2: DAY_MS }

/**
 * A sample that was just young enough may be in an hour that began earlier, and wait to be stored; points are kept for a day
 * beyond the bound, so that the hour is still whole.
 */
const LATE_SLACK_MS = DAY_MS / 2

export interface RollOptions {
  /** A window is computed this long after its end, so that usual lateness costs no second time. */
  readonly graceMs: number
  /** How old a sample may be. Hours that began half a day before that are not computed any more: their points expire. */
  readonly lateMaxMs: number
}

/** One round. @returns how many windows were computed */
export async function rollUp(marks: Marks, rollups: Rollups, now: number, options: RollOptions): Promise<number> {
  const over = (mark: Mark): boolean => mark.start + LENGTH[mark.level] + options.graceMs <= now
  const hours = (await marks.open()).filter((mark) => mark.level === 1 && over(mark))
  const starts = [...new Set(hours.map((mark) => mark.start))].sort((a, b) => a - b)
  const live = starts.filter((start) => start >= now - options.lateMaxMs - LATE_SLACK_MS)
  marks.taking(starts)
  for (const start of live) await rollups.hour(start)
  await marks.markDays(new Set(live.map((start) => Math.floor(start / DAY_MS) * DAY_MS)))
  await marks.clear(hours)

  const days = (await marks.open()).filter((mark) => mark.level === 2 && over(mark))
  const dayStarts = [...new Set(days.map((mark) => mark.start))].sort((a, b) => a - b)
  for (const start of dayStarts) await rollups.day(start)
  await marks.clear(days)
  return live.length + dayStarts.length
}

export interface RollerOptions extends RollOptions {
  readonly intervalMs: number
  readonly clock: Clock
  readonly log: Logger
  /** Work on the tables that is due now and then, after a round; one that fails does not keep the others from theirs. */
  readonly upkeep: readonly ((now: number) => Promise<void>)[]
}

export class Roller implements Service {
  readonly name = 'roller'
  readonly #marks: Marks
  readonly #rollups: Rollups
  readonly #options: RollerOptions
  readonly #often: RateLimitedLog
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #windows = 0
  #failures = 0

  constructor(marks: Marks, rollups: Rollups, options: RollerOptions) {
    this.#marks = marks
    this.#rollups = rollups
    this.#options = options
    this.#often = new RateLimitedLog(60_000, () => options.clock.monotonic())
  }

  get counts(): { readonly windows: number; readonly failures: number } {
    return { windows: this.#windows, failures: this.#failures }
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), this.#options.intervalMs)
  }

  /** A round under way is left alone: whatever it has not cleared is computed again. */
  async stop(deadline: AbortSignal): Promise<void> {
    clearInterval(this.#timer)
    await Promise.race([
      this.#round,
      new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve(), { once: true })),
    ])
  }

  health(): Health {
    return { ready: true }
  }

  #tick(): void {
    this.#round ??= this.#roll().finally(() => {
      this.#round = undefined
    })
  }

  async #roll(): Promise<void> {
    await this.#attempt('roll-up', async (now) => {
      this.#windows += await rollUp(this.#marks, this.#rollups, now, this.#options)
    })
    for (const job of this.#options.upkeep) await this.#attempt(job.name, job)
  }

  async #attempt(job: string, run: (now: number) => Promise<void>): Promise<void> {
    const { clock, log } = this.#options
    try {
      await run(clock.now())
    } catch (error) {
      this.#failures++
      this.#often.once(job, (held) => log.warn({ job, error: messageOf(error), held }, 'roll-up or upkeep failed'))
    }
  }
}
