/**
 * What was counted of one subject and resource in the period that it is in. Exact as long as it is told of everything: each amount with
 * its slot, whether that lies in the period (added), after it (kept by slot until the period comes) or before it (not its business).
 */
import { SLOT_MS } from '../tasks/shares.ts'
import { ExactSum } from './exact-sum.ts'
import type { Period, QuotaWindow } from './window.ts'
import { periodOf } from './window.ts'

export class Counter {
  readonly window: QuotaWindow
  readonly sum: ExactSum = new ExactSum()
  /** From here on it is another period, ms. */
  endsAt: number
  #period: Period
  /** Of a rolling window all that are in the sum; of others those that came before their period. */
  readonly #slots = new Map<number, ExactSum>()

  /** With nothing counted: what was counted from the period's start on, later than its end too, is to be added. */
  constructor(window: QuotaWindow, period: Period) {
    this.window = window
    this.#period = period
    this.endsAt = this.#end()
  }

  get period(): Period {
    return this.#period
  }

  /** Start of a slot, and what was counted in it more or less. @param at up to when periods have begun, ms */
  add(slot: number, amount: ExactSum, at: number): void {
    const { from, to } = this.#period
    if (slot < from) return
    if (slot < to) this.sum.addSum(amount)
    if (slot < to && this.window.kind !== 'rolling') return
    const known = this.#slots.get(slot)
    if (known === undefined) this.#slots.set(slot, amount.copy())
    else known.addSum(amount)
    if (at >= this.endsAt) this.advance(at)
  }

  /** Goes on to the period of a moment; never back. */
  advance(at: number): void {
    if (at < this.endsAt) return
    this.#period = periodOf(this.window, at)
    this.endsAt = this.#end()
    const { from, to } = this.#period
    const rolling = this.window.kind === 'rolling'
    if (!rolling) this.sum.clear()
    for (const [slot, sum] of this.#slots) {
      if (slot >= to) continue
      if (rolling && slot >= from) continue
      if (rolling) this.sum.minusSum(sum)
      else if (slot >= from) this.sum.addSum(sum)
      this.#slots.delete(slot)
    }
  }

  /** When some of it is given back by time, ms; null: never, or there is nothing. */
  get resetsAt(): number | null {
    const { window } = this
    if (window.kind !== 'rolling') return window.kind === 'lifetime' ? null : this.#period.to
    let oldest = Number.POSITIVE_INFINITY
    for (const [slot, sum] of this.#slots) if (slot < oldest && sum.sign !== 0) oldest = slot
    return oldest === Number.POSITIVE_INFINITY ? null : oldest + window.seconds * 1000 + SLOT_MS
  }

  /** Everything that it knows by slot; what is known as one sum stands at the period's start. */
  *slots(): Generator<readonly [slot: number, sum: ExactSum]> {
    if (this.window.kind !== 'rolling') yield [this.#period.from, this.sum]
    yield* this.#slots
  }

  #end(): number {
    const { window } = this
    return window.kind === 'rolling' ? this.#period.from + window.seconds * 1000 + SLOT_MS : this.#period.to
  }
}
