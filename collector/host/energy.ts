/**
 * Energy from power, where a driver counts none: each reading holds until the next one, so that between two samples the counter is a
 * line and a reader's interpolation at a task's start and end gives the exact step integral.
 */

/** Longest time that a reading holds: two slow rounds and a half; what lies beyond is not known and not counted. */
const HOLDS_SLOW_ROUNDS = 2.5

interface Counter {
  at: number
  watts: number
  millijoules: number
}

export class Energy {
  readonly #holdsMs: number
  readonly #counters = new Map<string, Counter>()

  /** @param slowMs the longest usual time between two readings */
  constructor(slowMs: number) {
    this.#holdsMs = HOLDS_SLOW_ROUNDS * slowMs
  }

  /** @param at monotonic ms @returns mJ since this process first saw the device */
  read(device: string, watts: number, at: number): number {
    const counter = this.#counters.get(device)
    if (counter === undefined) {
      this.#counters.set(device, { at, watts, millijoules: 0 })
      return 0
    }
    counter.millijoules += counter.watts * Math.min(Math.max(at - counter.at, 0), this.#holdsMs) // W × ms = mJ
    counter.at = at
    counter.watts = watts
    return counter.millijoules
  }
}
