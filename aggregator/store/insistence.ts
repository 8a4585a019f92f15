/** Statements that must not be given up: what they hold was not answered, or is in a log. They are tried until they work. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'

const PAUSE_MS = 200
const PAUSE_MAX_MS = 5000

export class Insistence {
  readonly #log: Logger
  readonly #often: RateLimitedLog
  #problem: string | undefined
  #failures = 0

  constructor(clock: Clock, log: Logger) {
    this.#log = log
    this.#often = new RateLimitedLog(10_000, () => clock.monotonic())
  }

  /** Why the last attempt failed; undefined when it worked. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Attempts that failed. */
  get failures(): number {
    return this.#failures
  }

  async until(what: string, action: () => Promise<void>): Promise<void> {
    for (let pause = PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MAX_MS)) {
      try {
        await action()
        this.#problem = undefined
        return
      } catch (error) {
        this.#failures++
        this.#problem = messageOf(error)
        this.#often.once(what, (held) =>
          this.#log.warn({ what, error: messageOf(error), held }, 'insert failed, trying again'),
        )
        await sleep(pause)
      }
    }
  }
}
