/** A slice of quotas as its holder sees it: what was granted, what it decided by it, and what of that is known. */
import type { Admission, Said, SliceAmount, ToldSlice } from '../../proto/quotas/lease-round.ts'
import { whoKey } from './demand.ts'

interface Own {
  readonly admission: Admission
  durable: boolean
}

const NOBODY: Said = { userId: '', project: '', department: '' }

export class Slice {
  readonly tenant: string
  readonly lease: number
  /** As requests say it: undefined of an earlier start, which nothing is taken from. */
  readonly who: string | undefined
  /** Whom its reservations are of. */
  readonly owner: Said
  readonly #granted = new Map<string, number>()
  readonly #used = new Map<string, number>()
  /** Not known to be known: by number, in their order. */
  readonly #own = new Map<number, Own>()
  #next = 1
  #usedAt: number
  #stopped = false
  /** All that was decided by it is here. */
  #isWhole = true

  /** @param at monotonic, ms */
  constructor(tenant: string, lease: number, said: Said | undefined, owner: Said, at: number) {
    this.tenant = tenant
    this.lease = lease
    this.who = said === undefined ? undefined : whoKey(tenant, said)
    this.owner = owner
    this.#usedAt = at
  }

  static earlier(tenant: string, lease: number, admissions: readonly Admission[], whole: boolean): Slice {
    const slice = new Slice(tenant, lease, undefined, NOBODY, 0)
    for (const admission of admissions) slice.#own.set(admission.index, { admission, durable: true })
    slice.#stopped = true
    slice.#isWhole = whole
    return slice
  }

  /** Something decided by it is not known to be known. */
  get isOpen(): boolean {
    return this.#own.size > 0
  }

  leftOf(resource: string): number {
    return (this.#granted.get(resource) ?? 0) - (this.#used.get(resource) ?? 0)
  }

  /** Totals: the largest counts. */
  grant(granted: readonly SliceAmount[]): void {
    for (const { resource, amount } of granted)
      this.#granted.set(resource, Math.max(amount, this.#granted.get(resource) ?? 0))
  }

  /** Nothing of a resource asks whether anything is left, which is not known here. */
  fits(amounts: readonly SliceAmount[]): boolean {
    if (this.#stopped) return false
    for (const { resource, amount } of amounts) if (amount === 0 || this.leftOf(resource) < amount) return false
    return true
  }

  /** @param now monotonic, ms */
  take(decided: Omit<Admission, 'index'>, now: number): Admission {
    for (const { resource, amount } of decided.amounts)
      this.#used.set(resource, (this.#used.get(resource) ?? 0) + amount)
    const admission = { index: this.#next++, ...decided }
    this.#own.set(admission.index, { admission, durable: false })
    this.#usedAt = now
    return admission
  }

  durable({ index }: Admission): void {
    const own = this.#own.get(index)
    if (own !== undefined) own.durable = true
  }

  /**
   * Nobody is told of it. What it took stays taken, until the slice is returned: where a disk fails it may be in the journal without
   * the word that it is void, and whoever reads that next takes it for granted.
   */
  undo({ index }: Admission): void {
    this.#own.delete(index)
  }

  /** @returns those up to an index, which are known from now on */
  reported(index: number): Admission[] {
    const known: Admission[] = []
    for (const [own, { admission, durable }] of this.#own) {
      if (!durable || own > index) break
      known.push(admission)
      this.#own.delete(own)
    }
    return known
  }

  stop(): void {
    this.#stopped = true
  }

  isIdle(now: number, idleMs: number): boolean {
    return !this.#stopped && now - this.#usedAt > idleMs
  }

  /** What is to be told of it; undefined: nothing. */
  told(max: number): ToldSlice | undefined {
    const { tenant, lease } = this
    const admissions: Admission[] = []
    for (const { admission, durable } of this.#own.values()) {
      // A later one must not be known before an earlier one is.
      if (!durable || admissions.length >= max) break
      admissions.push(admission)
    }
    const ended = this.#stopped && this.#isWhole && admissions.length === this.#own.size
    return admissions.length === 0 && !this.#stopped ? undefined : { tenant, lease, admissions, ended }
  }
}
