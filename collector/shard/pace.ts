/**
 * How fast a shard's thread works, from what it did last: how many bytes of bodies it takes in a time.
 *
 * A write of one small body says nothing of what many cost: the first ones of a process take their time, and few wait then. It counts
 * where it was faster than what is known: without that, who once was slow would stay so where nobody fills a write again.
 */

/** Of the newest write in the average: a change is half seen after three of them, some tenths of a second under load. */
const WEIGHT = 0.2

export class Pace {
  #bytesPerMs: number | undefined

  /**
   * A write is done.
   * @param ms how long the thread worked on it; that the main thread was busy meanwhile is no reason to take less
   * @param tells it was long enough to say what others cost
   */
  worked(bytes: number, ms: number, tells: boolean): void {
    const rate = bytes / Math.max(ms, 0.1)
    const before = this.#bytesPerMs
    if (before === undefined) this.#bytesPerMs = tells ? rate : undefined
    else if (tells || rate > before) this.#bytesPerMs = before + WEIGHT * (rate - before)
  }

  /** Bytes that take about this long; no bound before a write told. */
  bytesIn(ms: number): number {
    return this.#bytesPerMs === undefined ? Number.POSITIVE_INFINITY : this.#bytesPerMs * ms
  }
}
