/**
 * A lane's journal with what keeps it going: the cursor that says how far it is stored, a sync each second, and trying again what
 * the disk would not do. What it cannot do at the moment is `state`; nothing here throws for a disk.
 */
import { join } from 'node:path'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { retry } from '../../proto/runtime/outcome.ts'
import type { Files } from '../journal/files.ts'
import type { JournalOptions } from '../journal/journal.ts'
import { Journal } from '../journal/journal.ts'
import type { JournalRecord } from '../journal/record.ts'
import type { RecoveryWatcher } from '../journal/recovery.ts'
import { journalBytes } from '../journal/recovery.ts'
import type { Cursor } from './cursor-file.ts'
import { CursorFile } from './cursor-file.ts'
import type { DiskWork } from './disk-troubles.ts'
import { DiskTroubles } from './disk-troubles.ts'

export interface KeptJournalOptions {
  readonly directory: string
  /** Said in each segment's head. */
  readonly writer: string
  readonly segmentBytes: number
  readonly journalBytesMax: number
}

/** What went wrong, counted. */
export interface DiskFailures {
  appendFailures: number
  syncFailures: number
  cursorFailures: number
}

const SYNC_EVERY_MS = 1000

export class KeptJournal {
  readonly journal: Journal
  /** As it was found at the start; undefined when there was none. */
  readonly hint: Cursor | undefined
  readonly #cursorFile: CursorFile
  readonly #faults: Faults
  readonly #counts: DiskFailures
  readonly #troubles = new DiskTroubles()
  #cursorWritten: number
  #keptWritten = 0
  #lastSync = Number.NEGATIVE_INFINITY
  #cursorWrittenAt = Number.NEGATIVE_INFINITY
  #probedAt = Number.NEGATIVE_INFINITY

  /**
   * Opens or makes it, and looks at every record.
   * @param visit gets every record that is kept, once and in order, and whether it is known to be stored
   * @param replayed told how many bytes have been read, of how many
   * @throws FleetmeterError when the directory cannot be used
   */
  constructor(
    files: Files,
    options: KeptJournalOptions,
    faults: Faults,
    counts: DiskFailures,
    visit: (record: JournalRecord, stored: boolean) => void,
    replayed: (done: number, of: number) => void,
  ) {
    const { directory } = options
    this.#faults = faults
    this.#counts = counts
    this.#cursorFile = new CursorFile(files, join(directory, 'cursor'))
    this.hint = this.#cursorFile.read()
    const cursor = this.hint?.position
    let firstKept: number | undefined
    files.makeDirectory(directory)
    const watcher = replayWatcher(journalBytes(files, directory), replayed)
    const look = (record: JournalRecord): void => {
      firstKept ??= record.position
      visit(record, record.position < (cursor ?? 0))
    }
    this.journal = Journal.open(files, journalOptions(options), this.hint, look, watcher)
    this.#cursorWritten = Math.min(cursor ?? firstKept ?? this.journal.end, this.journal.end)
    this.#reserveCursor()
  }

  /** Everything up to here is stored, as far as the disk knows. */
  get cursorWritten(): number {
    return this.#cursorWritten
  }

  /** Why the lane cannot do what it should at the moment; undefined when it can. */
  get state(): string | undefined {
    return this.#troubles.worst
  }

  begin(work: DiskWork, reason: string): void {
    this.#troubles.begin(work, reason)
  }

  over(work: DiskWork): void {
    this.#troubles.over(work)
  }

