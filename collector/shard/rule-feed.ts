/**
 * A shard's samples on their way into the windows of aggregation rules.
 *
 *     decided before the write is journalled, and written down there: which samples are not stored themselves
 *     done after it: every sample of a series that a rule is about goes into its windows
 *
 * A replay does the second from the journal, with the same arrivals, and ends in the same windows.
 */

import type { DroppedPoints, PointRun } from '../rules/lane.ts'
import { NO_MEMBERSHIP } from '../rules/memberships.ts'
import { rulesInForce } from '../rules/read-rules.ts'
import { OVERFLOW_RULE } from '../rules/rule.ts'
import type { Emission } from '../rules/shard-rules.ts'
import { ShardRules, TAKEN, UNCOUNTED } from '../rules/shard-rules.ts'
import { OVERFLOW } from './overflow.ts'
import type { PlainSamples, Reception } from './reception.ts'
import type { RuleHistory } from './rule-history.ts'
import type { SeriesTable } from './series-table.ts'
import { ACCEPTED } from './verdicts.ts'

/** Rules as they stand in the configuration, which can be handed to a thread, and their bounds. */
export interface RuleOptions {
  readonly rules: readonly unknown[]
  readonly keepMs: number
  readonly pointsMax: number
  readonly groupsMax: number
}

/** `not in a window`: the rule is gone, or its window is not complete any more; the sample is stored after all. */
export type DroppedFate = 'in a window' | 'given out' | 'not in a window'

const NOT_ASKED = -2
/** Points of windows that are folded in one go: some ten milliseconds, with what their groups take. */
const EMIT_POINTS = 20_000

export class RuleFeed {
  /** Whether a rule of the configuration drops its input at all. */
  readonly drops: boolean
  readonly #rules: ShardRules
  readonly #reception: Reception
  readonly #history: RuleHistory
  readonly #pointsMax: number
  /** A point may go into windows of so many lengths. */
  readonly #lanes: number
  /** What of the past a window may need beside its own length: late points, and the interval before it, ms. */
  readonly reachMs: number
  readonly #overflowRule: number
  /** By series. */
  #membership = new Int32Array(0)
  /** By item of the columns, for a moment. */
  #items = new Int32Array(0)
  /** Of the overflow rule, by tenant and metric. */
  readonly #overflowing = new Map<string, number>()
  #table: SeriesTable | undefined
  #generation = 0

  constructor(options: RuleOptions, reception: Reception, history: RuleHistory) {
    const rules = rulesInForce(options.rules)
    this.#rules = new ShardRules(rules, options)
    this.#reception = reception
    this.#history = history
    this.#pointsMax = options.pointsMax
    this.drops = rules.some((rule) => !rule.keepInput && rule !== OVERFLOW_RULE)
    this.#overflowRule = rules.indexOf(OVERFLOW_RULE)
    reception.overflow.join = (tenant, metric) => this.#joinOverflow(tenant, metric)
    this.#lanes = new Set(rules.map((rule) => `${rule.intervalMs} ${rule.graceMs}`)).size
    this.reachMs = options.keepMs + Math.max(0, ...rules.map((rule) => rule.graceMs + 2 * rule.intervalMs))
  }

  get counts(): ShardRules['counts'] {
    return this.#rules.counts
  }

  get points(): number {
    return this.#rules.points
  }

  /**
   * Whether a sample of the columns is not to be stored itself, as far as rules go: to be asked before the write is journalled.
   * @param at its arrival, µs. @param ahead samples of the write in front of it
   */
  willDrop(item: number, at: number, ahead: number): boolean {
    const { scratch } = this.#reception
    const membership = this.#membershipOf(scratch.series[item]!)
    if (membership === NO_MEMBERSHIP || !this.#rules.drops(membership)) return false
    const room = this.#rules.points + (ahead + 1) * this.#lanes <= this.#pointsMax && this.#rules.hasRoomFor(membership)
    return room && this.#rules.decide(membership, scratch.times[item]!, at) === TAKEN
  }

  /**
   * The same of all samples of the columns of which some are not stored, perhaps: writes it down for each.
   * @param into by item: 1 where it is not to be stored. @returns how many these are
   */
  willDropAll(samples: PlainSamples, at: number, ahead: number, into: Uint8Array): number {
    const { start, end, verdicts } = samples
    if (this.#rules.points + (ahead + end - start) * this.#lanes <= this.#pointsMax)
      return this.#rules.decideAll(this.#runOf(samples, at, UNCOUNTED), into)
    let dropped = 0
    let asked = ahead
    for (let i = start; i < end; i++) {
      const asks = verdicts[i] === ACCEPTED && this.#reception.scratch.series[i]! < OVERFLOW
      into[i] = asks && this.willDrop(i, at, asked++) ? 1 : 0
      dropped += into[i]!
    }
    return dropped
  }

  /** From when on an emission has told of a dropped sample, ms. @param at its arrival, µs */
  toldBy(item: number, at: number): number {
    const { scratch } = this.#reception
    return this.#rules.toldBy(this.#membershipOf(scratch.series[item]!), scratch.times[item]!, at)
  }

  /** Puts a sample of the columns into its windows. @param source what counts it, once, when its window is given out */
  fold(item: number, at: number, source: number): void {
    const membership = this.#membershipOf(this.#reception.scratch.series[item]!)
    if (membership !== NO_MEMBERSHIP) this.#put(item, membership, at, source)
  }

  #put(item: number, membership: number, at: number, source: number): void {
    const { scratch, table, overflow } = this.#reception
    const { times, words } = scratch
    const series = scratch.series[item]!
    this.#rules.add(
      membership,
      series < OVERFLOW ? table.ref[series]! : overflow.refOf(series),
      times[item]!,
      words[2 * item]!,
      words[2 * item + 1]!,
      at,
      source,
    )
  }

