/**
 * Records of the owner log that quotas are decided by. Bodies are JSON; amounts are whole numbers of a resource's smallest unit; times
 * are ms since the epoch. What they do to a reservation:
 *
 *     (none) ──reserve──▶ open ──commit───▶ committed
 *                          │ └──release──▶ released
 *                          └────expire───▶ expired ──commit──▶ committed, late
 *
 * Every other record of a reservation does nothing: who appended it sees what it became.
 */
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { TakenFrom } from './lease-record.ts'

export interface Amount {
  readonly resource: string
  /** 0 to `AMOUNT_MAX`. */
  readonly amount: number
}

/** The attempt of a task that a reservation is for: what is measured of it and what was reserved for it are not added. */
export interface TaskOfHold {
  readonly taskId: string
  readonly attempt: number
}

export interface ReserveBody {
  readonly id: string
  readonly owner: UsageOwner
  readonly amounts: readonly Amount[]
  readonly task: TaskOfHold | null
  readonly from: number
  readonly expires: number
  /** Of the request: the same id with another one is a conflict. */
  readonly hash: string
  readonly said: Said
  /** A collector decided it, by a lease; absent: the owner did. */
  readonly lease?: TakenFrom
}

/** What an answer said beside "granted", so that a retry is answered the same. Ids of quotas. */
export interface Said {
  /** Soft ones that are passed. */
  readonly over: readonly string[]
  /** Shadow ones that it does not fit. */
  readonly shadow: readonly string[]
  /** Those that let pass since nobody could say what was counted. */
  readonly unknown: readonly string[]
}

export interface CommitBody {
  readonly id: string
  /** What was used; what was reserved and is not here was not used. */
  readonly amounts: readonly Amount[]
  /** When it is charged to: its quarter of an hour. */
  readonly at: number
}

export interface ReleaseBody {
  readonly id: string
}

export interface ExtendBody {
  readonly id: string
  readonly expires: number
}

export interface ExpireBody {
  readonly id: string
  /** That it was to expire then: nothing happens to one that was extended meanwhile. */
  readonly expires: number
}

export interface AdjustBody {
  readonly id: string
  /** '' at levels that it does not touch; the tenant it always does. */
  readonly owner: UsageOwner
  readonly resource: string
  /** Start of a quarter of an hour. */
  readonly slot: number
  /** May be negative. */
  readonly amount: number
  readonly reason: string
  readonly who: string
  /** Of what was asked: another one with this id is no retry. */
  readonly hash: string
}

/** Told once: the row `telemetry.quota.threshold` in `events`. */
export interface ThresholdBody {
  readonly quota: string
  readonly level: string
  readonly subject: string
  readonly resource: string
  /** Of the period; `to` null: it has no end. */
  readonly from: number
  readonly to: number | null
  /** Percent of the limit. */
  readonly threshold: number
  /** Decimals in the resource's unit. */
  readonly counted: string
  readonly limit: string
}

interface Bodies {
  readonly 'quota.reserve': ReserveBody
  readonly 'quota.commit': CommitBody
  readonly 'quota.release': ReleaseBody
  readonly 'quota.extend': ExtendBody
  readonly 'quota.expire': ExpireBody
  readonly 'quota.adjust': AdjustBody
  readonly 'quota.threshold': ThresholdBody
}

export type QuotaKind = keyof Bodies

/** @param at when it came to be, µs */
export function quotaRecord<K extends QuotaKind>(kind: K, tenant: string, body: Bodies[K], at: number): OwnerRecord {
  const key = 'id' in body ? body.id : thresholdKey(body)
  return { kind, tenant, key, at, body: JSON.stringify(body) }
}

/** What is told once. */
export function thresholdKey({ quota, subject, from, threshold }: ThresholdBody): string {
  return JSON.stringify([quota, subject, from, threshold])
}