  /**
   * Appends records in one write.
   * @param unkept called when files that a restart would need had to go, at the disk bound; absent: none does
   * @returns why nothing was appended; undefined when all was
   */
  append(records: readonly JournalRecord[], unkept?: () => void): Outcome<never> | undefined {
    return this.#try('append', () => {
      this.#faults('journal.append.before')
      this.#appendOrMakeRoom(records, unkept)
    })
  }

  /** What was appended survives a power cut from now on. @returns why it may not */
  force(): Outcome<never> | undefined {
    return this.#try('append', () => this.journal.sync())
  }

  /** @returns why the lane fails at what somebody waits for; undefined when it does not */
  #try(work: 'append', act: () => void): Outcome<never> | undefined {
    try {
      act()
      return undefined
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#troubles.begin(work, error.message)
      this.#counts.appendFailures++
      return retry(error.code === 'FM_JOURNAL_FULL' ? 'disk_full' : 'disk_error', error.message)
    }
  }

  /** An append and what belongs to it went well. */
  appended(): void {
    this.#faults('journal.append.after')
    this.#troubles.over('append')
  }

  /** At the bound, what is stored and only kept for a restart goes first. */
  #appendOrMakeRoom(records: readonly JournalRecord[], unkept: (() => void) | undefined): void {
    try {
      this.journal.append(records)
    } catch (error) {
      if (!(error instanceof FleetmeterError) || error.code !== 'FM_JOURNAL_FULL') throw error
      if (!this.journal.release(this.#cursorWritten)) throw error
      unkept?.()
      this.journal.append(records)
    }
  }

  /** Each second. @param at of the clock that goes on, ms */
  sync(at: number): void {
    if (Math.abs(at - this.#lastSync) < SYNC_EVERY_MS) return
    this.#lastSync = at
    try {
      this.journal.sync()
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#troubles.begin('sync', error.message)
      this.#counts.syncFailures++
    }
  }

  /**
   * Each second: writes the cursor, then removes what lies before it: in this order, so that it never points before what is kept.
   * @param at of the clock that goes on, ms
   * @param now how far all is; records that arrived from `keepFrom` (µs) on stay
   */
  moveCursor(at: number, now: () => Omit<Cursor, 'lastAt'> & { readonly keepFrom: number }): void {
    if (Math.abs(at - this.#cursorWrittenAt) < SYNC_EVERY_MS) return
    this.#cursorWrittenAt = at
    const { keepFrom, ...next } = now()
    const cursor = { ...next, position: Math.max(this.#cursorWritten, next.position) }
    const moved = cursor.position !== this.#cursorWritten || cursor.kept !== this.#keptWritten
    const due = moved || this.#troubles.has('cursor')
    try {
      if (due) this.#writeCursor(cursor)
    } catch (error) {
      this.#cursorFailed(error)
      return
    }
    try {
      // What is gone must not be looked for after a restart: windows that it was in would count as incomplete.
      if (this.journal.release(cursor.position, keepFrom) && !due) this.#writeCursor(cursor)
      this.#troubles.over('remove')
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#troubles.begin('remove', error.message)
    }
  }

  /** While nothing can be appended or synced: whether it can be again. @param at of the clock that goes on, ms */
  probe(at: number): void {
    if (!this.#troubles.has('append') && !this.#troubles.has('sync')) return
    if (Math.abs(at - this.#probedAt) < SYNC_EVERY_MS) return
    this.#probedAt = at
    try {
      this.journal.probe()
      this.#troubles.over('append')
      this.#troubles.over('sync')
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#troubles.begin('append', error.message)
    }
  }

  /** The next sync and the next cursor are due, whenever the last ones were. */
  hurry(): void {
    this.#lastSync = Number.NEGATIVE_INFINITY
    this.#cursorWrittenAt = Number.NEGATIVE_INFINITY
  }

  #writeCursor(cursor: Omit<Cursor, 'lastAt'>): void {
    this.#faults('cursor.before')
    this.#cursorFile.write({ ...cursor, lastAt: this.journal.lastAt })
    this.#cursorWritten = cursor.position
    this.#keptWritten = cursor.kept
    this.#troubles.over('cursor')
  }

  /** While there is room: the cursor must be writable when the journal has filled the disk. */
  #reserveCursor(): void {
    try {
      this.#cursorFile.reserve()
    } catch (error) {
      this.#cursorFailed(error)
    }
  }

  #cursorFailed(error: unknown): void {
    const reason = `Cannot write the cursor "${this.#cursorFile.path}": ${messageOf(error)}${remedyOf(error)}`
    this.#troubles.begin('cursor', reason)
    this.#counts.cursorFailures++
  }
}

function journalOptions({ directory, writer, segmentBytes, journalBytesMax }: KeptJournalOptions): JournalOptions {
  return { directory, quarantine: join(directory, 'quarantine'), writer, segmentBytes, bytesMax: journalBytesMax }
}

function replayWatcher(of: number, replayed: (done: number, of: number) => void): RecoveryWatcher {
  let before = 0
  let bytes = 0
  return {
    segment: (segment) => {
      before += bytes
      bytes = segment.bytes
    },
    record: (_segment, _record, place) => replayed(before + place.end, of),
  }
}