  /** Puts samples of the columns into their windows. @param source what counts those that are not stored themselves */
  foldAll(samples: PlainSamples, at: number, source: number): DroppedPoints {
    return this.#rules.addAll(this.#runOf(samples, at, source))
  }

  /** What has become of a sample of a record that was not to be stored itself. */
  fateOfDropped(item: number, at: number): DroppedFate {
    const { scratch } = this.#reception
    const series = scratch.series[item]!
    const time = scratch.times[item]!
    const membership = this.#membershipOf(series)
    const drops = membership !== NO_MEMBERSHIP && this.#rules.drops(membership)
    const before = drops && this.#rules.wasGivenOut(membership, time)
    if (drops && !before && this.#rules.hasRoomFor(membership) && this.#rules.decide(membership, time, at) === TAKEN)
      return 'in a window'
    // Under rules of before, it is for those to say. The overflow rule never changes.
    const givenOut = at > this.#history.since || series >= OVERFLOW ? before : this.#toldBefore(at, time, series)
    return givenOut ? 'given out' : 'not in a window'
  }

  #toldBefore(at: number, time: number, series: number): boolean {
    return this.#history.told(at, time, series, () => this.#reception.define(series))
  }

  /**
   * @param now ms; never before an arrival that was given out. @param kept what was given out up to then is journalled, ms
   * @returns undefined: not all is done
   */
  emit(now: number, urgent: boolean, kept: number): Emission | undefined {
    const emission = this.#rules.emit(now, urgent, EMIT_POINTS)
    if (emission !== undefined) this.#rules.forget(now, kept)
    return emission
  }

  /** See {@link ShardRules.close}. @param time ms */
  close(time: number): void {
    this.#rules.close(time)
  }

  /** The journal's end is read again; what was closed at `time` (ms) was given out. `read` folds all of it. */
  refold(time: number, read: () => void): void {
    this.#rules.refold(time, read)
  }

  /** See {@link ShardRules.emitAgain}. */
  emitAgain(closed: number): void {
    this.#rules.emitAgain(closed)
  }

  /** What is older is not complete, ms. */
  raiseFloor(time: number): void {
    this.#rules.raiseFloor(time)
  }

  /** See {@link ShardRules.begin}. @param times by rule of the configuration, ms */
  begin(times: readonly number[]): void {
    this.#rules.begin(times) // the overflow rule, which comes last, never changes
  }

  /** Whether points that come at a time, ms, may belong into windows that are not complete. */
  isBelowFloor(now: number): boolean {
    return this.#rules.isBelowFloor(now)
  }

  /** Samples from before are not needed any more, ms. */
  oldestStart(now: number): number {
    return this.#rules.oldestStart(now)
  }

  #joinOverflow(tenant: string, metric: string): number | undefined {
    this.#checkGeneration()
    const key = `${tenant}\0${metric}`
    const known = this.#overflowing.get(key)
    if (known !== undefined) return known
    const membership = this.#rules.joinOnly(this.#overflowRule, tenant, metric)
    if (membership === NO_MEMBERSHIP) return undefined
    this.#overflowing.set(key, membership)
    return membership
  }

  #checkGeneration(): void {
    const { table } = this.#reception
    if (table === this.#table && this.#generation === this.#rules.generation) return
    if (this.#generation !== this.#rules.generation) this.#overflowing.clear()
    if (table !== this.#table) this.#history.forgetSeries()
    this.#table = table
    this.#generation = this.#rules.generation
    this.#membership = new Int32Array(0)
  }

  #join(series: number): number {
    const { tenant, name, labels } = this.#reception.define(series)
    return this.#rules.join(tenant, name, labels)
  }

  /** With the memberships of those that are taken and have a series; its columns are good until the next one. */
  #runOf({ start, end, verdicts, drops }: PlainSamples, at: number, source: number): PointRun {
    this.#checkGeneration()
    const { scratch, table } = this.#reception
    const { series, times, words } = scratch
    if (this.#items.length !== times.length) this.#items = new Int32Array(times.length) // which are given back when few are needed
    const membership = this.#items
    let known = this.#membership
    for (let i = start; i < end; i++) {
      if (verdicts[i] !== ACCEPTED) {
        membership[i] = NO_MEMBERSHIP
        continue
      }
      const s = series[i]!
      let m = s < known.length ? known[s]! : NOT_ASKED
      if (m === NOT_ASKED) {
        m = s >= OVERFLOW ? NO_MEMBERSHIP : this.#membershipOf(s)
        known = this.#membership
      }
      membership[i] = m
    }
    return { start, end, membership, series, refs: table.ref, times, words, drops, at, source }
  }

  /** Asked once a series. */
  #membershipOf(series: number): number {
    if (series >= OVERFLOW) return this.#reception.overflow.membershipOf(series)
    this.#checkGeneration()
    if (series >= this.#membership.length) {
      const grown = new Int32Array(Math.max(this.#reception.table.ref.length, series + 1)).fill(NOT_ASKED)
      grown.set(this.#membership)
      this.#membership = grown
    }
    const known = this.#membership[series]!
    if (known !== NOT_ASKED) return known
    const membership = this.#rules.mayMatch(this.#reception.nameOf(series)) ? this.#join(series) : NO_MEMBERSHIP
    this.#membership[series] = membership
    return membership
  }
}
