/**
 * The rules' half in a shard: takes its points into windows by sample time, and gives out parts of those that are due.
 *
 *     point ─▶ window (end - interval, end] ── end + grace ──▶ part ─▶ merger
 *                          ▲ late points, until end + grace + keep ──▶ the part again, of the groups that changed
 *
 * Nothing here depends on when or in which order things are called, only on the points: a window's state is its set of
 * points, of a series and instant the one with the latest arrival. So a restart that replays the points ends in the same state.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { FoldFrame } from './fold-window.ts'
import { foldWindow } from './fold-window.ts'
import { needsOf } from './group-state.ts'
import type { LaneShape } from './memberships.ts'
import { lanesOf, Memberships } from './memberships.ts'
import type { Part } from './part.ts'
import { encodePart } from './part.ts'
import type { Rule } from './rule.ts'
import { Sorter, Window } from './window.ts'

/** The point is in its windows. */
export const TAKEN = 0
/** It came after its window was closed: the caller stores it as it is. */
export const LATE = 1
/** There is no room: the caller stores it as it is. */
export const FULL = 2
export type Took = typeof TAKEN | typeof LATE | typeof FULL

export interface ShardRulesOptions {
  /** A window takes late points for this long after it was due, ms. */
  readonly keepMs: number
  /** Points of all windows together. */
  readonly pointsMax: number
  /** Groups of a rule. */
  readonly groupsMax: number
}

/** What a shard tells the merger. Plain data. */
export interface Emission {
  readonly parts: readonly Part[]
  /** By rule: all windows that end here or before have been given out. */
  readonly through: readonly number[]
  /** Windows that were given out now, with the points that they took away from storage, for the first time. */
  readonly windows: readonly {
    readonly intervalMs: number
    readonly graceMs: number
    readonly end: number
    /** By source, 256 numbers; undefined: none. */
    readonly dropped: Uint32Array | undefined
  }[]
}

const MICROS = 1000
const SOURCES = 256
/** A window that late points dribble into is given out again this often at most, ms: folding it costs the same for one point. */
const AMEND_EVERY_MS = 5000
/** Groups are looked through for unused ones this often at most, ms. */
const RETAIN_EVERY_MS = 60_000
/** Memberships are combinations of groups: usually fewer than groups, never many more. */
const MEMBERSHIPS_PER_GROUP = 4

interface Lane extends LaneShape {
  readonly windows: Map<number, Window>
  /** The window of the last point. */
  current: Window | undefined
  /** Windows that end here or before do not change any more: they, or those before them, are forgotten. */
  frozen: number
}

export class ShardRules {
  /** Memberships given out under another number are void: ask again. */
  generation = 0
  /** Points that no window took, and those that found no room, by lane: a point can be late in one and taken in another. */
  readonly counts: { late: number; full: number } = { late: 0, full: 0 }
  readonly #rules: readonly Rule[]
  readonly #options: ShardRulesOptions
  readonly #lanes: readonly Lane[]
  readonly #frames: readonly FoldFrame[]
  readonly #memberships: Memberships
  readonly #sorter = new Sorter()
  #points = 0
  #floor = Number.NEGATIVE_INFINITY
  #retainedAt = Number.NEGATIVE_INFINITY

