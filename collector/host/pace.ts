/**
 * How often this host is sampled: slowly, and fast while somebody has a reason. Every reason is a lease that ends by itself, so that
 * an end that is never told of costs no more than its lease.
 *
 * The tasks of this host hold `task:<id>` from their start to their end; a GPU that computes holds `gpu processes`.
 */
import type { Clock } from '../../proto/runtime/clock.ts'

/** Reasons kept at a time; beyond it the one that ends first makes room. */
const LEASES_MAX = 1000

export interface Lease {
  readonly reason: string
  /** ms that are left. */
  readonly leftMs: number
}

export class Pace {
  readonly #slowMs: number
  readonly #fastMs: number
  readonly #clock: Clock
  /** Reason → monotonic end. */
  readonly #leases = new Map<string, number>()
  /** Called when it may have become faster. */
  onFaster: () => void = () => {}

  /** A fast interval longer than the slow one is taken as the slow one. */
  constructor(slowMs: number, fastMs: number, clock: Clock) {
    this.#slowMs = slowMs
    this.#fastMs = Math.min(fastMs, slowMs)
    this.#clock = clock
  }

  get slowMs(): number {
    return this.#slowMs
  }

  /** Time from one round to the next, at this moment. */
  get intervalMs(): number {
    return this.leases().length === 0 ? this.#slowMs : this.#fastMs
  }

  /** Samples fast for that long from now on; the same reason again replaces its lease. */
  hold(reason: string, forMs: number): void {
    const wasSlow = this.intervalMs === this.#slowMs
    this.#leases.set(reason, this.#clock.monotonic() + forMs)
    if (this.#leases.size > LEASES_MAX) {
      const [first] = [...this.#leases].reduce((a, b) => (b[1] < a[1] ? b : a))
      this.#leases.delete(first)
    }
    if (wasSlow) this.onFaster()
  }

  release(reason: string): void {
    this.#leases.delete(reason)
  }

  /** The reasons that hold now. */
  leases(): readonly Lease[] {
    const now = this.#clock.monotonic()
    const held: Lease[] = []
    for (const [reason, end] of this.#leases) {
      if (end > now) held.push({ reason, leftMs: end - now })
      else this.#leases.delete(reason)
    }
    return held
  }
}
