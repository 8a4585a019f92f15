/**
 * What a shard tells the collector of a window: the states of its groups, absolute, in columns. Plain data that can be cloned
 * from thread to thread; columns that the rule's outputs do not need are empty.
 */
import type { GroupColumns } from './group-columns.ts'
import type { GroupState, Needs } from './group-state.ts'
import type { GroupKey } from './output-labels.ts'

export interface Part {
  /** Index of the rule. */
  readonly rule: number
  /** End of the window, ms: it holds (end - interval, end]. */
  readonly end: number
  /** What the shard told of the window before is void. Of a window with many groups, the first part says so. */
  readonly complete: boolean
  /** Numbers that the shard has for them. */
  readonly groups: Uint32Array
  /** Rows of groups whose numbers the collector does not know yet, or that stand for other groups now; and their names. */
  readonly named: Uint32Array
  readonly names: readonly GroupKey[]
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

/**
 * A part of the rows [start, end) of a rule's groups.
 * @param nameOf the name of a group by its number, where the collector was not told of it
 */
export function partOf(
  place: Pick<Part, 'rule' | 'end' | 'complete'>,
  columns: GroupColumns,
  rows: { readonly start: number; readonly end: number },
  nameOf: (group: number) => GroupKey | undefined,
): Part {
  const { needs } = columns
  const { start, end } = rows
  const slice = (needed: boolean, column: Float64Array): Float64Array => (needed ? column.slice(start, end) : NOTHING)
  const named: number[] = []
  const names: GroupKey[] = []
  for (let row = start; row < end; row++) {
    const name = nameOf(columns.group[row]!)
    if (name === undefined) continue
    named.push(row - start)
    names.push(name)
  }
  const lists = (
    needed: boolean,
    of: (state: Pick<GroupState, 'increase' | 'values' | 'buckets'>, into: number[]) => void,
  ): Lists => (needed ? listsOf(rows, (row, into) => of(columns.states.get(row) ?? EMPTY, into)) : NO_LISTS)
  return {
    ...place,
    groups: columns.group.slice(start, end),
    named: Uint32Array.from(named),
    names,
    count: slice(true, columns.count),
    min: slice(needs.extremes, columns.min),
    max: slice(needs.extremes, columns.max),
    lastTime: slice(needs.last, columns.lastTime),
    last: slice(needs.last, columns.last),
    sum: needs.sum ? sumsOf(columns, rows) : NO_LISTS,
    steps: needs.increase
      ? Float64Array.from({ length: end - start }, (_, i) => columns.states.get(start + i)?.steps ?? 0)
      : NOTHING,
    increase: lists(needs.increase, (state, into) => state.increase?.terms(into)),
    values: lists(needs.values, (state, into) => {
      for (const value of state.values ?? []) into.push(value)
    }),
    buckets: lists(needs.buckets, (state, into) => state.buckets?.triples(into)),
  }
}

const NOTHING = new Float64Array(0)
const NO_LISTS: Lists = { ends: new Uint32Array(0), items: NOTHING }
/** Of groups that have all in columns. */
const EMPTY: Pick<GroupState, 'increase' | 'values' | 'buckets'> = {
  increase: undefined,
  values: undefined,
  buckets: undefined,
}

/** Nearly all sums are one double or two. */
function sumsOf({ states, sum, low }: GroupColumns, rows: { readonly start: number; readonly end: number }): Lists {
  if (states.size > 0)
    return listsOf(rows, (row, into) => {
      const state = states.get(row)
      if (state !== undefined) state.sum?.terms(into)
      else {
        if (low[row] !== 0) into.push(low[row]!)
        into.push(sum[row]!)
      }
    })
  const count = rows.end - rows.start
  const ends = new Uint32Array(count)
  const items = new Float64Array(2 * count)
  let used = 0
  for (let i = 0; i < count; i++) {
    const row = rows.start + i
    if (low[row] !== 0) items[used++] = low[row]!
    items[used++] = sum[row]!
    ends[i] = used
  }
  return { ends, items: items.slice(0, used) }
}

function listsOf(
  { start, end }: { readonly start: number; readonly end: number },
  of: (row: number, into: number[]) => void,
): Lists {
  const items: number[] = []
  const ends = new Uint32Array(end - start)
  for (let row = start; row < end; row++) {
    of(row, items)
    ends[row - start] = items.length
  }
  return { ends, items: Float64Array.from(items) }
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

export function startOf(ends: Uint32Array, i: number): number {
  return i === 0 ? 0 : ends[i - 1]!
}
