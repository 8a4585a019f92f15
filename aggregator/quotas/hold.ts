/** A reservation: what it sets aside, and what was counted in its place. */
import { slotOf } from '../tasks/shares.ts'
import type { CountedDelta } from './counted.ts'
import type { Amount, CommitBody, ReserveBody } from './quota-record.ts'
import { isGauge } from './resource.ts'
import type { Held } from './subjects.ts'

export type HoldState = 'open' | 'committed' | 'released' | 'expired'

/** As answers show it. Plain JSON. */
export interface Reservation extends ReserveBody {
  readonly tenant: string
  readonly state: HoldState
  /** When it left `open`, ms; null: it is open. */
  readonly closedAt: number | null
  /** What was committed; null: nothing was. */
  readonly committed: readonly Amount[] | null
  /** It was committed after it had expired. */
  readonly late: boolean
  /** More was committed than was reserved. */
  readonly overrun: boolean
}

/** One that is open. */
export interface OpenReservation extends Reservation {
  /** Position of its record. */
  readonly n: number
  /** What of it is set aside still: what is counted for its task already is not. */
  readonly held: readonly Amount[]
}

type AmountList = readonly (readonly [resource: string, amount: number])[]

/** Plain JSON. */
export interface HoldSnapshot {
  readonly n: number
  readonly tenant: string
  readonly body: ReserveBody
  readonly state: HoldState
  readonly closedAt: number | null
  readonly commit: CommitBody | null
  readonly late: boolean
  readonly measured: AmountList
  readonly told: AmountList
  readonly charged: AmountList
}

const NOTHING: ReadonlyMap<string, number> = new Map()

export class Hold {
  readonly tenant: string
  /** Pending: its record is not known to be durable. */
  state: 'pending' | HoldState = 'pending'
  closedAt: number | null = null
  /** Position of its record. */
  #n = 0
  #body: ReserveBody
  #commit: CommitBody | null = null
  #late = false
  /** What was counted for its task, by resource: as the last calculation has it … */
  #measured: ReadonlyMap<string, number> = NOTHING
  /** … and what was told of piece by piece since it was reserved. */
  #told: ReadonlyMap<string, number> = NOTHING
  /** What was counted since it was committed and had not been measured. */
  #charged: Map<string, number> | undefined
  /** Where it sets aside; none: it does no more. */
  #places: readonly Held[] = []

  constructor(tenant: string, body: ReserveBody) {
    this.tenant = tenant
    this.#body = body
  }

  get body(): ReserveBody {
    return this.#body
  }

  get expires(): number {
    return this.#body.expires
  }

  get n(): number {
    return this.#n
  }

  open(n: number): void {
    this.state = 'open'
    this.#n = n
  }

  /** Something was committed that nobody has measured. */
  get isCharged(): boolean {
    return this.#charged !== undefined && this.#charged.size > 0
  }

  chargedFor(resource: string): boolean {
    return this.#charged?.has(resource) === true
  }

  extend(expires: number): void {
    this.#body = { ...this.#body, expires }
  }

  /** Sets aside what is reserved, less what is counted for the task already. */
  setAside(places: readonly Held[]): void {
    this.#places = places
    for (const { resource, amount } of this.#body.amounts) this.#move(resource, this.#remaining(resource, amount))
  }

  /** Sets nothing aside any more. */
  giveBack(): void {
    for (const { resource, amount } of this.#body.amounts) this.#move(resource, -this.#remaining(resource, amount))
    this.#places = []
  }

  /**
   * What is counted for the task, all of it by resource.
   * @returns what is taken back of what was committed: it is measured now
   */
  measure(measured: ReadonlyMap<string, number>): CountedDelta[] {
    return this.#remeasure(measured, this.#told)
  }

  /** What is counted for the task of a resource that is told of piece by piece. */
  measureMore(resource: string, amount: number): CountedDelta[] {
    const told = new Map(this.#told).set(resource, (this.#told.get(resource) ?? 0) + amount)
    return this.#remeasure(this.#measured, told)
  }

  /** @returns what is counted */
  commit(commit: CommitBody, late: boolean): CountedDelta[] {
    this.#commit = commit
    this.#late = late
    const deltas: CountedDelta[] = []
    for (const { resource, amount } of commit.amounts) {
      if (amount === 0 || isGauge(resource) || this.#counted(resource) !== undefined) continue
      this.#charged ??= new Map()
      this.#charged.set(resource, amount)
      deltas.push(this.#delta(resource, amount))
    }
    return deltas
  }

  view(): Reservation | undefined {
    const { tenant, state, closedAt } = this
    if (state === 'pending') return undefined
    const committed = this.#commit?.amounts ?? null
    const reserved = (resource: string): number =>
      this.#body.amounts.find((amount) => amount.resource === resource)?.amount ?? 0
    const overrun = committed?.some(({ resource, amount }) => amount > reserved(resource)) ?? false
    return { ...this.#body, tenant, state, closedAt, committed, late: this.#late, overrun }
  }

  /** Undefined: it is not open. */
  openView(): OpenReservation | undefined {
    const view = this.state === 'open' ? this.view() : undefined
    if (view === undefined) return undefined
    const held = view.amounts.map(({ resource, amount }) => ({ resource, amount: this.#remaining(resource, amount) }))
    return { ...view, n: this.#n, held }
  }

  /** It is not pending. */
  snapshot(): HoldSnapshot {
    const { tenant, closedAt } = this
    const state = this.state as HoldState
    return {
      n: this.#n,
      tenant,
      body: this.#body,
      state,
      closedAt,
      commit: this.#commit,
      late: this.#late,
      measured: [...this.#measured],
      told: [...this.#told],
      charged: [...(this.#charged ?? NOTHING)],
    }
  }

  static from({ n, tenant, body, state, closedAt, commit, late, measured, told, charged }: HoldSnapshot): Hold {
    const hold = new Hold(tenant, body)
    hold.#n = n
    hold.state = state
    hold.closedAt = closedAt
    hold.#commit = commit
    hold.#late = late
    if (measured.length > 0) hold.#measured = new Map(measured)
    if (told.length > 0) hold.#told = new Map(told)
    if (charged.length > 0) hold.#charged = new Map(charged)
    return hold
  }

  #remeasure(measured: ReadonlyMap<string, number>, told: ReadonlyMap<string, number>): CountedDelta[] {
    const { amounts } = this.#body
    const before = amounts.map(({ resource, amount }) => this.#remaining(resource, amount))
    this.#measured = measured
    this.#told = told
    for (const [i, { resource, amount }] of amounts.entries())
      this.#move(resource, this.#remaining(resource, amount) - before[i]!)
    const back: CountedDelta[] = []
    for (const [resource, amount] of this.#charged ?? NOTHING) {
      if (this.#counted(resource) === undefined) continue
      back.push(this.#delta(resource, -amount))
      this.#charged!.delete(resource)
    }
    return back
  }

  /** Undefined: nobody said anything of it. */
  #counted(resource: string): number | undefined {
    return this.#told.get(resource) ?? this.#measured.get(resource)
  }

  #remaining(resource: string, reserved: number): number {
    return Math.max(0, Math.min(reserved, reserved - (this.#counted(resource) ?? 0)))
  }

  #move(resource: string, amount: number): void {
    for (const place of this.#places) place.of(resource).add(amount)
  }

  #delta(resource: string, amount: number): CountedDelta {
    return { resource, slot: slotOf(this.#commit!.at), amount, owner: this.#body.owner }
  }
}
