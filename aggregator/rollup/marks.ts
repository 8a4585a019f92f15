/**
 * Marks say which windows have rows that their roll-up may not contain yet.
 *
 * The store marks after its rows are in, and answers after that; the roller reads marks, recomputes, and clears exactly
 * the marks that it read. Whatever comes meanwhile has a mark of its own, by a random id: no clock, no lock.
 *
 * One insert a second for a mark would cost more than the rows themselves. Where this process is the only one at the
 * database (the embedded engine: its directory is locked), an hour that has an open mark needs no second one: `taking`
 * says that the roller is about to read rows, and from then on new rows mark again.
 */
import { randomBytes } from 'node:crypto'

/** Hour and day windows. */
export type Level = 1 | 2

/** A mark as it stands in the database. */
export interface Mark {
  readonly level: Level
  /** Start of the window, ms. */
  readonly start: number
  readonly id: string
  /** Day on which it was made, `2026-11-21`. */
  readonly made: string
}

/** Where marks are kept. */
export interface MarkTable {
  add(marks: readonly Mark[]): Promise<void>
  /** Marks that are not cleared. */
  open(): Promise<Mark[]>
  clear(marks: readonly Mark[]): Promise<void>
}

export class Marks {
  readonly #table: MarkTable
  readonly #alone: boolean
  readonly #now: () => number
  /** Hours with a mark of ours that the roller has not taken. Only used when alone. */
  readonly #open = new Set<number>()
  /** How often the roller has begun to read rows. */
  #takings = 0

  /** @param alone no other process writes to this database */
  constructor(table: MarkTable, alone: boolean, now: () => number) {
    this.#table = table
    this.#alone = alone
    this.#now = now
  }

  /** Rows that fall into these hours are in: their windows have to be rolled up. @param hours starts, ms */
  async afterRows(hours: Iterable<number>): Promise<void> {
    const unmarked = [...hours].filter((hour) => !this.#open.has(hour))
    if (unmarked.length === 0) return
    const takings = this.#takings
    await this.#table.add(unmarked.map((start) => this.#make(1, start)))
    // The roller may have read, and may clear, these very marks while they were being inserted.
    if (this.#alone && takings === this.#takings) for (const hour of unmarked) this.#open.add(hour)
  }

  /** The roller reads the rows of these hours from now on: rows that come later need a mark of their own. */
  taking(hours: Iterable<number>): void {
    this.#takings++
    for (const hour of hours) this.#open.delete(hour)
  }

  /** Days above hours that were recomputed. */
  async markDays(days: Iterable<number>): Promise<void> {
    const marks = [...days].map((start) => this.#make(2, start))
    if (marks.length > 0) await this.#table.add(marks)
  }

  open(): Promise<Mark[]> {
    return this.#table.open()
  }

  async clear(marks: readonly Mark[]): Promise<void> {
    if (marks.length > 0) await this.#table.clear(marks)
  }

  #make(level: Level, start: number): Mark {
    return {
      level,
      start,
      id: randomBytes(8).readBigUInt64LE().toString(),
      made: new Date(this.#now()).toISOString().slice(0, 10),
    }
  }
}
