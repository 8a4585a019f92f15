/** A slice of quotas that a collector holds: what is left of it stays set aside, at every level, until a record says otherwise. */
import { slotOf } from '../tasks/shares.ts'
import type { CountedDelta } from './counted.ts'
import type { Holder, LeaseBody } from './lease-record.ts'
import type { Amount } from './quota-record.ts'
import { isGauge } from './resource.ts'
import type { Held } from './subjects.ts'

export type LeaseState = 'lent' | 'doubted' | 'returned' | 'written_off' | 'released'

type AmountList = readonly (readonly [resource: string, amount: number])[]

/** Plain JSON. */
export interface LeaseSnapshot {
  readonly n: number
  readonly tenant: string
  readonly body: LeaseBody
  readonly grants: readonly string[]
  readonly state: LeaseState
  readonly closedAt: number | null
  readonly reported: number
  readonly granted: AmountList
  readonly left: AmountList
}

const NOTHING: readonly CountedDelta[] = []

export class Lease {
  readonly n: number
  readonly tenant: string
  /** Of its first record. */
  readonly body: LeaseBody
  state: LeaseState = 'lent'
  /** ms; null: it is held. */
  closedAt: number | null = null
  /** The last of the holder's decisions that is known. */
  #reported = 0
  /** Ids of grants that are in it. */
  readonly #grants = new Set<string>()
  readonly #granted = new Map<string, number>()
  /** What was granted and not reported; of one that is written off: what is charged. */
  readonly #left = new Map<string, number>()
  #places: readonly Held[] = []

  constructor(n: number, tenant: string, body: LeaseBody) {
    this.n = n
    this.tenant = tenant
    this.body = body
  }

  get holder(): Holder {
    return this.body
  }

  get isHeld(): boolean {
    return this.state === 'lent' || this.state === 'doubted'
  }

  get reported(): number {
    return this.#reported
  }

  /** All that was granted, whatever became of it. */
  get granted(): readonly Amount[] {
    return Array.from(this.#granted, ([resource, amount]) => ({ resource, amount }))
  }

  get left(): readonly Amount[] {
    return Array.from(this.#left, ([resource, amount]) => ({ resource, amount }))
  }

  leftOf(resource: string): number {
    return this.#left.get(resource) ?? 0
  }

  /** Sets aside what is left, from now on at these places. */
  setAside(places: readonly Held[]): void {
    this.#places = places
    for (const [resource, amount] of this.#left) this.#move(resource, amount)
  }

  /** @returns whether it was not in it already */
  grow({ id, amounts }: LeaseBody): boolean {
    if (!this.isHeld || this.#grants.has(id)) return false
    this.#grants.add(id)
    for (const { resource, amount } of amounts) {
      this.#granted.set(resource, (this.#granted.get(resource) ?? 0) + amount)
      this.#left.set(resource, this.leftOf(resource) + amount)
      this.#move(resource, amount)
    }
    return true
  }

  /**
   * So much of it is a reservation now.
   * @param index of the holder's decision
   * @returns what is charged less; undefined: this one is known already
   */
  take(index: number, amounts: readonly Amount[]): readonly CountedDelta[] | undefined {
    if (index <= this.#reported) return undefined
    this.#reported = index
    const back: CountedDelta[] = []
    for (const { resource, amount } of amounts) {
      const taken = Math.min(amount, this.leftOf(resource))
      if (taken === 0) continue
      this.#left.set(resource, this.leftOf(resource) - taken)
      if (this.isHeld) this.#move(resource, -taken)
      else if (this.state === 'written_off' && !isGauge(resource)) back.push(this.#delta(resource, -taken))
    }
    return back
  }

  doubt(): void {
    if (this.state !== 'lent') return
    this.state = 'doubted'
    for (const [resource, amount] of this.#left) for (const place of this.#places) place.lent(resource).doubt(amount)
  }

  renew(): void {
    if (this.state !== 'doubted') return
    for (const [resource, amount] of this.#left) for (const place of this.#places) place.lent(resource).doubt(-amount)
    this.state = 'lent'
  }

  /**
   * Nothing of it is set aside any more.
   * @returns what is charged instead
   */
  end(state: 'returned' | 'written_off' | 'released', now: number): readonly CountedDelta[] {
    if (!this.isHeld) return NOTHING
    for (const [resource, amount] of this.#left) this.#move(resource, -amount)
    this.#places = []
    this.state = state
    this.closedAt = now
    if (state !== 'written_off') {
      this.#left.clear()
      return NOTHING
    }
    return [...this.#left]
      .filter(([resource, amount]) => amount > 0 && !isGauge(resource))
      .map(([resource, amount]) => this.#delta(resource, amount))
  }

  snapshot(): LeaseSnapshot {
    const { n, tenant, body, state, closedAt } = this
    return {
      n,
      tenant,
      body,
      grants: [...this.#grants],
      state,
      closedAt,
      reported: this.#reported,
      granted: [...this.#granted],
      left: [...this.#left],
    }
  }

  static from({ n, tenant, body, grants, state, closedAt, reported, granted, left }: LeaseSnapshot): Lease {
    const lease = new Lease(n, tenant, body)
    lease.state = state
    lease.closedAt = closedAt
    lease.#reported = reported
    for (const id of grants) lease.#grants.add(id)
    for (const [resource, amount] of granted) lease.#granted.set(resource, amount)
    for (const [resource, amount] of left) lease.#left.set(resource, amount)
    return lease
  }

  #move(resource: string, amount: number): void {
    for (const place of this.#places) {
      place.of(resource).add(amount)
      place.lent(resource).lend(amount, this.state === 'doubted')
    }
  }

  /** In the period that it was lent in. */
  #delta(resource: string, amount: number): CountedDelta {
    return { resource, slot: slotOf(this.body.from), amount, owner: this.body.owner }
  }
}
