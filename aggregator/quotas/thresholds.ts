/** Which thresholds were told, once each: a record says so. And for whom there may be one to tell. */
import type { ExactSum } from './exact-sum.ts'
import type { Quota } from './quota.ts'
import type { ThresholdBody } from './quota-record.ts'
import { thresholdKey } from './quota-record.ts'
import { decimalOfSum } from './resource.ts'
import type { Subject } from './subjects.ts'
import { noticePeriodOf } from './window.ts'

export interface SubjectName {
  readonly tenant: string
  readonly level: Subject['level']
  readonly subject: string
}

/** Plain JSON. */
export interface ThresholdsSnapshot {
  /** By key: when its period ends, ms; null: never. */
  readonly told: readonly (readonly [key: string, to: number | null])[]
  readonly touched: readonly SubjectName[]
}

/** Of subjects that are not looked at in time, so many are remembered. */
const TOUCHED_MAX = 200_000
const CLEAN_AT_MIN = 1024
/** A period's end is a time of definitions; records come by the clock of this machine. */
const KEPT_MS = 86_400_000

export class Thresholds {
  #told = new Map<string, number | null>()
  readonly #touched = new Map<string, SubjectName>()
  #cleanAt = CLEAN_AT_MIN

  /** Something was counted for it. */
  touch({ tenant, level, subject }: SubjectName): void {
    if (this.#touched.size < TOUCHED_MAX) this.#touched.set(nameOf(tenant, level, subject), { tenant, level, subject })
  }

  touched(max: number): SubjectName[] {
    const first: SubjectName[] = []
    for (const subject of this.#touched.values()) {
      if (first.length >= max) break
      first.push(subject)
    }
    return first
  }

  /** @param now ms */
  tell(tenant: string, body: ThresholdBody, now: number): void {
    this.#told.set(toldKey(tenant, body), body.to)
    if (this.#told.size < this.#cleanAt) return
    this.#told = new Map([...this.#told].filter(([, to]) => to === null || to + KEPT_MS > now))
    this.#cleanAt = Math.max(CLEAN_AT_MIN, 2 * this.#told.size)
  }

  /** Those that it has reached and nobody was told of. Where there are none it need not be looked at again, until more is counted. */
  reached(subject: Subject, now: number): ThresholdBody[] {
    const reached: ThresholdBody[] = []
    let known = true
    for (const { quota, counter } of subject.meters) {
      if (quota.thresholds.length === 0) continue
      counter?.advance(now)
      if (counter === undefined) known = false
      else reached.push(...this.#ofQuota(subject, quota, counter.sum, now))
    }
    if (known && reached.length === 0) this.#touched.delete(nameOf(subject.tenant, subject.level, subject.subject))
    return reached
  }

  snapshot(): ThresholdsSnapshot {
    return { told: [...this.#told], touched: [...this.#touched.values()] }
  }

  restore({ told, touched }: ThresholdsSnapshot): void {
    for (const [key, to] of told) this.#told.set(key, to)
    for (const subject of touched) this.touch(subject)
  }

  #ofQuota({ tenant, subject }: Subject, quota: Quota, counted: ExactSum, now: number): ThresholdBody[] {
    const sum = counted.toBigInt()
    if (sum <= 0n) return []
    const { from, to } = noticePeriodOf(quota.window, now)
    return quota.thresholds
      .filter((threshold) => sum * 100n >= quota.limit.toBigInt() * BigInt(threshold))
      .map((threshold) => ({
        quota: quota.id,
        level: quota.level,
        subject,
        resource: quota.resource,
        from,
        to: Number.isFinite(to) ? to : null,
        threshold,
        counted: decimalOfSum(quota.resource, counted),
        limit: decimalOfSum(quota.resource, quota.limit),
      }))
      .filter((body) => !this.#told.has(toldKey(tenant, body)))
  }
}

const nameOf = (tenant: string, level: string, subject: string): string => `${level} ${tenant}\n${subject}`
const toldKey = (tenant: string, body: ThresholdBody): string => `${tenant}\n${thresholdKey(body)}`
