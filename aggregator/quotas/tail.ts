/**
 * The tail: what was counted by records whose rows may not all be in ClickHouse. A counter that is not in memory is what ClickHouse has
 * up to a position U, and what the tail has after it: one cursor, so that nothing is counted twice or missed while more comes in.
 */
import type { UsageRow } from '../store/record-rows.ts'
import type { CountedDelta } from './counted.ts'

/** What one record added. Plain JSON. */
export interface TailEntry {
  readonly n: number
  readonly tenant: string
  readonly deltas: readonly CountedDelta[]
  /** Rows of its own: what a calculation adds has its rows elsewhere. */
  readonly rows: readonly UsageRow[]
}

/** Plain JSON. */
export interface TailSnapshot {
  readonly knownFrom: number
  readonly entries: readonly TailEntry[]
}

export class Tail {
  /** In the order of the log. */
  readonly #entries = new Map<number, TailEntry>()
  /** Positions behind which everything is needed, one for each count that is under way. */
  readonly #pins: number[] = []
  #knownFrom = 0
  #storedUpTo = 0

  get size(): number {
    return this.#entries.size
  }

  /** Everything behind this position is here, or in ClickHouse. */
  get knownFrom(): number {
    return this.#knownFrom
  }

  /** What came up to here was applied by a program that knew nothing of quotas. */
  startAt(n: number): void {
    this.#knownFrom = Math.max(this.#knownFrom, n)
  }

  add(entry: TailEntry): void {
    this.#entries.set(entry.n, entry)
  }

  rowsOf(n: number): readonly UsageRow[] {
    return this.#entries.get(n)?.rows ?? []
  }

  stored(upTo: number): void {
    this.#storedUpTo = Math.max(this.#storedUpTo, upTo)
    const kept = Math.min(this.#storedUpTo, ...this.#pins)
    for (const n of this.#entries.keys()) {
      if (n > kept) break
      this.#entries.delete(n)
    }
  }

  /** What comes after a position stays until {@link unpin}. */
  pin(upTo: number): void {
    this.#pins.push(upTo)
  }

  unpin(upTo: number): void {
    this.#pins.splice(this.#pins.indexOf(upTo), 1)
    this.stored(this.#storedUpTo)
  }

  *after(n: number): Generator<TailEntry> {
    for (const entry of this.#entries.values()) if (entry.n > n) yield entry
  }

  snapshot(): TailSnapshot {
    return { knownFrom: this.#knownFrom, entries: [...this.#entries.values()] }
  }

  restore({ knownFrom, entries }: TailSnapshot): void {
    this.#knownFrom = knownFrom
    for (const entry of entries) this.#entries.set(entry.n, entry)
  }
}
