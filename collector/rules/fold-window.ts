/** Folds the points of a settled window into the states of its groups, series by series. */
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import type { Needs } from './group-state.ts'
import { GroupState } from './group-state.ts'
import type { Memberships } from './memberships.ts'
import type { GroupKey } from './output-labels.ts'
import type { Window } from './window.ts'

/** States by rule and group. */
export type Folded = Map<number, Map<GroupKey, GroupState>>

/** What folding needs to know besides the points. */
export interface FoldFrame {
  readonly memberships: Memberships
  readonly lane: number
  /** By index of the rule. */
  readonly needs: readonly Needs[]
  /** Whether a rule of the lane needs increases. */
  readonly counters: boolean
}

/**
 * @param before the window before, settled: the newest point of a series there is what its counters grow from
 * @param only fold the groups of these memberships; the others are not in the result. A group without samples is, as empty
 */
export function foldWindow(
  frame: FoldFrame,
  window: Window,
  before: Window | undefined,
  only: ReadonlySet<number> | undefined,
): Folded {
  const groups = new Groups(frame)
  if (only !== undefined) for (const membership of only) groups.open(membership)
  const growth = new Growth()
  const { ref, membership, count } = window
  let baseline = 0
  for (let start = 0, end = 0; start < count; start = end) {
    const series = ref[start]!
    for (end = start + 1; end < count && ref[end] === series; end++);
    const states = groups.of(membership[end - 1]!, only === undefined)
    if (states.length === 0) continue
    for (const { state, needs } of states) foldRun(state, needs, window, start, end)
    if (!frame.counters) continue
    growth.begin()
    if (before !== undefined) {
      while (baseline < before.count && before.ref[baseline]! < series) baseline++
      for (; baseline < before.count && before.ref[baseline] === series; baseline++)
        growth.baseline(before.values[baseline]!)
    }
    for (let i = start; i < end; i++) growth.read(window.values[i]!)
    for (const { state, needs } of states) if (needs.increase) growth.addTo(state)
  }
  return groups.folded
}

function foldRun(state: GroupState, needs: Needs, window: Window, start: number, end: number): void {
  const { values, words, before } = window
  for (let i = start; i < end; i++) {
    const value = values[i]!
    // biome-ignore lint/suspicious/noSelfCompare: NaN, without a call
    if (value !== value && words[2 * i] === STALE_LOW && words[2 * i + 1] === STALE_HIGH) continue
    state.add(needs, window.end - before[i]!, value)
  }
}

interface Target {
  readonly state: GroupState
  readonly needs: Needs
}

/** The states of a window's groups, as they are met. */
class Groups {
  readonly folded: Folded = new Map()
  readonly #frame: FoldFrame
  readonly #byMembership = new Map<number, readonly Target[]>()

  constructor(frame: FoldFrame) {
    this.#frame = frame
  }

  /** Makes the groups of a membership part of the result. */
  open(membership: number): void {
    this.of(membership, true)
  }

  /** The states that a series of this membership is folded into. @param make those that are not there yet */
  of(membership: number, make: boolean): readonly Target[] {
    const known = this.#byMembership.get(membership)
    if (known !== undefined) return known
    const { memberships, lane, needs } = this.#frame
    const states: Target[] = []
    for (const share of memberships.get(membership).shares) {
      if (share.lane !== lane) continue
      for (let i = 0; i < share.rules.length; i++) {
        const rule = share.rules[i]!
        const state = this.#state(rule, memberships.groupKey(rule, share.groups[i]!), make)
        if (state !== undefined) states.push({ state, needs: needs[rule]! })
      }
    }
    this.#byMembership.set(membership, states)
    return states
  }

  #state(rule: number, key: GroupKey, make: boolean): GroupState | undefined {
    let groups = this.folded.get(rule)
    let state = groups?.get(key)
    if (state !== undefined || !make) return state
    if (groups === undefined) {
      groups = new Map()
      this.folded.set(rule, groups)
    }
    state = new GroupState(this.#frame.needs[rule]!)
    groups.set(key, state)
    return state
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

  addTo(state: GroupState): void {
    state.steps += this.#steps
    for (const term of this.#terms) state.increase?.add(term)
  }
}
