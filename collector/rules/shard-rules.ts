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
import { Emitting } from './emitting.ts'
import type { FoldFrame } from './fold-window.ts'
import { needsOf } from './group-state.ts'
import type { Budget, DroppedPoints, PointRun } from './lane.ts'
import { AMEND_EVERY_MS, Lane } from './lane.ts'
import { lanesOf, Memberships, NO_LANE, NO_MEMBERSHIP } from './memberships.ts'
import type { Part } from './part.ts'
import { PointMemory } from './point-columns.ts'
import { Sorter } from './points.ts'
import type { Rule } from './rule.ts'

/** The point is in its windows. */
export const TAKEN = 0
/** It came after its window was closed: the caller stores it as it is. */
export const LATE = 1
/** There is no room: the caller stores it as it is. */
export const FULL = 2
export type Took = typeof TAKEN | typeof LATE | typeof FULL

/** A source of points whose fate nobody counts: they are stored too, or were counted by an earlier process. */
export const UNCOUNTED = 255

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

/** What was given out, and up to when, ms. */
export type TimedEmission = Emission & {
  readonly time: number
  /** Names the configuration that the thread was opened with: numbers of rules mean nothing under another one. */
  readonly session: string
}

const MICROS = 1000
/** Groups are looked through for unused ones this often at most, ms. */
const RETAIN_EVERY_MS = 60_000
/** Memberships are combinations of groups: usually fewer than groups, never many more. */
const MEMBERSHIPS_PER_GROUP = 4

export class ShardRules {
  /** Memberships given out under another number are void: ask again. Changes in {@link forget} only. */
  generation = 0
  /** Points that no window took, and those that found no room, by lane: a point can be late in one and taken in another. */
  readonly counts: { late: number; full: number } = { late: 0, full: 0 }
  readonly #rules: readonly Rule[]
  readonly #options: ShardRulesOptions
  readonly #lanes: readonly Lane[]
  readonly #frames: readonly FoldFrame[]
  readonly #memberships: Memberships
  #emitting: { readonly now: number; readonly windows: Emitting } | undefined
  readonly #budget: Budget = { points: 0, memory: new PointMemory() }
  readonly #sorter = new Sorter()
  #retainedAt = Number.NEGATIVE_INFINITY
  #pointsMax: number

  constructor(rules: readonly Rule[], options: ShardRulesOptions) {
    this.#rules = rules
    this.#options = options
    this.#pointsMax = options.pointsMax
    const shapes = lanesOf(rules)
    const memberships = new Memberships(rules, shapes, options.groupsMax)
    const needs = rules.map(needsOf)
    this.#memberships = memberships
    this.#lanes = shapes.map((shape) => new Lane(shape, options.keepMs, this.#budget))
    this.#frames = shapes.map(({ counters }, lane) => ({ memberships, lane, needs, counters, spare: new Map() }))
  }

  /** Points kept, repeats included until their window is given out. */
  get points(): number {
    return this.#budget.points
  }

  /** Whether a rule may be about series of a name. */
  mayMatch(name: string): boolean {
    return this.#rules.some(({ match }) => match.some((selector) => selector.matchesName(name)))
  }

  /**
   * The number under which a series' points are added; `NO_MEMBERSHIP` when no rule is about it. To be kept for the series until
   * {@link generation} changes.
   * @param labels in canonical order, without `__name__`
   */
  join(tenant: string, name: string, labels: readonly Label[]): number {
    return this.#memberships.join(tenant, name, labels)
  }

  /** The same for what is sent to one rule, whether that matches it or not; `NO_MEMBERSHIP`: no room for one more group. */
  joinOnly(rule: number, tenant: string, name: string): number {
    return this.#memberships.joinOnly(rule, tenant, name)
  }

  /** Whether points of this membership that are TAKEN are not to be stored. */
  drops(membership: number): boolean {
    return this.#memberships.dropping[membership] === 1
  }

