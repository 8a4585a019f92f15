/** What was decided about the items of a write, a byte each. */
import { KEPT_SAMPLES } from './scratch.ts'
import type { ItemCounts } from './shard-counts.ts'

export const ACCEPTED = 0
export const DUPLICATE = 1
export const REPLACED = 2
/** Verdicts from here on are refusals: REFUSED + number of the reason. */
export const REFUSED = 3

const REFUSED_ITEMS_MAX = 100

/** How many of each, and by number of the reason which items are refused, the first hundred. */
export interface Tally {
  accepted: number
  duplicate: number
  replaced: number
  refused: Map<number, { count: number; readonly items: number[] }>
}

export class Verdicts {
  bytes: Uint8Array = new Uint8Array(4096)

  /** Makes room; what was there is void. */
  reserve(items: number): void {
    if (this.bytes.length < items) this.bytes = new Uint8Array(Math.max(items, this.bytes.length * 2))
  }

  /** Gives memory back that only an unusually large write needed. */
  release(): void {
    if (this.bytes.length > KEPT_SAMPLES) this.bytes = new Uint8Array(4096)
  }

  isAccepted(item: number): boolean {
    return this.bytes[item] === ACCEPTED
  }

  /** How many of the items [start, end) are accepted. */
  accepted(start: number, end: number): number {
    let n = 0
    for (let i = start; i < end; i++) if (this.bytes[i] === ACCEPTED) n++
    return n
  }

  /** @param of which of the items are meant, all by default */
  tally(start: number, end: number, of?: (item: number) => boolean): Tally {
    const tally: Tally = { accepted: 0, duplicate: 0, replaced: 0, refused: new Map() }
    for (let i = start; i < end; i++) {
      if (of !== undefined && !of(i)) continue
      const verdict = this.bytes[i]!
      if (verdict === ACCEPTED) tally.accepted++
      else if (verdict === DUPLICATE) tally.duplicate++
      else if (verdict === REPLACED) tally.replaced++
      else {
        const reason = tally.refused.get(verdict - REFUSED)
        if (reason === undefined) tally.refused.set(verdict - REFUSED, { count: 1, items: [i] })
        else if (reason.count++ < REFUSED_ITEMS_MAX) reason.items.push(i)
      }
    }
    return tally
  }

  /** Adds the items [start, end) to counters. */
  count(start: number, end: number, counts: ItemCounts): void {
    counts.received += end - start
    for (let i = start; i < end; i++) {
      const verdict = this.bytes[i]!
      if (verdict === ACCEPTED) counts.accepted++
      else if (verdict === DUPLICATE) counts.duplicate++
      else if (verdict === REPLACED) counts.replaced++
      else counts.refused[verdict - REFUSED]!++
    }
  }
}
