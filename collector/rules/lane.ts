/** The windows of the rules that have one interval and grace: which are open, which hold something new, and which are done with. */
import type { LaneShape } from './memberships.ts'
import type { PointMemory } from './point-columns.ts'
import type { Points, Sorter } from './points.ts'
import { Window } from './window.ts'

const MICROS = 1000
/** A window that late points dribble into is given out again this often at most, ms: folding it costs the same for one point. */
export const AMEND_EVERY_MS = 5000

/** Points of one arrival, in columns. */
export interface PointRun {
  /** Items [start, end) of the columns are meant. */
  readonly start: number
  readonly end: number
  /** By item; below 0: no rule is about it. */
  readonly membership: Int32Array
  /** By item: the number of the series in the columns below. */
  readonly series: Int32Array
  /** By series: one number for it as long as its points are kept. */
  readonly refs: Uint32Array
  /** By item, ms. */
  readonly times: Float64Array
  /** By item: the bits of the value, two words, low first. */
  readonly words: Uint32Array
  /** By item: 1 where it is not stored itself; undefined: all are. */
  readonly drops: Uint8Array | undefined
  /** Of their arrival, µs. */
  readonly at: number
  /** What counts those that are not stored. */
  readonly source: number
}

/** What became of points that are not stored themselves. */
export interface DroppedPoints {
  count: number
  /** From when on emissions have told of all of them, ms. */
  toldBy: number
}

/** Of all lanes together. */
export interface Budget {
  points: number
  readonly memory: PointMemory
}

export class Lane {
  readonly shape: LaneShape
  /** Points from before are not complete, ms. */
  floor: number = Number.NEGATIVE_INFINITY
  readonly #keepMs: number
  readonly #budget: Budget
  readonly #windows = new Map<number, Window>()
  /** The window of the last point; undefined also when that was not put into one. */
  #current: Window | undefined
  /** The window that was made last. */
  #newest: Window | undefined
  /** Windows that end here or before do not change any more: they, or those before them, are forgotten. */
  #frozen: number = Number.NEGATIVE_INFINITY
  /** Windows that end here or before were given out by an earlier process, and what was given out is kept. */
  #before: number = Number.NEGATIVE_INFINITY
  /** Of the others, those that end here or before are not given out any more: some shard no longer has them. */
  #void: number = Number.NEGATIVE_INFINITY
  /** By rule: windows that end here or before were given out by others, under names of its own. */
  readonly #begins = new Map<number, number>()
  /** The latest of these. */
  #others: number = Number.NEGATIVE_INFINITY

  /** @param keepMs late points are taken for this long after a window was due */
  constructor(shape: LaneShape, keepMs: number, budget: Budget) {
    this.shape = shape
    this.#keepMs = keepMs
    this.#budget = budget
  }

