/**
 * How large a slice is: what the collector would need for the next seconds, but no more than a small part of what is left, so that no
 * collector takes from others what they could use, and the last of it is decided where all of it is known.
 *
 *     slice ≤ what is left / SHARE        lent, and grows up to this
 *     slice > what is left / RECALL       asked back: what is left went down since
 */
import { AMOUNT_MAX } from '../../proto/quotas/amount.ts'
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import { coldOf } from './decide.ts'
import type { Cold, ColdCounter } from './decision.ts'
import type { LeaseBody } from './lease-record.ts'
import { LEVELS, subjectAt } from './quota.ts'
import type { Amount } from './quota-record.ts'
import type { Subjects } from './subjects.ts'

const SHARE = 16
const RECALL = 4

export interface LeaseAsk {
  readonly tenant: string
  /** As it would be logged, with nothing in it. */
  readonly body: Omit<LeaseBody, 'amounts'>
  /** What the collector would have, by resource, with what it has already. */
  readonly wanted: readonly Amount[]
  /** Less than this is of no use to it: what was asked for at once. */
  readonly least: readonly Amount[]
  /** What it has. */
  readonly has: readonly Amount[]
}

export type Lent =
  /** Set aside from now on. `record` is to be appended; where that fails, `Leases.undo`. */
  { readonly outcome: 'lent'; readonly record: OwnerRecord } | Cold | { readonly outcome: 'none' }

type Sized = { readonly outcome: 'lent'; readonly amounts: readonly Amount[] } | Cold | { readonly outcome: 'none' }

/** By what is in memory. It sets nothing aside. */
export function sliceOf(subjects: Subjects, ask: LeaseAsk, now: number): Sized {
  const free = freeOf(subjects, ask.tenant, ask.body.owner, now)
  if (!(free instanceof Map)) return free
  const amounts: Amount[] = []
  for (const { resource, amount: wanted } of ask.wanted) {
    const has = amountOf(ask.has, resource)
    const left = free.get(resource)
    const most = left === undefined ? AMOUNT_MAX : Math.floor((left + has) / SHARE)
    const slice = Math.min(wanted, most)
    if (slice < amountOf(ask.least, resource)) return { outcome: 'none' }
    if (slice > has) amounts.push({ resource, amount: slice - has })
  }
  return amounts.length === 0 ? { outcome: 'none' } : { outcome: 'lent', amounts }
}

/** Whether a slice is asked back. @param free as of {@link freeOf} */
export function isTooLarge(left: readonly Amount[], free: ReadonlyMap<string, number>): boolean {
  return left.some(({ resource, amount }) => {
    const still = free.get(resource)
    return still !== undefined && amount > 0 && amount * RECALL > still + amount
  })
}

/**
 * What still may be, of each resource that has a quota, at the level where it is least, soft and shadow ones too; below nothing where
 * one is passed. Only for sizes: a decision follows.
 */
export function freeOf(subjects: Subjects, tenant: string, owner: UsageOwner, now: number): Map<string, number> | Cold {
  const free = new Map<string, number>()
  const cold: ColdCounter[] = []
  for (const level of LEVELS) {
    const name = subjectAt(level, tenant, owner)
    if (name === '') continue
    const subject = subjects.at(tenant, level, name, now)
    for (const meter of subject.meters) {
      const { quota, counter, held } = meter
      if (counter === undefined) {
        cold.push(coldOf(subject, meter, now))
        continue
      }
      counter.advance(now)
      const left = quota.limit.copy().minusSum(counter.sum).minusSum(held).toNumber()
      free.set(quota.resource, Math.min(left, free.get(quota.resource) ?? left))
    }
  }
  return cold.length > 0 ? { outcome: 'cold', counters: cold } : free
}

function amountOf(amounts: readonly Amount[], resource: string): number {
  return amounts.find((one) => one.resource === resource)?.amount ?? 0
}
