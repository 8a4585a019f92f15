/**
 * Who had what of something that several tasks used: a GPU, a node. Amounts are whole numbers of a small unit (µs, µWh, bytes), and
 *
 *     what tasks are given + what is idle = what was delivered
 *
 * holds exactly, to the unit, for every slot of 15 minutes: an amount is the difference of two roundings of what was delivered
 * since the slot's start, so that moments add up to the slot whatever cuts them, and a moment's amount is divided by largest
 * remainder. What a task is given so depends only on the tasks that were there at the same time.
 */
import type { Span, StepFunction } from './step-function.ts'

/** Every time zone's midnight is the start of a slot. */
export const SLOT_MS = 900_000

export const slotOf = (time: number): number => Math.floor(time / SLOT_MS) * SLOT_MS

/** A task on the thing that is shared. */
export interface Holder extends Span {
  /** Of the task; unique, and what is left over in dividing goes by it. */
  readonly key: string
  /** How much of the thing it used, in any unit, where a series of its own process or pod says so. */
  readonly weight?: StepFunction
}

/** By what it was divided: not at all, by series of the tasks' own, or equally for want of such. */
export type Division = 'alone' | 'by_weight' | 'equal'

export interface Share {
  /** undefined: nobody's, idle. */
  readonly key: string | undefined
  /** Start of the slot, ms. */
  readonly slot: number
  readonly amount: number
  /** The weakest that was used in the slot. */
  readonly division: Division
}

/** What was delivered from the slot's start until a time in it, rounded to whole units. Never falls. */
export type Delivered = (slot: number, until: number) => number

/** In the order of time, by holder; what nobody held comes with no key. */
export function sharesOf(holders: readonly Holder[], delivered: Delivered, span: Span): Share[] {
  const shares = new Map<string, { key: string | undefined; slot: number; amount: number; division: Division }>()
  const add = (key: string | undefined, slot: number, amount: number, division: Division): void => {
    const id = `${slot} ${key === undefined ? '' : `=${key}`}`
    const known = shares.get(id)
    if (known === undefined) shares.set(id, { key, slot, amount, division })
    else {
      known.amount += amount
      if (RANK[division] > RANK[known.division]) known.division = division
    }
  }
  for (const moment of momentsOf(holders, span)) {
    const slot = slotOf(moment.from)
    const amount = delivered(slot, moment.to) - delivered(slot, moment.from)
    const { holders: here } = moment
    if (here.length === 0) {
      add(undefined, slot, amount, 'alone')
      continue
    }
    const weights = weightsOf(here, moment)
    const division = here.length === 1 ? 'alone' : weights === undefined ? 'equal' : 'by_weight'
    const parts = apportion(amount, weights ?? here.map(() => 1))
    for (const [i, holder] of here.entries()) add(holder.key, slot, parts[i]!, division)
  }
  return [...shares.values()]
}

const RANK: Record<Division, number> = { alone: 0, by_weight: 1, equal: 2 }

/** Whole units of an integral. @param scale units in value · second; negative values count as none */
export function deliveredBy(steps: StepFunction, scale: number): Delivered {
  return (slot, until) => Math.round(steps.integral({ from: slot, to: until }) * scale)
}

/** µs that a thing is there to be held. */
export const deliveredTime: Delivered = (slot, until) => Math.round((until - slot) * 1000)

/**
 * What the delivered costs, in millionths of the currency: divided as what was delivered is, it adds up as exactly.
 * @param costOf of a quantity that was delivered in a time within a slot, in which the price does not change; rounded, and more costs
 *   no less
 * @param changes times at which the price changes, in their order, ms
 */
export function priced(
  delivered: Delivered,
  costOf: (quantity: number, from: number, to: number) => number,
  changes: readonly number[] = [],
): Delivered {
  return (slot, until) => {
    let sum = 0
    let from = slot
    for (const to of [...changes.filter((change) => change > slot && change < until), until]) {
      sum += costOf(delivered(slot, to) - delivered(slot, from), from, to)
      from = to
    }
    return sum
  }
}

/** Divides a whole number by weights into whole numbers that add up to it. @param weights not negative; all zero: equally */
export function apportion(amount: number, weights: readonly number[]): number[] {
  const whole = weights.reduce((sum, weight) => sum + weight, 0)
  if (!(whole > 0 && Number.isFinite(whole)))
    return apportion(
      amount,
      weights.map(() => 1),
    )
  const exact = weights.map((weight) => amount * (weight / whole))
  const parts = exact.map(Math.floor)
  let left = amount - parts.reduce((sum, part) => sum + part, 0)
  // The nearest to the next unit first; for equal ones the order that they come in.
  const order = exact.map((value, i) => ({ i, rest: value - parts[i]! })).sort((a, b) => b.rest - a.rest || a.i - b.i)
  for (let k = 0; left > 0; k = (k + 1) % order.length, left--) parts[order[k]!.i]!++
  for (let k = order.length - 1; left < 0; k = (k + order.length - 1) % order.length) {
    // Rounding of large numbers may have given one too many.
    if (parts[order[k]!.i]! === 0) continue
    parts[order[k]!.i]!--
    left++
  }
  return parts
}

interface Moment extends Span {
  readonly holders: readonly Holder[]
}

/** The span, cut wherever somebody comes or goes and a slot begins. Holders of a moment are in the order of their keys. */
function* momentsOf(holders: readonly Holder[], span: Span): Generator<Moment> {
  const sorted = [...holders].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const cuts = new Set([span.from, span.to])
  for (const { from, to } of sorted)
    for (const time of [from, to]) if (time > span.from && time < span.to) cuts.add(time)
  for (let slot = slotOf(span.from) + SLOT_MS; slot < span.to; slot += SLOT_MS) cuts.add(slot)
  const times = [...cuts].sort((a, b) => a - b)
  const coming = sorted.map((holder, order) => ({ holder, order })).sort((a, b) => a.holder.from - b.holder.from)
  let next = 0
  let here: typeof coming = []
  for (let i = 0; i + 1 < times.length; i++) {
    const [from, to] = [times[i]!, times[i + 1]!]
    const stay = here.filter(({ holder }) => holder.to >= to)
    const come: typeof coming = []
    for (; next < coming.length && coming[next]!.holder.from <= from; next++)
      if (coming[next]!.holder.to >= to) come.push(coming[next]!)
    here = come.length === 0 ? stay : [...stay, ...come].sort((a, b) => a.order - b.order)
    yield { from, to, holders: here.map(({ holder }) => holder) }
  }
}

/** What each used, when all of them say so; undefined: nobody knows. */
function weightsOf(holders: readonly Holder[], moment: Span): number[] | undefined {
  if (holders.length === 1) return undefined
  const weights: number[] = []
  for (const { weight } of holders) {
    if (weight === undefined || weight.covered(moment) === 0) return undefined
    weights.push(Math.max(0, weight.integral(moment)))
  }
  return weights.some((weight) => weight > 0) ? weights : undefined
}
