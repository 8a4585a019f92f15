/** What is asked of quotas, and what they say. */
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { ExactSum } from './exact-sum.ts'
import type { Level, Quota } from './quota.ts'
import type { Amount } from './quota-record.ts'
import type { Period } from './window.ts'

/** Everything at once or nothing. */
export interface Demand {
  readonly tenant: string
  readonly owner: UsageOwner
  /** Each resource once; 0 asks whether anything is left. */
  readonly amounts: readonly Amount[]
}

/** How a subject stands with one of its quotas, of one moment. Nothing in it changes afterwards. */
export interface Figure {
  readonly quota: Quota
  readonly subject: string
  readonly period: Period
  /** Undefined: it is not in memory. */
  readonly counted: ExactSum | undefined
  /** Open reservations and what is left of leases, and those that are being logged. */
  readonly held: ExactSum
  /** Of it what is left of leases to collectors … */
  readonly leased: ExactSum
  /** … and of that what collectors hold that nobody hears of. */
  readonly inDoubt: ExactSum
  /** When the period ends, or the oldest quarter of an hour leaves a rolling window, ms; null: nothing will be given back by time. */
  readonly resetsAt: number | null
}

/** What was counted for one subject, resource and window; quotas that have these in common share it. */
export interface CounterKey {
  readonly tenant: string
  readonly level: Level
  readonly subject: string
  readonly resource: string
  readonly window: Quota['window']
}

/**
 * A counter that is not in memory, and what has to be summed up for it: slots from ≤ slot, all of those before `to` in one, each of
 * the others by itself; of a rolling window each by itself.
 */
export interface ColdCounter extends CounterKey {
  readonly period: Period
}

export type Decision = Granted | Refused | Cold

export interface Granted {
  readonly outcome: 'granted'
  /** Soft quotas that are passed, narrowest level first. */
  readonly over: readonly Figure[]
  /** Shadow quotas that it does not fit: a hard one would have refused, a soft one would have said so. */
  readonly shadow: readonly Figure[]
  /** Quotas that let pass since their counters are not in memory: the answer is degraded. */
  readonly unknown: readonly Figure[]
}

export interface Refused {
  readonly outcome: 'refused'
  /** Hard quotas that it does not fit, narrowest level first; never empty. One whose `counted` is undefined is closed while unknown. */
  readonly by: readonly Figure[]
}

/** Nothing is decided until these are counted. */
export interface Cold {
  readonly outcome: 'cold'
  readonly counters: readonly ColdCounter[]
}

/** What becomes of a quota whose counter is not in memory: it is to be counted first, or it lets pass or refuses as it is defined. */
export type WhenCold = 'ask' | 'as_defined'
