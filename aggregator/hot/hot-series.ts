/**
 * Recent points in memory: what a router asks for.
 *
 *     ……… in ClickHouse ………│ floor ──── complete in memory ──── newest
 *            late points ▪ ▪ │         (age and byte bound; only stored points are given up)
 *
 * From `floor` on, memory holds every point there is. A point older than that is kept aside ("late") until it is stored,
 * since nowhere else can a query find it. So a reader takes memory first: from the floor on as it is, and below it
 * ClickHouse's points together with the late ones. There is no seam that a point could fall through.
 */
import type { PointColumns } from './point-chains.ts'
import { PointChains } from './point-chains.ts'

export interface HotBounds {
  /** How far back memory reaches, ms. */
  readonly ageMs: number
  /** Most memory for points, bytes. */
  readonly bytesMax: number
}

/** A batch's points on their way to ClickHouse. */
export interface Pending {
  /** Oldest of its points that stand in memory; they are not given up before they are stored. */
  oldest: number
  readonly late: LatePoint[]
}

export interface LatePoint {
  readonly slot: number
  readonly time: number
  readonly value: number
  readonly arrival: number
}

/** When over the byte bound, give up this share of the time held, again and again. */
const SHED = 1 / 16

export class HotSeries {
  readonly #chains = new PointChains()
  readonly #bounds: HotBounds
  readonly #pending = new Set<Pending>()
  #floor: number
  /** Points before this time were given up though not stored. */
  #unseenBefore = Number.NEGATIVE_INFINITY
  #newest = 0
  #pins = 0
  #generation = 0

  /** @param floor memory is complete from here on, ms since the epoch */
  constructor(bounds: HotBounds, floor: number) {
    this.#bounds = bounds
    this.#floor = floor
  }

  get bytes(): number {
    return this.#chains.bytes
  }

  get floor(): number {
    return this.#floor
  }

  /**
   * Until when points may be missing from answers: the engine was away for so long that memory gave up points which are
   * not stored yet. -Infinity when none are.
   */
  get unseenBefore(): number {
    return this.#unseenBefore
  }

  /** Begins a batch; its points are kept until {@link stored}. */
  begin(): Pending {
    const pending: Pending = { oldest: Number.POSITIVE_INFINITY, late: [] }
    this.#pending.add(pending)
    return pending
  }

  /** Adds a point; visible at once. @param time ms; @param arrival µs */
  add(pending: Pending, slot: number, time: number, value: number, arrival: number): void {
    if (time < this.#floor) {
      pending.late.push({ slot, time, value, arrival })
      return
    }
    if (time < pending.oldest) pending.oldest = time
    if (time > this.#newest) this.#newest = time
    this.#chains.add(slot, time, value, arrival)
  }

  /** Adds the points [start, end) that are not older than `oldest`, ms. @param slots the series of each point */
  addAll(pending: Pending, slots: Int32Array, points: PointColumns, start: number, end: number, oldest: number): void {
    const { times } = points
    for (let i = start; i < end; i++) {
      const time = times[i]!
      if (time < oldest) continue
      if (time < this.#floor) {
        this.add(pending, slots[i]!, time, points.values[i]!, points.arrivals[i]!)
        continue
      }
      if (time < pending.oldest) pending.oldest = time
      if (time > this.#newest) this.#newest = time
      this.#chains.addFrom(slots[i]!, points, i)
    }
  }

  /** Adds a point that is stored already, before anything else is. */
  fill(slot: number, time: number, value: number, arrival: number): void {
    if (time > this.#newest) this.#newest = time
    this.#chains.add(slot, time, value, arrival)
  }

  /** The batch's points are in ClickHouse. */
  stored(pending: Pending): void {
    this.#pending.delete(pending)
    if (this.#pending.size === 0 || this.#unseenBefore <= this.#oldestPending())
      this.#unseenBefore = Number.NEGATIVE_INFINITY
  }

  /** Visits the points of a series with max(from, floor) ≤ time ≤ to in the order of time. */
  read(slot: number, from: number, to: number, visit: (time: number, value: number, arrival: number) => void): void {
    this.#chains.read(slot, Math.max(from, this.#floor), to, visit)
  }

  /** Time of a series' newest point with max(from, floor) ≤ time ≤ to that has a finite value; -Infinity when there is none. */
  latest(slot: number, from: number, to: number): number {
    return this.#chains.latest(slot, Math.max(from, this.#floor), to)
  }

  /** Time of a series' newest point, ms; -Infinity when memory has none. */
  newest(slot: number): number {
    return this.#chains.newest(slot)
  }

  /** Points below the floor that are not stored yet. */
  late(from: number, to: number): LatePoint[] {
    const found: LatePoint[] = []
    for (const pending of this.#pending) {
      for (const point of pending.late) if (point.time >= from && point.time <= to) found.push(point)
    }
    return found
  }

  isEmpty(slot: number): boolean {
    return this.#chains.isEmpty(slot)
  }

  /** Whether a query reads at the moment. */
  get pinned(): boolean {
    return this.#pins > 0
  }

  /** Changes when something was given up under a query's eyes: what it has read is to be read again. */
  get generation(): number {
    return this.#generation
  }

  /** Something that queries rely on is about to change, though one reads: it begins again. */
  invalidate(): void {
    this.#generation++
  }

  /** A query reads: nothing is given up until it is done, except where memory is over its bound. */
  pin(): () => void {
    this.#pins++
    return () => {
      this.#pins--
    }
  }

  /**
   * Gives up what is too old, and the oldest where memory is over its bound.
   * @param slots all slots are below this number
   */
  evict(now: number, slots: number): void {
    if (this.#pins > 0) {
      if (this.#chains.bytes <= this.#bounds.bytesMax) return
      this.invalidate()
    }
    const kept = this.#oldestPending()
    this.#raise(Math.min(now - this.#bounds.ageMs, kept), slots)
    // Samples may be ahead of our clock.
    const newest = Math.max(now, this.#newest + 1)
    while (this.#chains.bytes > this.#bounds.bytesMax && this.#floor < newest) {
      // A whole ms: ClickHouse is asked for everything up to the one before.
      const next = Math.floor(this.#floor + Math.max(1000, (newest - this.#floor) * SHED))
      if (next > kept) this.#unseenBefore = next
      this.#raise(next, slots)
    }
  }

  #raise(floor: number, slots: number): void {
    if (floor <= this.#floor) return
    this.#floor = floor
    for (let slot = 0; slot < slots; slot++) this.#chains.dropBefore(slot, floor)
  }

  #oldestPending(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const pending of this.#pending) if (pending.oldest < oldest) oldest = pending.oldest
    return oldest
  }
}
