/** Folds the points of a window into the states of its groups, piece by piece; series by series where it matters. */
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import { GroupColumns, NO_ROW } from './group-columns.ts'
import type { Needs } from './group-state.ts'
import type { Memberships } from './memberships.ts'
import type { Points } from './points.ts'
import { PIECE_SERIES } from './points.ts'

/** What folding needs to know besides the points. */
export interface FoldFrame {
  readonly memberships: Memberships
  readonly lane: number
  /** By index of the rule. */
  readonly needs: readonly Needs[]
  /** Whether a rule of the lane needs increases. */
  readonly counters: boolean
  /** By index of the rule: columns that nobody uses, for the next window: it mostly has as many groups. */
  readonly spare: Map<number, GroupColumns>
}

/** Of a piece, for a moment. */
const rowOfSeries = new Int32Array(PIECE_SERIES)
const columnsOfSeries = new Array<GroupColumns | undefined>(PIECE_SERIES).fill(undefined)

export class WindowFold {
  /** By index of the rule, those that have groups. */
  readonly columns: Map<number, GroupColumns> = new Map()
  readonly #frame: FoldFrame
  /** End of the window, ms. */
  readonly #end: number
  readonly #all: boolean
  readonly #growth = new Growth()

  /** @param only fold the groups of these memberships; the others are not in the result. A group without samples is, as empty */
  constructor(frame: FoldFrame, end: number, only: ReadonlySet<number> | undefined) {
    this.#frame = frame
    this.#end = end
    this.#all = only === undefined
    for (const membership of only ?? []) {
      const share = frame.memberships.shareOf(membership, frame.lane)
      for (const [i, rule] of (share?.rules ?? []).entries()) this.#columnsOf(rule).row(share!.groups[i]!, true)
    }
  }

  /**
   * Folds a piece of the window, settled.
   * @param before the piece of the same series of the window before, settled: the newest point of a series there is what its
   *   counters grow from
   */
  fold(points: Points, before: Points | undefined): void {
    if (this.#frame.counters) this.#foldSeries(points, before)
    else for (let at = 0, more = true; more; at++) more = this.#foldPoints(points, at)
  }

  /**
   * What a state is does not depend on the order of points: they are folded as they lie. Hot.
   * @param at into the group of which of a series' rules. @returns whether one has more
   */
  #foldPoints(points: Points, at: number): boolean {
    const more = this.#findRows(points.membership, at)
    const { series, count } = points
    for (let i = 0; i < count; i++) {
      const row = rowOfSeries[series[i]!]!
      if (row !== NO_ROW) this.#foldPoint(columnsOfSeries[series[i]!]!, row, points, i)
    }
    return more
  }

  /** A point into a group; a stale marker is none. Hot. */
  #foldPoint(columns: GroupColumns, row: number, { before, values, words }: Points, i: number): void {
    const value = values[i]!
    // biome-ignore lint/suspicious/noSelfCompare: NaN, without a call
    if (value !== value && words[2 * i] === STALE_LOW && words[2 * i + 1] === STALE_HIGH) return
    columns.add(row, this.#end - before[i]!, value)
  }

  /** Of each series of a piece the row of the group of one of its rules. */
  #findRows(membership: Int32Array, at: number): boolean {
    const { memberships, lane } = this.#frame
    let more = false
    let last = -1
    let columns: GroupColumns | undefined
    for (let s = 0; s < PIECE_SERIES; s++) {
      rowOfSeries[s] = NO_ROW
      const m = membership[s]!
      if (m < 0) continue
      let rule = memberships.soleRuleOf(m)
      let group: number
      if (rule >= 0) {
        if (at > 0) continue
        group = memberships.soleGroupOf(m)
      } else {
        const share = memberships.shareOf(m, lane)
        if (share === undefined || at >= share.rules.length) continue
        rule = share.rules[at]!
        group = share.groups[at]!
        more ||= at + 1 < share.rules.length
      }
      if (columns === undefined || rule !== last) columns = this.#columnsOf(rule)
      last = rule
      rowOfSeries[s] = columns.row(group, this.#all)
      columnsOfSeries[s] = columns
    }
    return more
  }

  /** Nothing is asked of its columns any more. */
  close(): void {
    for (const [rule, columns] of this.columns) {
      columns.clear()
      this.#frame.spare.set(rule, columns)
    }
    this.columns.clear()
  }

  #foldSeries(points: Points, before: Points | undefined): void {
    const { memberships, lane } = this.#frame
    const { series, membership, count, values } = points
    let baseline = 0
    for (let start = 0, end = 0; start < count; start = end) {
      const own = series[start]!
      for (end = start + 1; end < count && series[end] === own; end++);
      this.#growth.begin()
      if (before !== undefined) {
        while (baseline < before.count && before.series[baseline]! < own) baseline++
        for (; baseline < before.count && before.series[baseline] === own; baseline++)
          this.#growth.baseline(before.values[baseline]!)
      }
      for (let i = start; i < end; i++) this.#growth.read(values[i]!)
      const m = membership[own]!
      const sole = memberships.soleRuleOf(m)
      if (sole >= 0) this.#foldRun(this.#columnsOf(sole), memberships.soleGroupOf(m), points, start, end)
      else {
        const share = memberships.shareOf(m, lane)
        for (const [i, rule] of (share?.rules ?? []).entries())
          this.#foldRun(this.#columnsOf(rule), share!.groups[i]!, points, start, end)
      }
    }
  }

  /** A series' points into a group, with its growth. */
  #foldRun(columns: GroupColumns, group: number, points: Points, start: number, end: number): void {
    const row = columns.row(group, this.#all)
    if (row === NO_ROW) return
    for (let i = start; i < end; i++) this.#foldPoint(columns, row, points, i)
    if (columns.needs.increase) this.#growth.addTo(columns, row)
  }

  #columnsOf(rule: number): GroupColumns {
    let columns = this.columns.get(rule)
    if (columns === undefined) {
      columns = this.#frame.spare.get(rule) ?? new GroupColumns(this.#frame.needs[rule]!)
      this.#frame.spare.delete(rule)
      this.columns.set(rule, columns)
    }
    return columns
  }
}

/**
 * How one series' counter grew: a reading below the one before is a reset, and counts from zero. Readings that are not finite
 * are none. Kept as the terms of a sum, so that nothing is rounded before all series are added.
 */
class Growth {
  readonly #terms: number[] = []
  #last = Number.NaN
  #steps = 0

  begin(): void {
    this.#terms.length = 0
    this.#last = Number.NaN
    this.#steps = 0
  }

  /** A reading of the window before; the last one counts. */
  baseline(value: number): void {
    if (Number.isFinite(value)) this.#last = value
  }

  read(value: number): void {
    if (!Number.isFinite(value)) return
    if (!Number.isNaN(this.#last)) {
      this.#steps++
      if (value >= this.#last) this.#terms.push(value, -this.#last)
      else this.#terms.push(value)
    }
    this.#last = value
  }

  addTo(columns: GroupColumns, row: number): void {
    if (this.#steps === 0) return
    const state = columns.stateOf(row)
    state.steps += this.#steps
    for (const term of this.#terms) state.increase?.add(term)
  }
}
