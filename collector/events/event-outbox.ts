/**
 * What of the events journal is on its way to an aggregator, and how far it is stored.
 *
 *     0 ──── cursor ──▓▓──── builtFrom ════════ builtTo ──── end of the journal
 *      stored      given out in batches   in memory         only in the journal ("behind")
 *
 * A batch is records as they are: their bodies are lines of it already.
 */
import type { EventBatchHeader } from '../../proto/wire/event-batch.ts'
import { encodeEventLines } from '../../proto/wire/event-batch.ts'
import type { EventDoor, JournalRecord } from '../journal/record.ts'
import type { OutgoingBatch } from '../shard/outbox.ts'
import { Progress } from '../shard/progress.ts'

export type EventBatchOrigin = Pick<EventBatchHeader, 'collector' | 'session' | 'lane'>

export interface EventBatchBounds {
  /** A batch is closed at about this size, or this many items. */
  readonly batchBytes: number
  readonly batchItems: number
}

type DoorCount = readonly [door: EventDoor, items: number]

/** Of what waits in memory, so many batches are kept; beyond it is read from the journal. */
const BATCHES_KEPT = 4

export class EventOutbox {
  readonly #origin: EventBatchOrigin
  readonly #bounds: EventBatchBounds
  readonly #progress: Progress
  #records: JournalRecord[] = []
  #bytes = 0
  #items = 0
  #builtFrom: number
  #builtTo: number
  #behind = true
  /** Batches given out and not stored, by their first position. */
  readonly #sent = new Map<number, { readonly to: number; readonly doors: readonly DoorCount[] }>()

  /** @param cursor everything up to here is stored */
  constructor(origin: EventBatchOrigin, cursor: number, bounds: EventBatchBounds) {
    this.#origin = origin
    this.#bounds = bounds
    this.#progress = new Progress(cursor)
    this.#builtFrom = cursor
    this.#builtTo = cursor
  }

  /** Everything up to here is stored. */
  get cursor(): number {
    return this.#progress.cursor
  }

  /** Records must be read from the journal; those just taken are not to be put here. */
  get behind(): boolean {
    return this.#behind
  }

  /** Where reading goes on. */
  get builtTo(): number {
    return this.#builtTo
  }

  get full(): boolean {
    return this.#bytes >= this.#bounds.batchBytes || this.#items >= this.#bounds.batchItems
  }

  /** A record that was appended just now; given up where nobody fetches what is there. */
  taken(record: JournalRecord): void {
    if (this.#behind) return
    if (this.#bytes >= BATCHES_KEPT * this.#bounds.batchBytes) this.#fallBehind()
    else this.put(record)
  }

  /** The next record of the journal. */
  put(record: JournalRecord): void {
    this.#records.push(record)
    this.#bytes += record.body.length
    this.#items += record.count
    this.#builtTo = record.position + record.count
  }

  /** A record that is stored already: after a rewind, the batch reaches over it without its items. */
  passes({ position, count }: JournalRecord): boolean {
    if (!this.#progress.has(position, position + count)) return false
    this.#builtTo = position + count
    return true
  }

  /** The journal's end is reached: from now on records come from memory. */
  caughtUp(end: number): void {
    this.#behind = false
    this.#builtTo = end
  }

  /** Closes the batch, or answers undefined when there is nothing in it. */
  cut(urgent: boolean): OutgoingBatch | undefined {
    if (this.#builtTo === this.#builtFrom) return undefined
    const [from, to] = [this.#builtFrom, this.#builtTo]
    const lines = this.#records.map(({ body }) => body)
    const bytes = encodeEventLines({ ...this.#origin, from, to, urgent }, lines)
    // All doors of this journal are of events.
    this.#sent.set(from, { to, doors: this.#records.map(({ door, count }) => [door as EventDoor, count]) })
    const samples = this.#items
    this.#clear()
    this.#builtFrom = to
    return { from, to, samples, bytes }
  }

  /** An aggregator has stored (from, to]. Calls `count` with how many items of a door that settles. */
  stored(from: number, to: number, count: (door: EventDoor, items: number) => void): void {
    this.#progress.stored(from, to)
    const sent = this.#sent.get(from)
    if (sent?.to !== to) return
    this.#sent.delete(from)
    for (const [door, items] of sent.doors) count(door, items)
  }

  /** Batches from here on are made again. Answers to them must not be reported any more. */
  rewind(from: number): void {
    for (const first of this.#sent.keys()) if (first >= from) this.#sent.delete(first)
    this.#builtFrom = Math.min(this.#builtFrom, from)
    this.#fallBehind()
  }

  #fallBehind(): void {
    this.#clear()
    this.#builtTo = this.#builtFrom
    this.#behind = true
  }

  #clear(): void {
    this.#records = []
    this.#bytes = 0
    this.#items = 0
  }
}
