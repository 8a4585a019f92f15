/**
 * Records of slices of quotas that collectors hold, so that they decide where they are. Bodies are JSON; amounts are whole numbers of a
 * resource's smallest unit; times are ms since the epoch. What they do to a lease, whose number is the position of its first record:
 *
 *     (none) ──lease──▶ lent ──lease──▶ lent, more of it
 *                        │ ▲
 *                   doubt▼ │renew       quota.reserve with `lease`: so much of it is a reservation now, whatever it is
 *                      doubted
 *     lent, doubted ──return────▶ returned       what is left is free again
 *                   ──write_off─▶ written off    what is left is charged; what is reported later is taken off the charge
 *     doubted       ──release───▶ released       what is left is free again: somebody says that nobody will use it
 *
 * No time stands in a record that something would follow from. Every other record of a lease does nothing.
 */
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { Amount } from './quota-record.ts'

/** Who holds it: a collector, from one start to its end. */
export interface Holder {
  readonly collector: string
  /** `3.9f86d0…`: how often it started, and a random number. */
  readonly epoch: string
}

/** A slice is lent, or one that is lent grows. */
export interface LeaseBody extends Holder {
  /** Of this grant: applied once. */
  readonly id: string
  /** Null: a lease begins. */
  readonly lease: number | null
  /** Of the machine, since it started. */
  readonly boot: string
  /** How long the holder may use it without being told again. */
  readonly termMs: number
  /** As requests at the collector say it … */
  readonly said: UsageOwner
  /** … and who that is. */
  readonly owner: UsageOwner
  readonly amounts: readonly Amount[]
  readonly from: number
}

/** A part of the log's record of a reservation: the holder decided it. */
export interface TakenFrom {
  readonly lease: number
  /** Of the holder's decisions by this lease, from 1: one at or before the last reported is known already. */
  readonly index: number
}

export interface ReturnBody {
  readonly lease: number
  /** Who says that nothing more was used: the holder, or the one that started after it and read its journal. */
  readonly by: string
}

/** All that it holds of this tenant. */
export type DoubtBody = Holder

/** By whoever may, and why. */
export interface EndBody {
  readonly lease: number
  readonly reason: string
  readonly who: string
}

interface Bodies {
  readonly 'quota.lease': LeaseBody
  readonly 'quota.lease.return': ReturnBody
  readonly 'quota.lease.doubt': DoubtBody
  readonly 'quota.lease.renew': DoubtBody
  readonly 'quota.lease.write_off': EndBody
  readonly 'quota.lease.release': EndBody
}

/** @param at when it came to be, ms */
export function leaseRecord<K extends keyof Bodies>(kind: K, tenant: string, body: Bodies[K], at: number): OwnerRecord {
  const key = 'id' in body ? body.id : 'lease' in body ? String(body.lease) : `${body.collector} ${body.epoch}`
  return { kind, tenant, key, at: at * 1000, body: JSON.stringify(body) }
}
