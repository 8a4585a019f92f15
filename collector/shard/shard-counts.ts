/**
 * A shard's counters. For each door and kind of item, at any moment between two messages:
 *
 *     received + recovered = refused + duplicate + replaced + consumed + stored + waiting
 */
import type { ItemKind } from '../../proto/wire/batch-extras.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import type { Door } from '../journal/record.ts'
import { DOORS } from '../journal/record.ts'
import { REFUSAL_CODES } from './refusals.ts'

export interface ItemCounts {
  /** Items in bodies that could be read and were journalled or had nothing to journal. */
  received: number
  /** Accepted by an earlier process and not known to be stored when this one started; and what this one read again. */
  recovered: number
  accepted: number
  duplicate: number
  replaced: number
  /** By number of the reason. */
  refused: number[]
  /** In windows of rules that were given out, instead of being stored. */
  consumed: number
  stored: number
}

export interface DoorCounts {
  readonly items: Readonly<Record<ItemKind, ItemCounts>>
  /** Bodies that could not be read at all. */
  undecodable: number
}

/** How many items of each kind, in the order of `ITEM_KINDS`. */
export type KindCounts = readonly number[]

/** A copy for another thread. */
export interface CountsSnapshot {
  readonly doors: Readonly<Record<Door, DoorCounts>>
  readonly appendFailures: number
  readonly syncFailures: number
  readonly cursorFailures: number
  readonly unreadable: number
  readonly windowsUnkept: number
  readonly overflowLost: number
}

export class ShardCounts {
  appendFailures = 0
  syncFailures = 0
  cursorFailures = 0
  /** Items in sound records that this version cannot read. */
  unreadable = 0
  /** Times that journal files were removed at the disk bound although windows of rules reached into them. */
  windowsUnkept = 0
  /** Samples beyond the cardinality bounds whose window a restart could not complete. */
  overflowLost = 0
  readonly #doors = Object.fromEntries(DOORS.map((door) => [door, noDoorCounts()])) as Record<Door, DoorCounts>

  of(door: Door, kind: ItemKind): ItemCounts {
    return this.#doors[door].items[kind]
  }

  recovered(door: Door, counts: KindCounts): void {
    for (const [i, kind] of ITEM_KINDS.entries()) this.of(door, kind).recovered += counts[i]!
  }

  stored(door: Door, counts: KindCounts): void {
    for (const [i, kind] of ITEM_KINDS.entries()) this.of(door, kind).stored += counts[i]!
  }

  /** The journal is about to be read again: what waits is counted anew then, as recovered. */
  readAgain(): void {
    for (const { items } of Object.values(this.#doors))
      for (const counts of Object.values(items)) counts.recovered -= waiting(counts)
  }

  undecodable(door: Door): void {
    this.#doors[door].undecodable++
  }

  snapshot(): CountsSnapshot {
    return structuredClone({
      doors: this.#doors,
      appendFailures: this.appendFailures,
      syncFailures: this.syncFailures,
      cursorFailures: this.cursorFailures,
      unreadable: this.unreadable,
      windowsUnkept: this.windowsUnkept,
      overflowLost: this.overflowLost,
    })
  }
}

function noDoorCounts(): DoorCounts {
  return {
    items: Object.fromEntries(ITEM_KINDS.map((kind) => [kind, noCounts()])) as Record<ItemKind, ItemCounts>,
    undecodable: 0,
  }
}

function noCounts(): ItemCounts {
  return {
    received: 0,
    recovered: 0,
    accepted: 0,
    duplicate: 0,
    replaced: 0,
    refused: REFUSAL_CODES.map(() => 0),
    consumed: 0,
    stored: 0,
  }
}

/** Accepted or recovered, and neither consumed nor stored yet. */
export function waiting(counts: ItemCounts): number {
  return counts.accepted + counts.recovered - counts.consumed - counts.stored
}
