/**
 * The events lane without its thread: from the body to the batch.
 *
 *     take:  read ─▶ check ─▶ known? ─▶ journal, synced ─▶ count, outbox ─▶ answer
 *     tick:  what is stored ─▶ cursor;  batches out of the outbox
 *
 * Requests that come together are one write and one sync. The body of a record is its items as lines of JSON: as checked, so
 * that a replay never checks anew, and nothing personal that is not wanted is on the disk. The core is synchronous and knows
 * no clock.
 */

import type { ReceivedItem } from '../../proto/events/event.ts'
import { PersonalPolicy } from '../../proto/events/personal.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { ok } from '../../proto/runtime/outcome.ts'
import type { Files } from '../journal/files.ts'
import type { EventDoor, JournalRecord } from '../journal/record.ts'
import type { Recovery } from '../journal/recovery.ts'
import { RecentRecords } from '../shard/journal-places.ts'
import type { KeptJournalOptions } from '../shard/kept-journal.ts'
import { KeptJournal } from '../shard/kept-journal.ts'
import type { OutgoingBatch } from '../shard/outbox.ts'
import { answerOf, answerOfBadBody } from './answers.ts'
import { BadBody } from './entry.ts'
import type { EventCounts } from './event-counts.ts'
import { noEventCounts } from './event-counts.ts'
import type { EventBatchBounds, EventBatchOrigin } from './event-outbox.ts'
import { EventOutbox } from './event-outbox.ts'
import type { Answered, IncomingEvents } from './incoming.ts'
import type { Judged, JudgeOptions } from './judge.ts'
import { judge } from './judge.ts'
import { RecentIds } from './recent-ids.ts'

export interface EventsOptions extends KeptJournalOptions, EventBatchBounds, JudgeOptions {
  readonly origin: EventBatchOrigin
  /** 0-999: last digits of every arrival, different for every writer of this collector. */
  readonly writerDigits: number
  /** What is kept of personal data, see personal.ts. */
  readonly personal: readonly string[]
  /** Most ids that are known at a time. */
  readonly recentMax: number
  /** Seed of their hash table. */
  readonly seed: number
}

export interface EventsTick {
  /** Wall clock, ms; it never goes back. */
  readonly now: number
  /** A clock that always goes on, ms. */
  readonly monotonic: number
  /** Ranges that aggregators have stored since the last tick. */
  readonly stored: readonly { readonly from: number; readonly to: number }[]
  /** How many batches and bytes the sender has room for. */
  readonly roomBatches: number
  readonly roomBytes: number
  /** The process is stopping: batches say that they are waited for. */
  readonly urgent: boolean
}

/** The lane's figures, all of one moment. */
export interface EventsSnapshot {
  readonly counts: EventCounts
  readonly journalBytes: number
  readonly journalSegments: number
  /** Items journalled since the journal was made, and how many of them are stored without a gap. */
  readonly end: number
  readonly cursor: number
  /** Ids that are known. */
  readonly recent: number
  /** The latest arrival that was given out, ms. */
  readonly lastAt: number
  readonly state: string | undefined
  readonly due: boolean
  readonly recovery: Recovery
}

const MICROS = 1000
const NOTHING = new Uint8Array(0)
/** Ids are restored from this much of the journal's end. */
const REPLAY_BYTES = 32 * 1024 * 1024

export class EventsCore {
  #options: EventsOptions
  readonly #kept: KeptJournal
  readonly #outbox: EventOutbox
  readonly #recent: RecentIds
  readonly #personal: PersonalPolicy
  /** That events named since the start, and that the configuration does not. */
  readonly #tenants = new Set<string>()
  readonly #counts = noEventCounts()
  #lastAtMs: number

  /**
   * Opens the lane's directory and replays its journal.
   * @param replayed told how many bytes have been read, of how many
   * @throws FleetmeterError when the directory cannot be used
   */
  constructor(
    files: Files,
    options: EventsOptions,
    faults: Faults = () => {},
    replayed: (done: number, of: number) => void = () => {},
  ) {
    this.#options = options
    this.#personal = new PersonalPolicy(options.personal)
    this.#recent = new RecentIds(options.recentMax, options.seed)
    const last = new RecentRecords(REPLAY_BYTES)
    const visit = (record: JournalRecord, stored: boolean): void => {
      last.push(record)
      if (!stored) this.#counts.doors[record.door as EventDoor].recovered += record.count // no other door writes here
    }
    this.#kept = new KeptJournal(files, options, faults, this.#counts, visit, replayed)
    const { hint, journal } = this.#kept
    this.#outbox = new EventOutbox(options.origin, this.#kept.cursorWritten, options)
    this.#lastAtMs = Math.floor(Math.max(journal.lastAt, hint?.at ?? 0) / MICROS)
    for (const record of last.records) this.#know(record)
    replayed(1, 1)
  }

