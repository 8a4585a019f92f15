/**
 * What a shard tells the collector of a window: the states of its groups, absolute, in columns. Plain data that can be cloned
 * from thread to thread; columns that the rule's outputs do not need are empty.
 */
import type { GroupState, Needs } from './group-state.ts'
import type { GroupKey } from './output-labels.ts'

export interface Part {
  /** Index of the rule. */
  readonly rule: number
  /** End of the window, ms: it holds (end - interval, end]. */
  readonly end: number
  /** All groups that the shard has in the window: others that it told before are void. Else only those that changed. */
  readonly complete: boolean
  readonly groups: readonly GroupKey[]
  readonly count: Float64Array
  readonly min: Float64Array
  readonly max: Float64Array
  readonly lastTime: Float64Array
  readonly last: Float64Array
  readonly sum: Lists
  readonly steps: Float64Array
  readonly increase: Lists
  readonly values: Lists
  /** Three numbers a bucket. */
  readonly buckets: Lists
}

/** A list for each group: that of group i is items[ends[i - 1] … ends[i]). */
export interface Lists {
  readonly ends: Uint32Array
  readonly items: Float64Array
}

/** Puts the states of groups into columns. */
export function encodePart(
  rule: number,
  end: number,
  complete: boolean,
  needs: Needs,
  states: ReadonlyMap<GroupKey, GroupState>,
): Part {
  const all = [...states.values()]
  const column = (needed: boolean, of: (state: GroupState) => number): Float64Array => {
    const out = new Float64Array(needed ? all.length : 0)
    for (let i = 0; i < out.length; i++) out[i] = of(all[i]!)
    return out
  }
  const lists = (needed: boolean, of: (state: GroupState, into: number[]) => void): Lists => {
    const items: number[] = []
    const ends = new Uint32Array(needed ? all.length : 0)
    for (let i = 0; i < ends.length; i++) {
      of(all[i]!, items)
      ends[i] = items.length
    }
    return { ends, items: Float64Array.from(items) }
  }
  return {
    rule,
    end,
    complete,
    groups: [...states.keys()],
    count: column(true, (s) => s.count),
    min: column(needs.extremes, (s) => s.min),
    max: column(needs.extremes, (s) => s.max),
    lastTime: column(needs.last, (s) => s.lastTime),
    last: column(needs.last, (s) => s.last),
    sum: lists(needs.sum, (s, into) => s.sum?.terms(into)),
    steps: column(needs.increase, (s) => s.steps),
    increase: lists(needs.increase, (s, into) => s.increase?.terms(into)),
    values: lists(needs.values, (s, into) => {
      for (const value of s.values ?? []) into.push(value)
    }),
    buckets: lists(needs.buckets, (s, into) => s.buckets?.triples(into)),
  }
}

/** Folds group i of a part into a state. */
export function absorb(state: GroupState, needs: Needs, part: Part, i: number): void {
  if (part.count[i] === 0) return
  state.count += part.count[i]!
  if (needs.sum) each(part.sum, i, (term) => state.sum?.add(term))
  if (needs.extremes) state.extend(part.min[i]!, part.max[i]!)
  if (needs.last) state.follow(part.lastTime[i]!, part.last[i]!)
  if (needs.increase) {
    state.steps += part.steps[i]!
    each(part.increase, i, (term) => state.increase?.add(term))
  }
  if (needs.values) each(part.values, i, (value) => state.values?.push(value))
  if (!needs.buckets) return
  const { ends, items } = part.buckets
  for (let b = startOf(ends, i); b < ends[i]!; b += 3) state.buckets?.add(items[b]!, items[b + 1]!, items[b + 2]!)
}

function each({ ends, items }: Lists, i: number, visit: (item: number) => void): void {
  for (let at = startOf(ends, i); at < ends[i]!; at++) visit(items[at]!)
}

function startOf(ends: Uint32Array, i: number): number {
  return i === 0 ? 0 : ends[i - 1]!
}
