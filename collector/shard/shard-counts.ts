/**
 * A shard's counters. For each door, at any moment between two messages:
 *
 *     received + recovered = refused + duplicate + replaced + stored + waiting
 */
import type { Door } from '../journal/record.ts'
import { DOORS } from '../journal/record.ts'
import { REFUSAL_CODES } from './refusals.ts'

export interface DoorCounts {
  /** Samples in bodies that could be read and were journalled or had nothing to journal. */
  received: number
  /** Accepted by an earlier process and not known to be stored when this one started. */
  recovered: number
  accepted: number
  duplicate: number
  replaced: number
  /** By number of the reason. */
  refused: number[]
  stored: number
  /** Bodies that could not be read at all. */
  undecodable: number
}

/** A copy for another thread. */
export interface CountsSnapshot {
  readonly doors: Readonly<Record<Door, DoorCounts>>
  readonly appendFailures: number
  readonly syncFailures: number
  readonly cursorFailures: number
  readonly unreadable: number
}

export class ShardCounts {
  appendFailures = 0
  syncFailures = 0
  cursorFailures = 0
  /** Samples in sound records that this version cannot read. */
  unreadable = 0
  readonly #doors = Object.fromEntries(DOORS.map((door) => [door, noCounts()])) as Record<Door, DoorCounts>

  door(door: Door): DoorCounts {
    return this.#doors[door]
  }

  recovered(door: Door, samples: number): void {
    this.#doors[door].recovered += samples
  }

  stored(door: Door, samples: number): void {
    this.#doors[door].stored += samples
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
    })
  }
}

function noCounts(): DoorCounts {
  return {
    received: 0,
    recovered: 0,
    accepted: 0,
    duplicate: 0,
    replaced: 0,
    refused: REFUSAL_CODES.map(() => 0),
    stored: 0,
    undecodable: 0,
  }
}

/** Accepted or recovered, and not stored yet. */
export function waiting(counts: DoorCounts): number {
  return counts.accepted + counts.recovered - counts.stored
}
