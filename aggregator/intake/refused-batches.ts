/**
 * Batches that were answered "later": their points are visible and stored nowhere, so memory must not give them up as if they
 * were. They are settled when their collector says that its cursor is beyond them, or when it has not been heard for long.
 */
import type { BatchHeader } from '../../proto/wire/batch.ts'
import type { Pending } from '../hot/hot-series.ts'

interface Refused {
  readonly to: number
  readonly pending: Pending
  readonly at: number
}

export class RefusedBatches {
  /** By journal, then by the first position of the batch: one sent again replaces the one before. */
  readonly #journals = new Map<string, Map<number, Refused>>()
  readonly #settled: (pending: Pending) => void

  /** @param settled called when the points of a batch need not be kept any more */
  constructor(settled: (pending: Pending) => void) {
    this.#settled = settled
  }

  add(header: BatchHeader, pending: Pending, now: number): void {
    const key = journalOf(header)
    let journal = this.#journals.get(key)
    if (journal === undefined) {
      journal = new Map()
      this.#journals.set(key, journal)
    }
    const before = journal.get(header.from)
    journal.set(header.from, { to: header.to, pending, at: now })
    if (before !== undefined) this.#settled(before.pending)
  }

  /** A batch came: everything up to its cursor is stored. */
  storedUpTo(header: BatchHeader): void {
    const key = journalOf(header)
    const journal = this.#journals.get(key)
    if (journal === undefined) return
    for (const [from, { to, pending }] of journal) {
      if (to > header.cursor) continue
      journal.delete(from)
      this.#settled(pending)
    }
    if (journal.size === 0) this.#journals.delete(key)
  }

  /** Forgets those refused before a time, ms. */
  sweep(before: number): void {
    for (const [key, journal] of this.#journals) {
      for (const [from, { pending, at }] of journal) {
        if (at >= before) continue
        journal.delete(from)
        this.#settled(pending)
      }
      if (journal.size === 0) this.#journals.delete(key)
    }
  }
}

function journalOf({ collector, shard }: BatchHeader): string {
  return `${collector}/${shard}`
}
