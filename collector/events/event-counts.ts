/**
 * The events lane's counters. For each door, at any moment between two messages:
 *
 *     received + recovered = refused + duplicate + stored + waiting
 *
 * An item is an event, or a letter: something at a door that keeps what is no event.
 */
import type { FaultCode } from '../../proto/events/check.ts'
import { FAULT_CODES } from '../../proto/events/check.ts'
import type { EventDoor } from '../journal/record.ts'
import { EVENT_DOORS } from '../journal/record.ts'

export interface EventDoorCounts {
  /** Items in bodies that could be read. */
  received: number
  /** Journalled by an earlier process, and not known to be stored when this one started. */
  recovered: number
  accepted: number
  duplicate: number
  stored: number
  /** Of the accepted ones, those that are letters, by why they are no events. */
  readonly letters: Record<FaultCode, number>
  readonly refused: Record<FaultCode, number>
  /** Values that were read as what they stand for. */
  coerced: number
  /** Bodies that could not be read at all. */
  undecodable: number
}

/** All of them; plain, so that another thread can have a copy. */
export interface EventCounts {
  readonly doors: Readonly<Record<EventDoor, EventDoorCounts>>
  appendFailures: number
  syncFailures: number
  cursorFailures: number
}

export function noEventCounts(): EventCounts {
  const none = (): Record<FaultCode, number> =>
    Object.fromEntries(FAULT_CODES.map((code) => [code, 0])) as Record<FaultCode, number>
  const door = (): EventDoorCounts => ({
    received: 0,
    recovered: 0,
    accepted: 0,
    duplicate: 0,
    stored: 0,
    letters: none(),
    refused: none(),
    coerced: 0,
    undecodable: 0,
  })
  return {
    doors: Object.fromEntries(EVENT_DOORS.map((name) => [name, door()])) as Record<EventDoor, EventDoorCounts>,
    appendFailures: 0,
    syncFailures: 0,
    cursorFailures: 0,
  }
}

/** Journalled, and not stored yet. */
export function waitingEvents({ accepted, recovered, stored }: EventDoorCounts): number {
  return accepted + recovered - stored
}
