/**
 * How fast a shard's thread works, from what it did last: how many bytes of bodies it takes in a time.
 *
 * Only writes that others waited behind count: one that a single small body filled says nothing of what a full one costs.
 */

/** Of the newest write in the average: a change is half seen after three of them, some tenths of a second under load. */
const WEIGHT = 0.2

export class Pace {
  #bytesPerMs: number | undefined

  /** A write is done. @param ms how long the thread worked on it; that the main thread was busy meanwhile is no reason to take less */
  worked(bytes: number, ms: number): void {
    const rate = bytes / Math.max(ms, 0.1)
    this.#bytesPerMs = this.#bytesPerMs === undefined ? rate : this.#bytesPerMs + WEIGHT * (rate - this.#bytesPerMs)
  }

  /** Bytes that take about this long; no bound before anybody had to wait. */
  bytesIn(ms: number): number {
    return this.#bytesPerMs === undefined ? Number.POSITIVE_INFINITY : this.#bytesPerMs * ms
  }
}
