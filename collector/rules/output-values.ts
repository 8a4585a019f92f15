/** What the outputs of a group are that are a number each. */
import { ExactSum } from './exact-sum.ts'
import type { GroupState } from './group-state.ts'
import type { Part } from './part.ts'
import { startOf } from './part.ts'
import type { PlainOutput, Rule } from './rule.ts'

type FloatOutput = Exclude<PlainOutput, 'histogram'>
/** Where rows of parts suffice, see `Needs`. */
export type RowOutput = Exclude<FloatOutput, 'increase' | 'rate'>

/** Of a state that has samples, and what the output needs. Undefined: there was nothing to compare. */
export function floatOfState(kind: FloatOutput, state: GroupState, { intervalMs }: Rule): number | undefined {
  switch (kind) {
    case 'count':
      return state.count
    case 'sum':
      return state.sum!.value
    case 'avg':
      return state.sum!.mean(state.count)
    case 'min':
      return state.min
    case 'max':
      return state.max
    case 'last':
      return state.last
    case 'increase':
      return state.steps === 0 ? undefined : state.increase!.value
    case 'rate':
      return state.steps === 0 ? undefined : state.increase!.value / (intervalMs / 1000)
    default:
      return kind satisfies never
  }
}

/** Of a row of a part, which has samples; the same as of a state that it alone was folded into. */
export function floatOfRow(kind: RowOutput, part: Part, row: number): number {
  switch (kind) {
    case 'count':
      return part.count[row]!
    case 'sum':
    case 'avg':
      return sumOfRow(part, row, kind === 'avg')
    case 'min':
      return part.min[row]!
    case 'max':
      return part.max[row]!
    case 'last':
      return part.last[row]!
    default:
      return kind satisfies never
  }
}

function sumOfRow({ sum, count }: Part, row: number, mean: boolean): number {
  const { ends, items } = sum
  const first = startOf(ends, row)
  const end = ends[row]!
  const last = items[end - 1]!
  if (end <= first + 2 && Math.abs(last) < ExactSum.PLAIN_MAX) {
    const value = (end === first + 2 ? items[first]! : 0) + last // rounded once; -0 is +0
    return mean ? value / count[row]! : value
  }
  const exact = new ExactSum()
  for (let at = first; at < end; at++) exact.add(items[at]!)
  return mean ? exact.mean(count[row]!) : exact.value
}
