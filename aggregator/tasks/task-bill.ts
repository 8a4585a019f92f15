/** What an attempt costs, put together while its amounts are: shares of costs are divided as the amounts themselves are. */
import type { Delivered, Holder } from './shares.ts'
import { priced, SLOT_MS, sharesOf, slotOf } from './shares.ts'
import type { Span } from './step-function.ts'
import type { TaskCost, TaskCostLine } from './task-details.ts'
import type { HeldPrices, TaskPrices, UnheldPrices } from './task-prices.ts'
import type { UsageAmount, UsageResource } from './usage-out.ts'

interface Line {
  readonly resource: UsageResource
  readonly slot: number
  readonly held: HeldPrices | UnheldPrices
  micros: number
}

const PHASES: Readonly<Partial<Record<UsageResource, TaskCostLine['phase']>>> = {
  queue_seconds: 'queue',
  load_seconds: 'load',
}

export class TaskBill {
  readonly #key: string
  readonly #window: Span
  readonly #prices: TaskPrices
  readonly #lines = new Map<string, Line>()

  /** @param key of the attempt, as its holder has it */
  constructor(key: string, window: Span, prices: TaskPrices) {
    this.#key = key
    this.#window = window
    this.#prices = prices
  }

  /** Its part of what something that was delivered costs. */
  share(resource: UsageResource, holders: readonly Holder[], delivered: Delivered, span: Span = this.#window): void {
    const prices = this.#prices(resource)
    if (prices === undefined) return
    for (const { key, slot, amount } of sharesOf(holders, priced(delivered, prices.costOf, prices.changes), span))
      if (key === this.#key)
        this.#add(resource, slot, amount, () =>
          prices.held(Math.max(slot, span.from), Math.min(slot + SLOT_MS, span.to)),
        )
  }

  /** What was used at once. */
  at(resource: UsageResource, time: number, amount: number): void {
    const prices = this.#prices(resource)
    if (prices === undefined) return
    this.#add(resource, slotOf(time), prices.costOf(amount, time, time), () => prices.held(time, time))
  }

  /**
   * A cost that is not known in full is not known: null, never less than it is. So for the whole, and so for each amount by itself.
   * @param unknown resources that it may have used without anybody knowing how much
   * @returns the amounts, those that have a price with what they cost
   */
  total(
    amounts: readonly UsageAmount[],
    unknown: readonly UsageResource[],
  ): { readonly amounts: readonly UsageAmount[]; readonly cost: TaskCost } {
    return {
      cost: this.#cost(amounts, unknown),
      amounts: amounts.map((amount) => {
        const line = this.#lines.get(keyOf(amount.resource, amount.slot))
        if (line === undefined || 'reason' in line.held) return amount
        return { ...amount, costMicro: line.micros, currency: line.held.currency }
      }),
    }
  }

  #cost(amounts: readonly UsageAmount[], unknown: readonly UsageResource[]): TaskCost {
    const unmeasured = unknown.find((resource) => this.#prices(resource) !== undefined)
    if (unmeasured !== undefined)
      return {
        micros: null,
        reason: 'quantity_unknown',
        detail: `${unmeasured} has a price, and no samples say how much it was`,
      }
    const lines: TaskCostLine[] = []
    let currency: string | undefined
    for (const { resource, slot, amount } of amounts) {
      const line = this.#lines.get(keyOf(resource, slot))
      if (line === undefined) continue
      const { held, micros } = line
      if ('reason' in held) return { micros: null, ...held }
      currency ??= held.currency
      if (held.currency !== currency)
        return { micros: null, reason: 'currency_changes', detail: `prices in ${currency} and in ${held.currency}` }
      lines.push({ phase: PHASES[resource] ?? 'run', resource, slot, amount, micros, prices: held.ids })
    }
    if (currency === undefined)
      return { micros: null, reason: 'no_price', detail: 'nothing that it used has a price: see /v1/prices' }
    return { micros: lines.reduce((sum, { micros }) => sum + micros, 0), currency, lines }
  }

  #add(resource: UsageResource, slot: number, micros: number, held: () => Line['held']): void {
    const key = keyOf(resource, slot)
    const known = this.#lines.get(key)
    if (known === undefined) this.#lines.set(key, { resource, slot, micros, held: held() })
    else known.micros += micros
  }
}

const keyOf = (resource: UsageResource, slot: number): string => `${resource} ${slot}`
