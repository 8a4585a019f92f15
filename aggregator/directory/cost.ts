/**
 * What something costs: quantity × unit price at its time. Pure, and exact: integers all the way, rounded once.
 *
 *     line      ├──────────── 7200 gpu_seconds ────────────┤
 *     prices    ├── 2.50 EUR per 3600 ──┤├─ 2.00 per 3600 ─┤      split where the price changes, the quantity by time
 *
 * A line that no price fits, or fits only in part, costs null with the reason, never 0. Of the prices that fit, the tenant's own win
 * over those of all tenants, then those by vm_type and gpu_model over vm_type over gpu_model over neither, then the latest.
 *
 * **Rounding.** A line's cost is rounded half-even to a millionth of the currency, so it is at most ½ away from the exact one; n lines
 * that are parts of one differ together by at most (n + 1) / 2 from it. Parts of a line add up to it exactly.
 */
import { divide } from './divide.ts'
import type { Entry } from './entry.ts'
import { ALL_TENANTS } from './entry.ts'
import type { Price } from './price.ts'

export interface CostLine {
  readonly tenant: string
  readonly resource: string
  /** In the unit of the resource's name; at most 9e15; finer than a millionth is rounded off. */
  readonly quantity: number
  /** The period that it was used in, spread evenly, ms; equal for something that happens at once. */
  readonly from: number
  readonly to: number
  readonly vmType?: string
  readonly gpuModel?: string
}

/** A part of a line under one price. */
export interface CostPart {
  readonly from: number
  readonly to: number
  /** Id of the price. */
  readonly price: string
  /** Why that one. */
  readonly matched: PriceMatch
  readonly micros: bigint
}

export interface PriceMatch {
  readonly of: 'tenant' | 'all_tenants'
  readonly by: 'vm_type and gpu_model' | 'vm_type' | 'gpu_model' | 'resource'
}

export type Cost =
  | { readonly micros: bigint; readonly currency: string; readonly parts: readonly CostPart[] }
  | { readonly micros: null; readonly reason: Unpriced; readonly detail: string }

export type Unpriced =
  /** Nobody ever said what that costs there. */
  | 'no_price'
  /** There are prices, but none for (all of) that time. */
  | 'no_price_then'
  /** The price changes to another currency within the line. */
  | 'currency_changes'
  /** The line itself is none. */
  | 'bad_line'

/** What may be paid for a resource: {@link DirectorySnapshot.pricesOf}. */
export type PriceSource = (tenant: string, resource: string) => readonly Entry<Price>[]

const QUANTITY_MAX = 9e15
const QUANTITY_STEPS = 1_000_000

interface Segment {
  readonly from: number
  readonly to: number
  readonly price: Entry<Price>
}

/** The cost of each line. */
export function cost(lines: readonly CostLine[], prices: PriceSource): Cost[] {
  return lines.map((line) => costOf(line, prices))
}

function costOf(line: CostLine, prices: PriceSource): Cost {
  const { tenant, resource, quantity, from, to } = line
  if (!(quantity >= 0 && quantity <= QUANTITY_MAX) || !(Number.isFinite(from) && to >= from && Number.isFinite(to)))
    return unpriced('bad_line', `quantity ${quantity} from ${from} to ${to}`)
  const fitting = prices(tenant, resource).filter((price) => price.record.superseded_by === null && fits(price, line))
  const what = `${resource} of ${tenant}, vm_type ${line.vmType ?? 'unknown'}, gpu_model ${line.gpuModel ?? 'unknown'}`
  if (fitting.length === 0) return unpriced('no_price', `no price fits ${what}`)
  const segments = segmentsOf(line, fitting)
  if (typeof segments === 'number')
    return unpriced('no_price_then', `no price fits ${what} at ${new Date(segments).toISOString()}`)
  const currency = segments[0]!.price.record.currency
  if (segments.some(({ price }) => price.record.currency !== currency))
    return unpriced('currency_changes', `prices of ${what} are in several currencies in that time`)
  return { currency, ...chargeOf(line, segments) }
}

