/** Time comes in as an argument, so that a test moves it instead of waiting for it. */
export interface Clock {
  /** Wall clock, ms since the epoch. May step; never used to measure a span. */
  now(): number
  /** Monotonic, ms since some start. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}
