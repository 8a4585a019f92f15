/**
 * What of a GPU's time nobody had. Of every slot of 15 minutes, in whole µs:
 *
 *     what tasks were counted + what is idle = what was delivered + what no sample measured
 *
 *     samples   ├────────────── there ──────────────┤            ├───── there ─────┤
 *     tasks           ├── held ──┤      ├────────── held ──────────────┤
 *               │idle │          │ idle │           │ unmeasured │     │    idle   │
 *
 * Where all that tasks held was measured, costs add up as exactly, to a millionth of the currency: the cost of a moment is the difference
 * of two roundings since the slot's start, as that of a task's share is (shares.ts). Counted more than held, as when two tenants had the
 * GPU at once, is unmeasured too; counted less is idle.
 */
import type { Delivered } from './shares.ts'
import { apportion, deliveredTime, priced, SLOT_MS, slotOf } from './shares.ts'
import { unionOf, without } from './spans.ts'
import type { Span } from './step-function.ts'
import type { ResourcePrices } from './task-prices.ts'

/** What tasks were counted in a slot. */
export interface Counted {
  /** µs. */
  readonly amount: number
  /** Millionths by currency; what has no price is not among them. */
  readonly costs: ReadonlyMap<string, number>
}

export interface GpuTime {
  /** When its samples say that it was there: in order, apart from each other. */
  readonly there: readonly Span[]
  /** When tasks had it, in any order. */
  readonly held: readonly Span[]
  /** By slot. */
  readonly counted: ReadonlyMap<number, Counted>
  /** Of GPU-seconds on its machine; undefined: nobody ever said that they cost anything. */
  readonly prices: ResourcePrices | undefined
}

/** µs, and millionths of the currency. */
export interface GpuSlot {
  /** Start, ms. */
  readonly slot: number
  readonly delivered: number
  readonly attributed: number
  readonly idle: number
  readonly unmeasured: number
  /** '': nothing says what it costs, and costs are 0. */
  readonly currency: string
  readonly deliveredCost: number
  readonly attributedCost: number
  readonly idleCost: number
}

/** Slots in which there is anything, in order; one more where tasks paid in a currency that the machine's time is not priced in. */
export function* gpuSlots({ there, held, counted, prices }: GpuTime): Generator<GpuSlot> {
  const delivered = bySlot(there)
  const idle = bySlot(without(there, unionOf(held)))
  const cost: Delivered = prices === undefined ? () => 0 : priced(deliveredTime, prices.costOf, prices.changes)
  for (const slot of [...new Set([...delivered.keys(), ...counted.keys()])].sort((a, b) => a - b)) {
    const [thereNow, idleNow] = [delivered.get(slot) ?? [], idle.get(slot) ?? []]
    const { amount: attributed, costs } = counted.get(slot) ?? NOTHING
    const idleTime = amountOf(slot, idleNow, deliveredTime)
    const sums = balanced(amountOf(slot, thereNow, deliveredTime), idleTime, attributed)
    const currency = currencyOf(prices, slot, thereNow, costs)
    const costOf = (spans: readonly Span[]): number => (currency === '' ? 0 : amountOf(slot, spans, cost))
    const missing = currency === '' ? 0 : (prices?.costOf(sums.idle - idleTime, slot, slot + SLOT_MS) ?? 0)
    const deliveredCost = costOf(thereNow)
    const idleCost = costOf(idleNow) + missing
    yield { slot, ...sums, currency, deliveredCost, attributedCost: costs.get(currency) ?? 0, idleCost }
    for (const [other, micros] of costs)
      if (other !== currency) yield { ...EMPTY, slot, currency: other, attributedCost: micros }
  }
}

/** µs of the spans in a slot by slot. */
export function timeBySlot(spans: readonly Span[]): Map<number, number> {
  return new Map([...bySlot(spans)].map(([slot, cut]) => [slot, amountOf(slot, cut, deliveredTime)]))
}

/**
 * What was counted of a node's tasks, by GPU. Usage says no GPU: it is divided as the tasks' own windows on the GPUs are, which is what it
 * was made of. The parts add up to what was counted.
 * @param held µs by slot of each GPU; the last one takes what was counted where no window is
 */
export function dividedByGpu(
  counted: ReadonlyMap<number, Counted>,
  held: readonly ReadonlyMap<number, number>[],
): Map<number, Counted>[] {
  const out = held.map(() => new Map<number, Counted>())
  for (const [slot, { amount, costs }] of counted) {
    const times = held.map((one) => one.get(slot) ?? 0)
    if (times.every((time) => time === 0)) {
      out.at(-1)?.set(slot, { amount, costs })
      continue
    }
    const amounts = apportion(amount, times)
    const parts = new Map([...costs].map(([currency, micros]) => [currency, apportion(micros, times)]))
    for (const [i, one] of out.entries()) {
      const own = new Map([...parts].map(([currency, micros]) => [currency, micros[i]!]))
      if (amounts[i]! !== 0 || [...own.values()].some((micros) => micros !== 0))
        one.set(slot, { amount: amounts[i]!, costs: own })
    }
  }
  return out
}

const NOTHING: Counted = { amount: 0, costs: new Map() }
const EMPTY = { delivered: 0, attributed: 0, idle: 0, unmeasured: 0, deliveredCost: 0, idleCost: 0 }

/** @param idle of what was delivered: what nobody held */
function balanced(
  delivered: number,
  idle: number,
  attributed: number,
): Pick<GpuSlot, 'delivered' | 'attributed' | 'idle' | 'unmeasured'> {
  const surplus = attributed - (delivered - idle)
  return { delivered, attributed, idle: idle + Math.max(0, -surplus), unmeasured: Math.max(0, surplus) }
}

/** Spans cut at the beginnings of slots, by slot. */
function bySlot(spans: readonly Span[]): Map<number, Span[]> {
  const out = new Map<number, Span[]>()
  for (const { from, to } of spans)
    for (let slot = slotOf(from); slot < to; slot += SLOT_MS) {
      const cut = { from: Math.max(from, slot), to: Math.min(to, slot + SLOT_MS) }
      const known = out.get(slot)
      if (known === undefined) out.set(slot, [cut])
      else known.push(cut)
    }
  return out
}

function amountOf(slot: number, spans: readonly Span[], delivered: Delivered): number {
  return spans.reduce((sum, { from, to }) => sum + delivered(slot, to) - delivered(slot, from), 0)
}

/** Where a price holds for all that was delivered in the slot, its currency; where nothing was, that in which tasks paid. */
function currencyOf(
  prices: ResourcePrices | undefined,
  slot: number,
  there: readonly Span[],
  costs: ReadonlyMap<string, number>,
): string {
  if (there.length === 0) return [...costs.keys()][0] ?? ''
  const held = prices?.held(Math.max(slot, there[0]!.from), there.at(-1)!.to)
  return held === undefined || 'reason' in held ? '' : held.currency
}