  /** What was closed at a time, ms, is not given out any more: some shard no longer has it. What came for it is to be stored. */
  close(time: number): void {
    this.#abandon()
    for (const lane of this.#lanes) lane.close(time)
  }

  /**
   * A journal is read again: what had room once has it now, and windows that were closed at `time` (ms), and given out, are not
   * made anew. @param add calls {@link add} for all that is read
   */
  refold(time: number, add: () => void): void {
    this.#abandon()
    for (const lane of this.#lanes) lane.freeze(time)
    this.#pointsMax = Number.POSITIVE_INFINITY
    add()
    this.#pointsMax = this.#options.pointsMax
  }

  /** Whether points of this membership and time were counted as dropped by an earlier process: see {@link refold}. */
  wasGivenOut(membership: number, time: number): boolean {
    const { shares, counting } = this.#memberships.get(membership)
    return counting >= 0 && this.#lanes[shares[counting]!.lane]!.isBefore(time)
  }

  /**
   * From when on, ms, an emission has told of a point in all windows that keep it from being stored. @param at of its arrival, µs
   */
  toldBy(membership: number, time: number, at: number): number {
    const amended = Math.floor(at / MICROS) + AMEND_EVERY_MS
    const sole = this.#memberships.soleLane[membership]!
    if (sole >= 0) return Math.max(amended, this.#lanes[sole]!.dueAt(time))
    const due = this.#memberships
      .get(membership)
      .shares.filter((share) => share.drops)
      .map((share) => this.#lanes[share.lane]!.dueAt(time))
    return Math.max(amended, ...due)
  }

  /** Whether every rule that counts for storing had room for the group of this membership. */
  hasRoomFor(membership: number): boolean {
    return this.#memberships.soleLane[membership]! >= 0 || !this.#memberships.get(membership).full
  }

  /**
   * What was before is not complete (its points are no longer in the journal): windows that begin less than an interval after it
   * are never given out, and their points answered LATE. What of such a window was TAKEN before is not reported as dropped: the
   * caller has to store it. @param time ms
   */
  raiseFloor(time: number): void {
    this.#abandon()
    for (const lane of this.#lanes) lane.floor = Math.max(lane.floor, time)
  }

  /**
   * Windows that were due at a time were given out by other rules, under names that a rule of now has too: it leaves them alone.
   * Points of its lane's windows up to there are answered LATE, and what of them was TAKEN before is not reported as dropped, as
   * below the floor.
   * @param times by rule, ms; -∞ or none: there were none such
   */
  begin(times: readonly number[]): void {
    this.#abandon()
    for (const lane of this.#lanes) lane.begin(times)
  }

  /**
   * Takes a point. The answer is that of the rules that drop their input, where one does: with TAKEN the point need not be
   * stored. LATE and FULL depend on the point alone, or on what is kept.
   * @param ref the series: one number for it as long as its points are kept
   * @param time of the sample, whole ms. @param at of its arrival, µs
   * @param source 0-255: by what the caller counts points that are dropped
   */
  add(membership: number, ref: number, time: number, low: number, high: number, at: number, source: number): Took {
    const sole = this.#memberships.soleLane[membership]!
    if (sole < 0 || this.#budget.points >= this.#pointsMax)
      return this.#addToMany(membership, ref, time, low, high, at, source)
    const lane = this.#lanes[sole]!
    if (!lane.put(membership, ref, time, low, high, at)) {
      this.counts.late++
      return LATE
    }
    if (this.#memberships.dropping[membership] === 1) lane.countDropped(source)
    return TAKEN
  }

  /** The same for points of one arrival. @returns what became of those that are not stored */
  addAll(run: PointRun): DroppedPoints {
    const { start, end, membership, series, refs, times, words, drops, at, source } = run
    const { soleLane } = this.#memberships
    const told = { count: 0, toldBy: Math.floor(at / MICROS) + AMEND_EVERY_MS }
    const roomy = this.#budget.points + (end - start) * this.#lanes.length <= this.#pointsMax
    for (let i = start; i < end; ) {
      const m = membership[i]!
      if (m < 0) {
        i++
        continue
      }
      const sole = soleLane[m]!
      const next = roomy && sole >= 0 ? this.#lanes[sole]!.putRun(run, i, soleLane, sole, told) : i
      if (next > i) {
        i = next
        continue
      }
      const time = times[i]!
      const drop = drops !== undefined && drops[i] === 1
      this.add(m, refs[series[i]!]!, time, words[2 * i]!, words[2 * i + 1]!, at, drop ? source : UNCOUNTED)
      if (drop) {
        told.count++
        told.toldBy = Math.max(told.toldBy, this.toldBy(m, time, at))
      }
      i++
    }
    return told
  }

  /**
   * What {@link decide} says of points of one arrival that no rule keeps from being dropped: 1 for each that its windows take.
   * @param into by item. @returns how many these are
   */
  decideAll({ start, end, membership, times, at }: PointRun, into: Uint8Array): number {
    const { soleLane, dropping } = this.#memberships
    let count = 0
    // Of the window of the last point: its lane, what it holds, and what it answers.
    let own = NO_LANE
    let begin = 0
    let last = 0
    let takes = 0
    for (let i = start; i < end; i++) {
      const m = membership[i]!
      if (m < 0 || dropping[m] !== 1) {
        into[i] = 0
        continue
      }
      const time = times[i]!
      const sole = soleLane[m]!
      if (sole < 0) into[i] = this.hasRoomFor(m) && this.decide(m, time, at) === TAKEN ? 1 : 0
      else {
        if (sole !== own || !(time > begin && time <= last)) {
          const lane = this.#lanes[sole]!
          own = sole
          last = lane.endOf(time)
          begin = last - lane.shape.intervalMs
          takes = lane.takesInto(last, at) ? 1 : 0
        }
        into[i] = takes
      }
      count += into[i]!
    }
    return count
  }

  /**
   * What {@link add} decides of a point by its arrival, without taking it: for one that is read from a journal again. TAKEN
   * where `add` had no room.
   */
  decide(membership: number, time: number, at: number): typeof TAKEN | typeof LATE {
    const sole = this.#memberships.soleLane[membership]!
    if (sole >= 0) return this.#lanes[sole]!.takes(time, at) ? TAKEN : LATE
    const { shares, drops } = this.#memberships.get(membership)
    for (const share of shares) {
      if (!this.#lanes[share.lane]!.takes(time, at) && (!drops || share.drops)) return LATE
    }
    return TAKEN
  }

  /**
   * The parts of all windows that are due and have something to tell.
   * @param now ms, of the clock that gives arrivals; while journals are replayed, the arrival of the last record
   * @param urgent the process is stopping: amendments do not wait
   * @param work do about so many points of it now
   * @returns undefined: not all is done, go on with another call
   */
  emit(now: number, urgent = false, work: number = Number.POSITIVE_INFINITY): Emission | undefined {
    this.#emitting ??= { now, windows: new Emitting({ now, urgent }, this.#lanes, this.#frames, this.#sorter) }
    const { now: begun, windows } = this.#emitting
    if (!windows.step(urgent ? Number.POSITIVE_INFINITY : work)) return undefined
    this.#emitting = undefined
    const through = this.#rules.map(
      ({ intervalMs, graceMs }) => Math.floor((begun - graceMs) / intervalMs) * intervalMs,
    )
    return { ...windows.result, through }
  }

  /** What was emitted only in part is emitted from the start again. */
  #abandon(): void {
    if (this.#emitting === undefined) return
    this.#emitting.windows.abandon()
    this.#emitting = undefined
    this.#memberships.tellAgain() // names that were in it
  }

  /** Windows are given out once more, since whoever had them has lost them; but those that were closed at a time, ms, are final. */
  emitAgain(closed: number): void {
    this.#abandon()
    this.#memberships.tellAgain()
    for (const lane of this.#lanes) lane.emitAgain(closed)
  }

  /**
   * Forgets windows that can neither change nor be the one before of one that can.
   * @param now as for {@link emit}. @param kept what was given out up to then is journalled, ms
   */
  forget(now: number, kept: number = Number.POSITIVE_INFINITY): void {
    if (this.#emitting !== undefined) return // numbers of groups are in use there
    for (const lane of this.#lanes) lane.forget(now, kept)
    this.#retainGroups(now)
  }

  /** Whether points that come at a time, ms, may belong into windows that are not complete. */
  isBelowFloor(now: number): boolean {
    return this.#lanes.some((lane) => lane.hasOpenBelowFloor(now))
  }

  /**
   * Points older than this, ms, are not needed again: the start of the oldest window that is kept or still open, less one interval.
   * Infinity without rules. @param now as for {@link emit}
   */
  oldestStart(now: number): number {
    return Math.min(...this.#lanes.map((lane) => lane.oldestStart(now)))
  }

  #addToMany(
    membership: number,
    ref: number,
    time: number,
    low: number,
    high: number,
    at: number,
    source: number,
  ): Took {
    const { shares, drops, counting, refused, full } = this.#memberships.get(membership)
    if (this.#budget.points + shares.length > this.#pointsMax) {
      this.counts.full += Math.max(1, shares.length)
      return FULL
    }
    let took: Took = TAKEN
    for (const share of shares) {
      if (this.#lanes[share.lane]!.put(membership, ref, time, low, high, at)) continue
      this.counts.late++
      if (!drops || share.drops) took = LATE
    }
    if (refused) this.counts.full++
    if (full) took = FULL
    if (took === TAKEN && drops) this.#lanes[shares[counting]!.lane]!.countDropped(source)
    return took
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
      for (const window of lane.inOrder()) {
        for (const { membership } of window.pieces.values())
          for (const one of membership) if (one !== NO_MEMBERSHIP) used.add(one)
        for (const membership of window.stirred) used.add(membership)
      }
    }
    this.#memberships.retain(used)
  }
}
