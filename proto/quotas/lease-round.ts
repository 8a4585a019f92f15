/**
 * What a collector and an aggregator say to each other about slices of quotas: `POST /intake/v1/leases`, once a second, JSON.
 *
 *     collector ──▶ what it decided by each slice since it was told that it is known; which slices it ends; what it would have
 *               ◀── all that it holds, how much of it was granted, up to which decision is known; what it should end
 *
 * Every part may be said again, in any order: grants are totals, decisions are numbered, an end is final. Amounts are whole numbers of a
 * resource's smallest unit, times ms since the epoch.
 */
import * as v from 'valibot'
import { TENANT_FORM } from '../runtime/tenants.ts'

export const LEASES_PATH = '/intake/v1/leases'
/** Of what is said here; an aggregator that does not know it answers 426. */
export const LEASES_VERSION = 1
/** In a round, at most. What is beyond comes in the next one. */
export const SLICES_MAX = 2000
export const ADMISSIONS_MAX = 10_000
export const ASKS_MAX = 1000

/** Who somebody is, as a request says; '' where it does not. */
export interface Said {
  readonly userId: string
  readonly project: string
  readonly department: string
}

export interface SliceAmount {
  readonly resource: string
  readonly amount: number
}

/** What a collector decided. */
export interface Admission {
  /** From 1, of this slice. */
  readonly index: number
  readonly id: string
  readonly amounts: readonly SliceAmount[]
  readonly task: { readonly taskId: string; readonly attempt: number } | null
  readonly from: number
  readonly expires: number
  readonly hash: string
}

/** What a collector says of a slice. */
export interface ToldSlice {
  readonly tenant: string
  readonly lease: number
  /** All that are not known to be known, in order. */
  readonly admissions: readonly Admission[]
  /** These are all, and there will be no more. */
  readonly ended: boolean
}

export interface LeaseAsked {
  readonly tenant: string
  readonly said: Said
  /** What it would have in its slice. */
  readonly wanted: readonly SliceAmount[]
  /** What was asked for at once: less is of no use. */
  readonly least: readonly SliceAmount[]
}

export interface LeaseRound {
  readonly version: number
  readonly collector: string
  /** `3.9f86d081`: how often the collector started, and a random number. */
  readonly epoch: string
  /** Of the machine, since it started. */
  readonly boot: string
  readonly slices: readonly ToldSlice[]
  readonly asks: readonly LeaseAsked[]
}

export interface HeldSlice {
  readonly tenant: string
  readonly lease: number
  readonly said: Said
  /** Whom its reservations are of. */
  readonly owner: Said
  /** All that was granted in it. */
  readonly granted: readonly SliceAmount[]
  /** Decisions up to this one are known. */
  readonly reported: number
  /** It is to be ended. */
  readonly recalled: boolean
}

interface EarlierSlice {
  readonly tenant: string
  readonly lease: number
  readonly epoch: string
  /** Decisions up to this one are known. */
  readonly reported: number
}

export interface LeaseAnswer {
  /** How long after it asked the collector may decide by what it holds, ms. */
  readonly termMs: number
  /** Longest time of a reservation, and how long its id is known beyond its end, ms. */
  readonly reservedMaxMs: number
  readonly rememberedMs: number
  /** Another one with this collector's id started later, this many times: this one is to decide nothing more, and to end all it holds. */
  readonly superseded: number | null
  /** All that it holds. */
  readonly slices: readonly HeldSlice[]
  /** Of those that it spoke of: what nobody holds any more. All that was said of it is known. */
  readonly closed: readonly { readonly tenant: string; readonly lease: number }[]
  /** What it held before it was started anew: to be ended, where its journal is there. */
  readonly earlier: readonly EarlierSlice[]
}

/** U+0000 is nowhere in PostgreSQL. */
const NAME = v.pipe(v.string(), v.maxLength(256), v.excludes('\0'))
const TENANT = v.pipe(v.string(), v.regex(TENANT_FORM[0], TENANT_FORM[1]))
const WHOLE = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const NUMBER = v.pipe(v.number(), v.safeInteger(), v.minValue(1))
const SAID = v.object({ userId: NAME, project: NAME, department: NAME })
const AMOUNTS = v.pipe(
  v.array(
    v.object({
      resource: v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_]{0,63}$/)),
      amount: v.pipe(WHOLE, v.maxValue(2 ** 51)),
    }),
  ),
  v.maxLength(16),
)

const ADMISSION: v.GenericSchema<unknown, Admission> = v.object({
  index: NUMBER,
  id: v.pipe(v.string(), v.minLength(1), v.maxLength(200), v.excludes('\0')),
  amounts: AMOUNTS,
  task: v.nullable(
    v.object({ taskId: v.pipe(v.string(), v.minLength(1), v.maxLength(256), v.excludes('\0')), attempt: NUMBER }),
  ),
  from: WHOLE,
  expires: WHOLE,
  hash: v.pipe(v.string(), v.maxLength(64)),
})

const ROUND: v.GenericSchema<unknown, LeaseRound> = v.object({
  version: v.literal(LEASES_VERSION),
  collector: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  epoch: v.pipe(v.string(), v.regex(/^\d{1,15}\.[0-9a-f]{8,64}$/)),
  boot: v.pipe(v.string(), v.maxLength(64)),
  slices: v.pipe(
    v.array(
      v.object({
        tenant: TENANT,
        lease: NUMBER,
        admissions: v.pipe(v.array(ADMISSION), v.maxLength(ADMISSIONS_MAX)),
        ended: v.boolean(),
      }),
    ),
    v.maxLength(SLICES_MAX),
  ),
  asks: v.pipe(
    v.array(
      v.object({
        tenant: TENANT,
        said: SAID,
        wanted: AMOUNTS,
        least: AMOUNTS,
      }),
    ),
    v.maxLength(ASKS_MAX),
  ),
})

/** @returns what is wrong with it as text */
export function readLeaseRound(value: unknown): LeaseRound | string {
  const read = v.safeParse(ROUND, value, { abortEarly: true })
  if (read.success) return read.output
  const [issue] = read.issues
  return `${v.getDotPath(issue) ?? 'the round'}: ${issue.message}`
}

/** How often its collector had started. */
export function startsOf(epoch: string): number {
  return Number(epoch.split('.')[0])
}