  /**
   * Takes requests in one write: all of them are answered when it is on the disk.
   * @param now wall clock, ms
   */
  take(now: number, requests: readonly IncomingEvents[]): Outcome<Answered>[] {
    const at = Math.max(now, this.#lastAtMs + 1)
    const arrival = at * MICROS + this.#options.writerDigits
    let position = this.#kept.journal.end
    const judged = requests.map((request) => {
      const one = this.#judge(request, arrival, position)
      if (!(one instanceof BadBody)) position += one.lines.length
      return one
    })
    const records = this.#recordsOf(requests, judged, arrival)
    const failure = records.length === 0 ? undefined : this.#kept.append(records)
    if (failure !== undefined) return this.#answers(requests, judged, at, failure)
    const unsynced = records.length === 0 ? undefined : this.#kept.force()
    if (records.length > 0) this.#lastAtMs = at
    if (unsynced === undefined && records.length > 0) this.#kept.appended()
    // What was appended goes on, though nobody may be told of it.
    for (const [i, one] of judged.entries()) this.#count(requests[i]!, one)
    for (const record of records) this.#outbox.taken(record)
    return this.#answers(requests, judged, at, unsynced)
  }

  /** What is stored moves the cursor; then as many batches as there is room for. */
  tick(tick: EventsTick): OutgoingBatch[] {
    for (const { from, to } of tick.stored)
      this.#outbox.stored(from, to, (door, items) => {
        this.#counts.doors[door].stored += items
      })
    this.#kept.sync(tick.monotonic)
    this.#moveCursor(tick.monotonic)
    this.#kept.probe(tick.monotonic)
    const batches: OutgoingBatch[] = []
    let bytes = 0
    while (batches.length < tick.roomBatches && bytes < tick.roomBytes) {
      if (this.#outbox.behind && !this.#refill()) break
      const batch = this.#outbox.cut(tick.urgent)
      if (batch === undefined) break
      batches.push(batch)
      bytes += batch.bytes.length
    }
    return batches
  }

  /** Makes the batches from a position on again; answers to those given out must not be reported any more. */
  rewind(from: number): void {
    this.#outbox.rewind(from)
  }

  /** From now on a compressed body may decode to so many bytes. */
  limit(decodedBytesMax: number): void {
    this.#options = { ...this.#options, decodedBytesMax }
  }

  get due(): boolean {
    return this.#outbox.behind || this.#outbox.full
  }

  /** Why the lane cannot keep anything at the moment; undefined when it can. */
  get state(): string | undefined {
    return this.#kept.state
  }

  snapshot(): EventsSnapshot {
    const { bytes, segments, end, recovery } = this.#kept.journal
    return {
      counts: structuredClone(this.#counts),
      journalBytes: bytes,
      journalSegments: segments,
      end,
      cursor: this.#outbox.cursor,
      recent: this.#recent.count,
      lastAt: this.#lastAtMs,
      state: this.state,
      due: this.due,
      recovery: { ...recovery },
    }
  }

  /** Syncs, writes the cursor and closes the files. What is not stored stays in the journal. */
  close(now: number): void {
    this.#kept.hurry()
    this.#kept.sync(now)
    this.#moveCursor(now)
    this.#kept.journal.close()
  }

  #judge(request: IncomingEvents, arrival: number, position: number): Judged | BadBody {
    try {
      return judge(request, arrival, position, this.#options, this.#personal, this.#recent, this.#tenants)
    } catch (error) {
      if (error instanceof BadBody) return error
      throw error
    }
  }

  #recordsOf(requests: readonly IncomingEvents[], judged: readonly (Judged | BadBody)[], at: number): JournalRecord[] {
    let position = this.#kept.journal.end
    return judged.flatMap((one, i) => {
      if (one instanceof BadBody || one.lines.length === 0) return []
      const { door, tenant } = requests[i]!
      const count = one.lines.length
      const body = Buffer.from(one.lines.join(''))
      const record = { position, count, kinds: [count, 0, 0, 0], at, door, tenant, body }
      position += count
      return [{ ...record, verdict: NOTHING, dropped: NOTHING, overflow: NOTHING }]
    })
  }

  /** @param failure of the disk: whoever sent something that should be kept sends it again */
  #answers(
    requests: readonly IncomingEvents[],
    judged: readonly (Judged | BadBody)[],
    at: number,
    failure: Outcome<never> | undefined,
  ): Outcome<Answered>[] {
    return judged.map((one, i) => {
      if (one instanceof BadBody) return ok(answerOfBadBody(requests[i]!, one))
      // A repeat may be one of something in this very write.
      if (failure === undefined || !one.results.some((result) => 'position' in result))
        return ok(answerOf(requests[i]!, one, at))
      for (const [tenant, id] of one.added) this.#recent.forget(tenant, id)
      return failure
    })
  }

  #count({ door: name }: IncomingEvents, one: Judged | BadBody): void {
    const door = this.#counts.doors[name]
    if (one instanceof BadBody) {
      door.undecodable++
      return
    }
    door.received += one.results.length
    door.accepted += one.lines.length
    door.coerced += one.coerced
    for (const code of one.letters) door.letters[code]++
    for (const result of one.results) {
      if (result.kind === 'duplicate') door.duplicate++
      else if (result.kind === 'refused') door.refused[result.faults[0]!.code]++
      else if (result.kind === 'error') door.refused.malformed++
    }
  }

  /** Reads the journal into the outbox until that has enough for a batch. @returns false where it cannot be read: it waits */
  #refill(): boolean {
    try {
      this.#readIntoOutbox()
      this.#kept.over('read')
      return true
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#kept.begin('read', error.message)
      return false
    }
  }

  #readIntoOutbox(): void {
    const { journal } = this.#kept
    while (!this.#outbox.full) {
      const [record] = journal.read(this.#outbox.builtTo, 1)
      if (record === undefined) {
        this.#outbox.caughtUp(journal.end)
        return
      }
      if (!this.#outbox.passes(record)) this.#outbox.put(record)
    }
  }

  #moveCursor(at: number): void {
    this.#kept.moveCursor(at, () => ({
      position: this.#outbox.cursor,
      at: this.#lastAtMs * MICROS + MICROS - 1,
      windowsFrom: 0,
      kept: 0,
      keepFrom: Number.POSITIVE_INFINITY,
    }))
  }

  #know({ position, body }: JournalRecord): void {
    const lines = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8').split('\n')
    for (const [i, line] of lines.entries()) {
      if (line === '') continue
      const item = JSON.parse(line) as ReceivedItem // our own, and its checksum held
      this.#recent.add(item.tenant, 'event' in item ? item.event.event_id : item.dead.id, position + i)
    }
  }
}
