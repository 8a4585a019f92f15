/**
 * Slices of quotas that collectors hold. All of it follows from records, but for grants that are pending: set aside, and not logged yet.
 *
 *     limit ≥ counted + reservations + what is left of leases, at every grant
 */
import type { CountedDelta } from './counted.ts'
import type { LeaseSnapshot } from './lease.ts'
import { Lease } from './lease.ts'
import type { DoubtBody, Holder, LeaseBody, TakenFrom } from './lease-record.ts'
import { LEVELS, subjectAt } from './quota.ts'
import type { Amount } from './quota-record.ts'
import type { Subjects } from './subjects.ts'

/** Plain JSON. */
export interface LeasesSnapshot {
  readonly leases: readonly LeaseSnapshot[]
}

export interface LeasesOptions {
  readonly subjects: Subjects
  /** How long one that is closed is remembered, so that what is reported of it again is known, ms. */
  readonly closedKeptMs: number
}

/** Of leases that are written off: so many are remembered, whose holders may report what they decided before. */
const WRITTEN_OFF_MAX = 10_000
const NOTHING: readonly CountedDelta[] = []

export class Leases {
  readonly #options: LeasesOptions
  readonly #byNumber = new Map<string, Lease>()
  readonly #byHolder = new Map<string, Set<Lease>>()
  readonly #byTenant = new Map<string, Set<Lease>>()
  /** In the order in which they were closed. */
  readonly #closed = new Set<Lease>()
  readonly #writtenOff = new Set<Lease>()
  /** Grants that are being logged, by their ids. */
  readonly #pending = new Map<string, Lease>()

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  get sizes(): { readonly lent: number; readonly doubted: number } {
    let lent = 0
    let doubted = 0
    for (const held of this.#byHolder.values())
      for (const { state } of held) {
        if (state === 'lent') lent++
        else doubted++
      }
    return { lent, doubted }
  }

  find(tenant: string, n: number): Lease | undefined {
    return this.#byNumber.get(keyOf(tenant, n))
  }

  /** Those that a collector holds, of whatever epoch and tenant. */
  heldBy(collector: string): readonly Lease[] {
    return [...(this.#byHolder.get(collector) ?? [])]
  }

  /** Whether any collector that is heard of holds something of a tenant. */
  isLent(tenant: string): boolean {
    for (const { state } of this.heldOf(tenant)) if (state === 'lent') return true
    return false
  }

  /** What is held of a tenant. */
  heldOf(tenant: string): Iterable<Lease> {
    return this.#byTenant.get(tenant) ?? []
  }

  /** All that are held. */
  *held(): Generator<Lease> {
    for (const held of this.#byHolder.values()) yield* held
  }

  /** Sets aside what is about to be logged. */
  begin(tenant: string, body: LeaseBody): void {
    const pending = new Lease(0, tenant, body)
    pending.grow(body)
    this.#setAside(pending)
    this.#pending.set(body.id, pending)
  }

  /** It was not logged. */
  undo(id: string): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    this.#giveBack(pending)
    pending.end('released', 0)
  }

  /** A slice is lent, or grows. @param n position of the record */
  grant(n: number, tenant: string, body: LeaseBody): void {
    this.undo(body.id)
    if (body.lease !== null) {
      this.find(tenant, body.lease)?.grow(body)
      return
    }
    const lease = new Lease(n, tenant, body)
    lease.grow(body)
    this.#setAside(lease)
    this.#index(lease)
  }

  /** @returns what is charged less; undefined: this decision is known already */
  take(tenant: string, from: TakenFrom, amounts: readonly Amount[]): readonly CountedDelta[] | undefined {
    const lease = this.find(tenant, from.lease)
    return lease === undefined ? NOTHING : lease.take(from.index, amounts)
  }

  doubt(tenant: string, holder: DoubtBody): void {
    for (const lease of this.#of(tenant, holder)) lease.doubt()
  }

  renew(tenant: string, holder: DoubtBody): void {
    for (const lease of this.#of(tenant, holder)) lease.renew()
  }

  /** It is released only while it is in doubt: whoever said so did not see that its holder came back. @returns what is charged */
  end(tenant: string, n: number, state: 'returned' | 'written_off' | 'released', now: number): readonly CountedDelta[] {
    const lease = this.find(tenant, n)
    if (lease?.isHeld !== true || (state === 'released' && lease.state !== 'doubted')) return NOTHING
    const charged = lease.end(state, now)
    this.#giveBack(lease)
    leave(this.#byHolder, lease.holder.collector, lease)
    leave(this.#byTenant, tenant, lease)
    this.#close(lease)
    return charged
  }

  /** Closed ones of long ago are known no more. */
  forget(now: number): void {
    for (const lease of this.#closed) {
      if (lease.closedAt! + this.#options.closedKeptMs >= now) break
      this.#closed.delete(lease)
      this.#byNumber.delete(keyOf(lease.tenant, lease.n))
    }
  }

  snapshot(): LeasesSnapshot {
    return { leases: [...this.held(), ...this.#closed, ...this.#writtenOff].map((lease) => lease.snapshot()) }
  }

  restore({ leases }: LeasesSnapshot): void {
    for (const snapshot of leases) {
      const lease = Lease.from(snapshot)
      if (lease.isHeld) {
        this.#setAside(lease)
        this.#index(lease)
      } else this.#close(lease)
    }
  }

  #close(lease: Lease): void {
    this.#byNumber.set(keyOf(lease.tenant, lease.n), lease)
    if (lease.state !== 'written_off') {
      this.#closed.add(lease)
      return
    }
    this.#writtenOff.add(lease)
    if (this.#writtenOff.size <= WRITTEN_OFF_MAX) return
    const [oldest] = this.#writtenOff
    this.#writtenOff.delete(oldest!)
    this.#byNumber.delete(keyOf(oldest!.tenant, oldest!.n))
  }

  #index(lease: Lease): void {
    this.#byNumber.set(keyOf(lease.tenant, lease.n), lease)
    join(this.#byHolder, lease.holder.collector, lease)
    join(this.#byTenant, lease.tenant, lease)
  }

  *#of(tenant: string, { collector, epoch }: Holder): Generator<Lease> {
    for (const lease of this.#byHolder.get(collector) ?? [])
      if (lease.tenant === tenant && lease.holder.epoch === epoch) yield lease
  }

  #setAside(lease: Lease): void {
    const { subjects } = this.#options
    const { tenant, body } = lease
    const levels = LEVELS.filter((level) => subjectAt(level, tenant, body.owner) !== '')
    lease.setAside(levels.map((level) => subjects.lend(tenant, level, subjectAt(level, tenant, body.owner), lease)))
  }

  #giveBack(lease: Lease): void {
    const { tenant, body } = lease
    for (const level of LEVELS) {
      const subject = subjectAt(level, tenant, body.owner)
      if (subject !== '') this.#options.subjects.unlend(tenant, level, subject, lease)
    }
  }
}

const keyOf = (tenant: string, n: number): string => `${tenant}\n${n}`

function join(sets: Map<string, Set<Lease>>, key: string, lease: Lease): void {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([lease]))
  else set.add(lease)
}

function leave(sets: Map<string, Set<Lease>>, key: string, lease: Lease): void {
  const set = sets.get(key)
  set?.delete(lease)
  if (set?.size === 0) sets.delete(key)
}