  /** Hot. Puts a point into its window; false when that is closed. */
  put(membership: number, ref: number, time: number, low: number, high: number, at: number): boolean {
    let window = this.#current
    if (window === undefined || time > window.end || time <= window.end - this.shape.intervalMs) {
      const end = this.endOf(time)
      window = this.#open(end, at)
      this.#current = window
      // Read again from a journal: it was in the window when that was given out, unless it came too late.
      if (window === undefined) return end <= this.#frozen && !this.#isVoid(end) && at <= this.#closes(end) * MICROS
    }
    if (at > this.#closes(window.end) * MICROS) return false
    window.push(ref, membership, window.end - time, low, high, at)
    this.#budget.points++
    return this.isSufficient(window.end)
  }

  /**
   * Puts points of a run, from `first` on, into their window: as many as are of this lane and of one window, which takes all of them.
   * @param lanes the only lane of each membership, and which of them this is
   * @returns the first that it is not about; `first` where the window does not take them, or not without more ado
   */
  putRun(run: PointRun, first: number, lanes: Int16Array, own: number, dropped: DroppedPoints): number {
    const { end, membership, series, refs, times, words, drops, at } = run
    const last = this.endOf(times[first]!)
    if (!this.isSufficient(last) || at > this.#closes(last) * MICROS) return first
    let window = this.#current
    if (window === undefined || window.end !== last) {
      window = this.#open(last, at)
      this.#current = window
      if (window === undefined) return first
    }
    const begin = last - this.shape.intervalMs
    let points = 0
    let unstored = 0
    let i = first
    for (; i < end; i++) {
      const m = membership[i]!
      if (m < 0) continue
      const time = times[i]!
      if (lanes[m] !== own || !(time > begin && time <= last)) break
      window.push(refs[series[i]!]!, m, last - time, words[2 * i]!, words[2 * i + 1]!, at)
      points++
      if (drops !== undefined) unstored += drops[i]!
    }
    this.#budget.points += points
    if (unstored > 0) {
      window.countDropped(run.source, unstored)
      dropped.count += unstored
      dropped.toldBy = Math.max(dropped.toldBy, last + this.shape.graceMs)
    }
    return i
  }

  /** What was closed at a time, and is not what counters of another window go on from, was given out by an earlier process. @param time ms */
  freeze(time: number): void {
    this.#before = this.#closedAt(time)
    this.#frozen = this.#before
  }

  /** What was closed at a time is not given out, whether it was before or not. @param time ms */
  close(time: number): void {
    this.#void = Math.max(this.#void, this.#closedAt(time))
    for (const window of this.#windows.values()) if (window.end <= this.#void) this.#drop(window)
    this.#current = undefined
  }

  /** What was due at a time was given out by other rules than those that write it now. @param times by rule, ms */
  begin(times: readonly number[]): void {
    const { intervalMs, graceMs, rules } = this.shape
    for (const rule of rules) {
      const last = Math.floor(((times[rule] ?? Number.NEGATIVE_INFINITY) - graceMs) / intervalMs) * intervalMs
      this.#begins.set(rule, Math.max(last, this.#begins.get(rule) ?? last))
    }
    this.#others = Math.max(...this.#begins.values())
    for (const [end, window] of this.#windows) if (end <= this.#others) window.dropped = undefined
  }

  /** Whether the window of a time was given out before this process. */
  isBefore(time: number): boolean {
    return this.endOf(time) <= this.#before
  }

  /** Counts the point that was just put as one that is not stored. */
  countDropped(source: number): void {
    this.#current?.countDropped(source, 1) // else it was counted when its window was there
  }

  /** When the window of a time is due, ms. */
  dueAt(time: number): number {
    return this.endOf(time) + this.shape.graceMs
  }

  /** What {@link put} would answer. */
  takes(time: number, at: number): boolean {
    return this.takesInto(this.endOf(time), at)
  }

  /** The same of any point of the window that ends there. */
  takesInto(end: number, at: number): boolean {
    return at <= this.#closes(end) * MICROS && this.isSufficient(end) && !this.#isVoid(end)
  }

  /** Its points, or those of the window before, may not all be there. */
  isBelowFloor(end: number): boolean {
    return end - 2 * this.shape.intervalMs < this.floor
  }

  /** Whether other rules gave a window out, under names that a rule has too: they may tell of more. */
  isOfOthers(end: number, rule: number): boolean {
    return end <= (this.#begins.get(rule) ?? Number.NEGATIVE_INFINITY)
  }

  /** Whether what a window takes needs no other place. */
  isSufficient(end: number): boolean {
    return !this.isBelowFloor(end) && end > this.#others
  }

  /** Whether a window that may not be complete still takes points at a time, ms. */
  hasOpenBelowFloor(now: number): boolean {
    return now <= this.#closes(this.floor + 2 * this.shape.intervalMs)
  }

  /** Oldest first. */
  inOrder(): Window[] {
    return [...this.#windows.values()].sort((a, b) => a.end - b.end)
  }

  /** The window that a series' counters go on from, where a rule needs it. */
  before(window: Window): Window | undefined {
    return this.shape.counters ? this.#windows.get(window.end - this.shape.intervalMs) : undefined
  }

  isDue(window: Window, now: number): boolean {
    return now >= window.end + this.shape.graceMs
  }

  /** Whether a due window is to be given out now. */
  isReady(window: Window, now: number, urgent: boolean): boolean {
    if (window.emittedAt === undefined) return true
    if (!isPending(window)) return false
    return urgent || now >= this.#closes(window.end) || Math.abs(now - window.emittedAt) >= AMEND_EVERY_MS
  }

  /** Sorts late points of a piece in, and notes whose groups they change: here, and where these are what counters go on from. */
  settle(window: Window, piece: Points, sorter: Sorter): void {
    if (piece.settled === piece.count) return
    const next = this.shape.counters ? this.#windows.get(window.end + this.shape.intervalMs) : undefined
    for (const { emittedAt, stirred } of next === undefined ? [window] : [window, next]) {
      if (emittedAt === undefined) continue
      for (let i = piece.settled; i < piece.count; i++) stirred.add(piece.membership[piece.series[i]!]!)
    }
    window.fresh -= piece.count - piece.settled
    const superfluous = piece.settle(sorter, this.shape.counters)
    window.count -= superfluous
    this.#budget.points -= superfluous
  }

  /** All but those that were closed at a time, ms, are given out once more. */
  emitAgain(closed: number): void {
    for (const window of this.#windows.values()) if (window.end > this.#closedAt(closed)) window.emittedAt = undefined
  }

  /**
   * Forgets windows that can neither change nor be the one before of one that can.
   * @param kept what was given out up to then is journalled, ms
   */
  forget(now: number, kept: number): void {
    // Only when that is kept of all shards: whoever merges anew must not be given some shards' parts of a window.
    const final = Math.min(now, kept)
    for (const window of this.inOrder()) {
      if (final <= this.#closes(window.end) + this.shape.intervalMs) break
      const next = this.#windows.get(window.end + this.shape.intervalMs)
      if (isPending(window) || (next !== undefined && isPending(next))) break
      this.#drop(window)
      this.#frozen = window.end + this.shape.intervalMs
      this.#current = undefined
    }
  }

  /** The start of the oldest window that is kept or still open, less one interval. */
  oldestStart(now: number): number {
    const open = now - this.shape.graceMs - this.#keepMs
    return Math.min(open, ...this.#windows.keys()) - 2 * this.shape.intervalMs
  }

  /** The window, made if need be; undefined when it can have no more points. */
  #open(end: number, at: number): Window | undefined {
    if (end <= this.#frozen || this.#isVoid(end)) return undefined
    const known = this.#windows.get(end)
    const { intervalMs } = this.shape
    // Below the floor, only the window before the first complete one is of use.
    if (known !== undefined || at > this.#closes(end) * MICROS || end - intervalMs < this.floor) return known
    const window = new Window(end, this.#budget.memory, this.#newest)
    this.#windows.set(end, window)
    this.#newest = window
    return window
  }

  #drop(window: Window): void {
    this.#budget.points -= window.count
    this.#windows.delete(window.end)
    if (this.#newest === window) this.#newest = undefined
    window.close()
  }

  /** End of the window of a time, ms. Windows are open on the left and closed on the right, as Prometheus' ranges. */
  endOf(time: number): number {
    return Math.ceil(time / this.shape.intervalMs) * this.shape.intervalMs
  }

  /** End of the last window that was closed at a time, and before the one that counters of an open one go on from. */
  #closedAt(time: number): number {
    const { intervalMs, graceMs } = this.shape
    return Math.floor((time - graceMs - this.#keepMs) / intervalMs - 1) * intervalMs
  }

  #isVoid(end: number): boolean {
    return end <= this.#void && end > this.#before
  }

  #closes(end: number): number {
    return end + this.shape.graceMs + this.#keepMs
  }
}

/** Something came since it was last given out, or while it was: then it may be told of already, and not counted. */
function isPending({ emittedAt, fresh, stirred, dropped }: Window): boolean {
  return emittedAt === undefined || fresh > 0 || stirred.size > 0 || dropped !== undefined
}