/** Whether a price is for that machine; null of the price is for any. */
function fits({ record }: Entry<Price>, { vmType, gpuModel }: CostLine): boolean {
  return sameOrAny(record.vm_type, vmType) && sameOrAny(record.gpu_model, gpuModel)
}

function sameOrAny(wanted: string | null, given: string | undefined): boolean {
  return wanted === null || wanted.toLowerCase() === given?.toLowerCase()
}

/** @returns a moment without a price, where there is one */
function segmentsOf({ from, to }: CostLine, fitting: readonly Entry<Price>[]): Segment[] | number {
  const changes = fitting.flatMap((price) => [price.from, price.to]).filter((at) => at > from && at < to)
  const bounds = [...new Set([from, ...changes])].sort((a, b) => a - b)
  const segments: Segment[] = []
  for (const [i, at] of bounds.entries()) {
    const price = best(fitting, at)
    if (price === undefined) return at
    const last = segments.at(-1)
    const end = bounds[i + 1] ?? to
    if (last?.price === price) segments[segments.length - 1] = { ...last, to: end }
    else segments.push({ from: at, to: end, price })
  }
  return segments
}

/** The price that holds at a time: see the head of this file. */
function best(fitting: readonly Entry<Price>[], at: number): Entry<Price> | undefined {
  let found: Entry<Price> | undefined
  for (const price of fitting) {
    if (price.from > at || at >= price.to) continue
    if (found === undefined || wins(price, found)) found = price
  }
  return found
}

function wins(a: Entry<Price>, b: Entry<Price>): boolean {
  const ranked = rank(a.record) - rank(b.record)
  if (ranked !== 0) return ranked > 0
  return a.from === b.from ? a.record.id > b.record.id : a.from > b.from
}

function rank({ tenant, vm_type, gpu_model }: Price): number {
  return (tenant === ALL_TENANTS ? 0 : 4) + (vm_type === null ? 0 : 2) + (gpu_model === null ? 0 : 1)
}

function matchOf({ tenant, vm_type, gpu_model }: Price): PriceMatch {
  const by = [...(vm_type === null ? [] : ['vm_type']), ...(gpu_model === null ? [] : ['gpu_model'])].join(' and ')
  return {
    of: tenant === ALL_TENANTS ? 'all_tenants' : 'tenant',
    by: (by === '' ? 'resource' : by) as PriceMatch['by'],
  }
}

/** Σ quantity × (its share of the time) × amount / per, as a fraction, rounded once. */
function chargeOf(line: CostLine, segments: readonly Segment[]): { micros: bigint; parts: CostPart[] } {
  const steps = stepsOf(line.quantity)
  const time = BigInt(Math.max(1, line.to - line.from))
  const pers = segments.map(({ price }) => BigInt(price.record.per))
  const product = pers.reduce((all, per) => all * per, 1n)
  // Of each segment, over the common denominator.
  const shares = segments.map(({ from, to, price }, i) => {
    const share = line.to === line.from ? 1n : BigInt(to - from)
    return steps * share * BigInt(price.record.amount_micros) * (product / pers[i]!)
  })
  const exact = shares.reduce((a, b) => a + b, 0n)
  const micros = roundHalfEven(exact, BigInt(QUANTITY_STEPS) * time * product)
  const divided = divide(micros, shares)
  const parts = segments.map(({ from, to, price }, i) => ({
    from,
    to,
    price: price.record.id,
    matched: matchOf(price.record),
    micros: divided[i]!,
  }))
  return { micros, parts }
}

/** In millionths of a unit. */
function stepsOf(quantity: number): bigint {
  const whole = Math.trunc(quantity)
  return BigInt(whole) * BigInt(QUANTITY_STEPS) + BigInt(Math.round((quantity - whole) * QUANTITY_STEPS))
}

/** @param numerator not negative */
function roundHalfEven(numerator: bigint, denominator: bigint): bigint {
  const down = numerator / denominator
  const twice = (numerator % denominator) * 2n
  if (twice < denominator || (twice === denominator && down % 2n === 0n)) return down
  return down + 1n
}

function unpriced(reason: Unpriced, detail: string): Cost {
  return { micros: null, reason, detail }
}
