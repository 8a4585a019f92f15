/**
 * The one clock that a collector's arrivals come from: it never steps back, not even over a restart, whichever journal the latest
 * arrival is in. Of two values for one instant the larger arrival counts; a wall clock that was set back must not change
 * which of them came later, also when a sender meets another shard than before.
 */
import type { Clock } from '../../proto/runtime/clock.ts'

export class ArrivalClock implements Clock {
  readonly #clock: Clock
  #latest = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Wall clock, or the latest arrival where that is ahead; ms. */
  now(): number {
    this.#latest = Math.max(this.#latest, this.#clock.now())
    return this.#latest
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  /** A journal has an arrival at this time, ms. */
  reached(at: number): void {
    this.#latest = Math.max(this.#latest, at)
  }
}
