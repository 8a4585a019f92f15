/**
 * What was counted: of subjects in memory by counters, of all others by ClickHouse, with the tail after it.
 *
 *     deltas of a record ──▶ tail (until its rows are in ClickHouse)
 *            └──────────────▶ counters of those of the four subjects that are in memory
 *     cold counter ──▶ rows with n ≤ U ──▶ + tail with n > U, in one turn ──▶ counter
 */
import type { UsageRow } from '../store/record-rows.ts'
import type { CountedDelta } from './counted.ts'
import { Counter } from './counter.ts'
import type { ColdCounter, CounterKey } from './decision.ts'
import { ExactSum } from './exact-sum.ts'
import type { Level } from './quota.ts'
import { LEVELS, subjectAt } from './quota.ts'
import type { Subjects } from './subjects.ts'
import type { TailSnapshot } from './tail.ts'
import { Tail } from './tail.ts'
import type { Thresholds } from './thresholds.ts'

/** A count of cold counters that is under way. The tail behind `upTo` is kept until it is over. */
export interface CountRun {
  /** U: rows with n ≤ U are to be summed. */
  readonly upTo: number
  /** What each of the counters has: sums by slot, as `ColdCounter` says. From this turn on they are in memory. */
  finish(counted: readonly CountedSlots[]): void
  /** It came to nothing. */
  abandon(): void
}

export interface CountedSlots {
  readonly counter: ColdCounter
  readonly slots: readonly (readonly [slot: number, sum: ExactSum])[]
}

/** Plain JSON. */
export interface CountsSnapshot {
  readonly tail: TailSnapshot
  /** Those asked for last come first. */
  readonly counters: readonly CounterSnapshot[]
}

/** Sums are decimal numbers of the smallest unit; `to` null: without end. */
interface CounterSnapshot extends CounterKey {
  readonly from: number
  readonly to: number | null
  readonly slots: readonly (readonly [slot: number, sum: string])[]
}

/** Where a record stands in the log. */
export interface Position {
  readonly n: number
  readonly tenant: string
  /** µs. */
  readonly at: number
}

export class Counts {
  readonly #subjects: Subjects
  readonly #thresholds: Thresholds
  readonly #tail = new Tail()

  constructor(subjects: Subjects, thresholds: Thresholds) {
    this.#subjects = subjects
    this.#thresholds = thresholds
  }

  get tailSize(): number {
    return this.#tail.size
  }

  /** @see Tail.startAt */
  startAt(n: number): void {
    this.#tail.startAt(n)
  }

  /** @param rows of this record's own: somebody else may have rows for the rest */
  add({ n, tenant, at }: Position, deltas: readonly CountedDelta[], rows: readonly UsageRow[]): void {
    if (deltas.length === 0) return
    this.#tail.add({ n, tenant, deltas, rows })
    for (const { resource, slot, amount, owner } of deltas) {
      const sum = ExactSum.of(amount)
      for (const level of LEVELS) {
        const subject = subjectAt(level, tenant, owner)
        if (subject === '') continue
        this.#subjects.peek(tenant, level, subject)?.add(resource, slot, sum, at / 1000)
        if (this.#subjects.index?.tells(tenant, level) === true) this.#thresholds.touch({ tenant, level, subject })
      }
    }
  }

  rowsOf(n: number): readonly UsageRow[] {
    return this.#tail.rowsOf(n)
  }

  stored(upTo: number): void {
    this.#tail.stored(upTo)
  }

  /** @param upTo U of now @returns undefined: what came before quotas were known of is not all in ClickHouse yet */
  count(upTo: number): CountRun | undefined {
    if (upTo < this.#tail.knownFrom) return undefined
    this.#tail.pin(upTo)
    return {
      upTo,
      finish: (counted) => {
        this.#take(upTo, counted)
        this.#tail.unpin(upTo)
      },
      abandon: () => this.#tail.unpin(upTo),
    }
  }

  /** @param countersMax so many, those asked for last */
  snapshot(countersMax: number): CountsSnapshot {
    const counters: CounterSnapshot[] = []
    for (const { tenant, level, subject, counters: own } of this.#subjects.newest())
      for (const { resource, counter } of own) {
        if (counters.length >= countersMax) return { tail: this.#tail.snapshot(), counters }
        const { window, period } = counter
        const slots = Array.from(counter.slots(), ([slot, sum]) => [slot, String(sum.toBigInt())] as const)
        const to = Number.isFinite(period.to) ? period.to : null
        counters.push({ tenant, level, subject, resource, window, from: period.from, to, slots })
      }
    return { tail: this.#tail.snapshot(), counters }
  }

  restore({ tail, counters }: CountsSnapshot): void {
    this.#tail.restore(tail)
    for (const { tenant, level, subject, resource, window, from, to, slots } of counters.toReversed()) {
      const counter = new Counter(window, { from, to: to ?? Number.POSITIVE_INFINITY })
      for (const [slot, sum] of slots) counter.add(slot, ExactSum.ofBigInt(BigInt(sum)), from)
      this.#subjects.take(tenant, level, subject, resource, counter)
    }
  }

  #take(upTo: number, counted: readonly CountedSlots[]): void {
    const made = new MadeCounters()
    for (const { counter: key, slots } of counted) {
      const counter = new Counter(key.window, key.period)
      for (const [slot, sum] of slots) counter.add(slot, sum, key.period.from)
      made.add(key, counter)
    }
    for (const { tenant, deltas } of this.#tail.after(upTo)) made.count(tenant, deltas)
    for (const { key, counter } of made.all)
      this.#subjects.take(key.tenant, key.level, key.subject, key.resource, counter)
  }
}

interface MadeCounter {
  readonly key: CounterKey
  readonly counter: Counter
}

/** Counters by whom they are of: the tail is long, and each delta is of few of them. */
class MadeCounters {
  readonly all: MadeCounter[] = []
  readonly #byTenant = new Map<string, Readonly<Record<Level, Map<string, MadeCounter[]>>>>()

  add(key: CounterKey, counter: Counter): void {
    const made = { key, counter }
    this.all.push(made)
    const levels = this.#byTenant.get(key.tenant) ?? {
      user: new Map(),
      project: new Map(),
      department: new Map(),
      tenant: new Map(),
    }
    this.#byTenant.set(key.tenant, levels)
    const known = levels[key.level].get(key.subject)
    if (known === undefined) levels[key.level].set(key.subject, [made])
    else known.push(made)
  }

  count(tenant: string, deltas: readonly CountedDelta[]): void {
    const levels = this.#byTenant.get(tenant)
    if (levels === undefined) return
    for (const { resource, slot, amount, owner } of deltas)
      for (const level of LEVELS)
        for (const { key, counter } of levels[level].get(subjectAt(level, tenant, owner)) ?? [])
          if (key.resource === resource) counter.add(slot, ExactSum.of(amount), counter.period.from)
  }
}
