/** Folds the points of a window into the states of its groups, series by series and piece by piece. */
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import { GroupColumns } from './group-columns.ts'
import type { Needs } from './group-state.ts'
import type { Memberships } from './memberships.ts'
import type { Points } from './points.ts'

/** What folding needs to know besides the points. */
export interface FoldFrame {
  readonly memberships: Memberships
  readonly lane: number
  /** By index of the rule. */
  readonly needs: readonly Needs[]
  /** Whether a rule of the lane needs increases. */
  readonly counters: boolean
}

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
    const { memberships, lane, counters } = this.#frame
    const { ref, membership, count, values } = points
    let baseline = 0
    for (let start = 0, end = 0; start < count; start = end) {
      const series = ref[start]!
      for (end = start + 1; end < count && ref[end] === series; end++);
      const share = memberships.shareOf(membership[end - 1]!, lane)
      if (share === undefined) continue
      if (counters) {
        this.#growth.begin()
        if (before !== undefined) {
          while (baseline < before.count && before.ref[baseline]! < series) baseline++
          for (; baseline < before.count && before.ref[baseline] === series; baseline++)
            this.#growth.baseline(before.values[baseline]!)
        }
        for (let i = start; i < end; i++) this.#growth.read(values[i]!)
      }
      for (let i = 0; i < share.rules.length; i++) {
        const columns = this.#columnsOf(share.rules[i]!)
        const row = columns.row(share.groups[i]!, this.#all)
        if (row < 0) continue
        this.#foldRun(columns, row, points, start, end)
        if (columns.needs.increase) this.#growth.addTo(columns, row)
      }
    }
  }

  #foldRun(columns: GroupColumns, row: number, { values, words, before }: Points, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      const value = values[i]!
      // biome-ignore lint/suspicious/noSelfCompare: NaN, without a call
      if (value !== value && words[2 * i] === STALE_LOW && words[2 * i + 1] === STALE_HIGH) continue
      columns.add(row, this.#end - before[i]!, value)
    }
  }

  #columnsOf(rule: number): GroupColumns {
    let columns = this.columns.get(rule)
    if (columns === undefined) {
      columns = new GroupColumns(this.#frame.needs[rule]!)
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
