/** What is lent to collectors, between the log and what holds it: leases, and the reservations that are decided by them. */
import type { AppliedRecord } from '../owner/fold.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { CountedDelta } from './counted.ts'
import type { Counts } from './counts.ts'
import { decide } from './decide.ts'
import type { Holds } from './holds.ts'
import type { DoubtBody, EndBody, LeaseBody, ReturnBody } from './lease-record.ts'
import { leaseRecord } from './lease-record.ts'
import type { LeaseAsk, Lent } from './lease-size.ts'
import { freeOf, sliceOf } from './lease-size.ts'
import { Leases } from './leases.ts'
import type { ReserveBody } from './quota-record.ts'
import { countedRows } from './quota-rows.ts'
import type { Subjects } from './subjects.ts'

export interface LendingOptions {
  readonly subjects: Subjects
  readonly holds: Holds
  readonly counts: Counts
  /** How long what is closed is remembered, ms. */
  readonly closedKeptMs: number
}

export class Lending {
  readonly leases: Leases
  readonly #options: LendingOptions
  /** Of reservations that collectors decided: those whose records are being appended. */
  readonly #reporting = new Set<string>()

  constructor(options: LendingOptions) {
    this.#options = options
    this.leases = new Leases(options)
  }

  // What the log says

  /** One that a collector decided stays what it was told to be: it takes the id unless another request has it. */
  reserve(record: AppliedRecord, body: ReserveBody): void {
    const { n, tenant } = record
    if (body.lease === undefined) {
      this.#options.holds.reserve(n, tenant, body)
      return
    }
    const uncharged = this.leases.take(tenant, body.lease, body.amounts)
    if (uncharged === undefined) return
    this.#writeOff(record, uncharged)
    const known = this.#options.holds.find(tenant, body.id)
    const id = known === undefined || known.body.hash === body.hash ? body.id : `${body.id} (${n})`
    this.#options.holds.reserve(n, tenant, { ...body, id })
  }

  /** What a record says of a lease. @param now the latest time of a record, ms */
  apply(record: AppliedRecord, now: number): void {
    const { n, tenant, value } = record
    switch (record.kind) {
      case 'quota.lease':
        this.leases.forget(now)
        this.leases.grant(n, tenant, value as LeaseBody)
        break
      case 'quota.lease.return':
        this.leases.end(tenant, (value as ReturnBody).lease, 'returned', now)
        break
      case 'quota.lease.doubt':
        this.leases.doubt(tenant, value as DoubtBody)
        break
      case 'quota.lease.renew':
        this.leases.renew(tenant, value as DoubtBody)
        break
      case 'quota.lease.write_off':
        this.#writeOff(record, this.leases.end(tenant, (value as EndBody).lease, 'written_off', now))
        break
      case 'quota.lease.release':
        this.leases.end(tenant, (value as EndBody).lease, 'released', now)
        break
    }
  }

  // What is asked. Times are ms

  /** Whether the record of a reservation that a collector decided is being appended. */
  isReporting(tenant: string, id: string): boolean {
    return this.#reporting.has(`${tenant}\n${id}`)
  }

  /**
   * Records of reservations that a collector decided are about to be appended: until they are, nobody else decides about their ids.
   * @returns the first so many: of the next one somebody else's record is on its way. And what is to be done when they are appended, or not
   */
  report(tenant: string, bodies: readonly ReserveBody[]): { readonly count: number; readonly done: () => void } {
    const pending = bodies.findIndex(({ id }) => {
      const hold = this.#options.holds.find(tenant, id)
      return hold?.state === 'pending' || this.#reporting.has(`${tenant}\n${id}`)
    })
    const count = pending < 0 ? bodies.length : pending
    const keys = bodies.slice(0, count).map(({ id }) => `${tenant}\n${id}`)
    for (const key of keys) this.#reporting.add(key)
    return { count, done: () => keys.forEach((key) => void this.#reporting.delete(key)) }
  }

  /**
   * How large a slice may be, decided and set aside in one step: a small part of what is left at every level, so that it is out of
   * nobody's way; near any limit, a soft one too, none.
   */
  lend(ask: LeaseAsk, now: number): Lent {
    const { tenant, body } = ask
    const demand = { tenant, owner: body.owner, amounts: [] }
    const sized = sliceOf(this.#options.subjects, ask, now)
    if (sized.outcome !== 'lent') return sized
    const decision = decide(this.#options.subjects, { ...demand, amounts: sized.amounts }, now, 'ask')
    if (decision.outcome === 'cold') return decision
    if (decision.outcome === 'refused' || decision.over.length + decision.shadow.length > 0) return { outcome: 'none' }
    const lent = { ...body, amounts: sized.amounts }
    this.leases.begin(tenant, lent)
    return { outcome: 'lent', record: leaseRecord('quota.lease', tenant, lent, now) }
  }

  /** What still may be, of each resource, at the level where it is least; undefined: not all is in memory. Without an entry: no limit. */
  freeFor(tenant: string, owner: UsageOwner, now: number): ReadonlyMap<string, number> | undefined {
    const free = freeOf(this.#options.subjects, tenant, owner, now)
    return free instanceof Map ? free : undefined
  }

  #writeOff(record: AppliedRecord, deltas: readonly CountedDelta[]): void {
    const of = { n: record.n, tenant: record.tenant, i: 0, taskId: '', attempt: 0, kind: 'written_off' } as const
    this.#options.counts.add(record, deltas, countedRows(of, deltas))
  }
}