  constructor(rules: readonly Rule[], options: ShardRulesOptions) {
    this.#rules = rules
    this.#options = options
    const shapes = lanesOf(rules)
    const memberships = new Memberships(rules, shapes, options.groupsMax)
    const needs = rules.map(needsOf)
    this.#memberships = memberships
    this.#lanes = shapes.map((shape) => ({
      ...shape,
      windows: new Map(),
      current: undefined,
      frozen: Number.NEGATIVE_INFINITY,
    }))
    this.#frames = shapes.map(({ counters }, lane) => ({ memberships, lane, needs, counters }))
  }

  /** Points kept, repeats included until their window is given out. */
  get points(): number {
    return this.#points
  }

  /**
   * The number under which a series' points are added; `NO_MEMBERSHIP` when no rule is about it. To be kept for the series until
   * {@link generation} changes.
   * @param labels in canonical order, without `__name__`
   */
  join(tenant: string, name: string, labels: readonly Label[]): number {
    return this.#memberships.join(tenant, name, labels)
  }

  /** Whether points of this membership that are TAKEN are not to be stored. */
  drops(membership: number): boolean {
    return this.#memberships.get(membership).drops
  }

  /**
   * What was before is not complete (its points are no longer in the journal): windows that begin less than an interval after it
   * are never given out, and their points answered LATE. What of such a window was TAKEN before is not reported as dropped: the
   * caller has to store it. @param time ms
   */
  raiseFloor(time: number): void {
    this.#floor = Math.max(this.#floor, time)
  }

  /**
   * Takes a point. The answer is that of the rules that drop their input, where one does: with TAKEN the point need not be
   * stored. LATE and FULL depend on the point alone, or on what is kept.
   * @param ref the series: one number for it as long as its points are kept
   * @param time of the sample, whole ms. @param at of its arrival, µs
   * @param source 0-255: by what the caller counts points that are dropped
   */
  add(membership: number, ref: number, time: number, low: number, high: number, at: number, source: number): Took {
    const { shares, drops, counting, refused, full } = this.#memberships.get(membership)
    if (this.#points + shares.length > this.#options.pointsMax) {
      this.counts.full += Math.max(1, shares.length)
      return FULL
    }
    let took: Took = TAKEN
    for (let s = 0; s < shares.length; s++) {
      const share = shares[s]!
      const lane = this.#lanes[share.lane]!
      if (this.#put(lane, membership, ref, time, low, high, at)) continue
      this.counts.late++
      if (!drops || share.drops) took = LATE
    }
    if (refused) this.counts.full++
    if (full) took = FULL
    if (took === TAKEN && drops) {
      const window = this.#lanes[shares[counting]!.lane]!.current
      if (window !== undefined) {
        window.dropped ??= new Uint32Array(SOURCES)
        window.dropped[source]!++
      }
    }
    return took
  }

  /**
   * What {@link add} decides of a point by its arrival, without taking it: for one that is read from a journal again. TAKEN
   * where `add` had no room.
   */
  decide(membership: number, time: number, at: number): typeof TAKEN | typeof LATE {
    const { shares, drops } = this.#memberships.get(membership)
    for (const share of shares) {
      const lane = this.#lanes[share.lane]!
      const end = endOf(lane, time)
      const late = at > this.#closes(lane, end) * MICROS || end - 2 * lane.intervalMs < this.#floor
      if (late && (!drops || share.drops)) return LATE
    }
    return TAKEN
  }

  /**
   * The parts of all windows that are due and have something to tell.
   * @param now ms, of the clock that gives arrivals; while journals are replayed, the arrival of the last record
   * @param urgent the process is stopping: amendments do not wait
   */
  emit(now: number, urgent = false): Emission {
    const parts: Part[] = []
    const windows: Emission['windows'][number][] = []
    for (const [l, lane] of this.#lanes.entries()) {
      for (const window of inOrder(lane)) {
        if (now < window.end + lane.graceMs) break
        if (!this.#isReady(lane, window, now, urgent)) continue
        this.#emitWindow(l, window, parts)
        window.emittedAt = now
        const { intervalMs, graceMs } = lane
        windows.push({ intervalMs, graceMs, end: window.end, dropped: window.dropped })
        window.dropped = undefined
      }
    }
    const through = this.#rules.map(({ intervalMs, graceMs }) => Math.floor((now - graceMs) / intervalMs) * intervalMs)
    return { parts, through, windows }
  }

  /** Forgets windows that can neither change nor be the one before of one that can. @param now as for {@link emit} */
  forget(now: number): void {
    for (const lane of this.#lanes) {
      for (const window of inOrder(lane)) {
        if (now <= this.#closes(lane, window.end) + lane.intervalMs) break
        const next = lane.windows.get(window.end + lane.intervalMs)
        if (isPending(window) || (next !== undefined && isPending(next))) break
        this.#points -= window.count
        lane.windows.delete(window.end)
        lane.frozen = window.end + lane.intervalMs
        lane.current = undefined
      }
    }
    this.#sorter.release()
    this.#retainGroups(now)
  }

  /**
   * Points older than this, ms, are not needed again: the start of the oldest window that is kept or still open, less one interval.
   * Infinity without rules. @param now as for {@link emit}
   */
  oldestStart(now: number): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const lane of this.#lanes) {
      const open = now - lane.graceMs - this.#options.keepMs
      for (const end of [open, ...lane.windows.keys()]) oldest = Math.min(oldest, end - 2 * lane.intervalMs)
    }
    return oldest
  }

  /** Hot. Whether the point's window is still open; the lane's current window is then that one. */
  #put(lane: Lane, membership: number, ref: number, time: number, low: number, high: number, at: number): boolean {
    let window = lane.current
    if (window === undefined || time > window.end || time <= window.end - lane.intervalMs) {
      const end = endOf(lane, time)
      if (end <= lane.frozen) {
        // Read again from a journal: it was in the window when that was given out, unless it came too late.
        lane.current = undefined
        return at <= this.#closes(lane, end) * MICROS
      }
      window = lane.windows.get(end)
      if (window === undefined) {
        if (at > this.#closes(lane, end) * MICROS || end - lane.intervalMs < this.#floor) return false
        window = new Window(end, lane.windows.get(end - lane.intervalMs)?.count ?? 0)
        lane.windows.set(end, window)
      }
      lane.current = window
    }
    if (at > this.#closes(lane, window.end) * MICROS) return false
    window.push(ref, membership, window.end - time, low, high, at)
    this.#points++
    return !this.#isBelowFloor(lane, window)
  }

  #closes(lane: Lane, end: number): number {
    return end + lane.graceMs + this.#options.keepMs
  }

  /** Its points, or those of the window before, may not all be there. */
  #isBelowFloor(lane: Lane, window: Window): boolean {
    return window.end - 2 * lane.intervalMs < this.#floor
  }

  #isReady(lane: Lane, window: Window, now: number, urgent: boolean): boolean {
    if (window.emittedAt === undefined) return true
    if (!isPending(window)) return false
    return urgent || now >= this.#closes(lane, window.end) || Math.abs(now - window.emittedAt) >= AMEND_EVERY_MS
  }

  #emitWindow(l: number, window: Window, parts: Part[]): void {
    const lane = this.#lanes[l]!
    const frame = this.#frames[l]!
    const before = lane.counters ? lane.windows.get(window.end - lane.intervalMs) : undefined
    if (before !== undefined) this.#settle(lane, before)
    this.#settle(lane, window)
    const complete = window.emittedAt === undefined
    if (this.#isBelowFloor(lane, window)) window.dropped = undefined
    else {
      for (const [rule, states] of foldWindow(frame, window, before, complete ? undefined : window.stirred))
        parts.push(encodePart(rule, window.end, complete, frame.needs[rule]!, states))
    }
    window.stirred.clear()
  }

  /** Sorts late points in, and notes whose groups they change: here, and where these are what counters grow from. */
  #settle(lane: Lane, window: Window): void {
    if (window.settled === window.count) return
    const next = lane.counters ? lane.windows.get(window.end + lane.intervalMs) : undefined
    for (const { emittedAt, stirred } of [window, ...(next === undefined ? [] : [next])]) {
      if (emittedAt === undefined) continue
      for (let i = window.settled; i < window.count; i++) stirred.add(window.membership[i]!)
    }
    this.#points -= window.settle(this.#sorter)
  }

  /** When there is hardly room for new groups: gives back those that no window has. */
  #retainGroups(now: number): void {
    const { groupsMax } = this.#options
    const { groupsMost, count } = this.#memberships
    if (groupsMost < groupsMax * 0.9 && count < groupsMax * MEMBERSHIPS_PER_GROUP) return
    if (Math.abs(now - this.#retainedAt) < RETAIN_EVERY_MS) return
    this.#retainedAt = now
    this.generation++
    const used = new Set<number>()
    for (const lane of this.#lanes) {
      for (const window of lane.windows.values()) {
        for (let i = 0; i < window.count; i++) used.add(window.membership[i]!)
        for (const membership of window.stirred) used.add(membership)
      }
    }
    this.#memberships.retain(used)
  }
}

/** Something came since it was last given out. */
function isPending(window: Window): boolean {
  return window.emittedAt === undefined || window.settled < window.count || window.stirred.size > 0
}

/** Windows are open on the left and closed on the right, as Prometheus' ranges. */
function endOf({ intervalMs }: Lane, time: number): number {
  return Math.ceil(time / intervalMs) * intervalMs
}

function inOrder(lane: Lane): Window[] {
  return [...lane.windows.values()].sort((a, b) => a.end - b.end)
}
