/** One journal, looked through from its first record to its last, with nothing changed: what verify, stat and dump know of it. */
import { basename, join } from 'node:path'
import { messageOf } from '../../proto/runtime/errors.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import type { Door, JournalRecord } from '../journal/record.ts'
import { decodeRecord, isEventDoor } from '../journal/record.ts'
import { recoverJournal } from '../journal/recovery.ts'
import type { Cursor } from '../shard/cursor-file.ts'
import { CursorFile } from '../shard/cursor-file.ts'
import { ReaderGone } from './console.ts'
import { Findings } from './findings.ts'
import { isKnown, readKnownGaps } from './known-gaps.ts'
import { LookingFiles } from './looking-files.ts'
import type { JournalPlace } from './places.ts'
import type { LookingProgress } from './progress.ts'

/** What journals hold: an item of the events lane is one event, or one letter. */
export const SPOOL_KINDS: readonly [...typeof ITEM_KINDS, 'event'] = [...ITEM_KINDS, 'event']

/** Items by kind, in the order of `SPOOL_KINDS`. */
export type Kinds = number[]

export interface Survey {
  readonly place: JournalPlace
  readonly segments: number
  readonly bytes: number
  readonly cursor: Cursor | undefined
  readonly records: number
  readonly kinds: Kinds
  readonly doors: ReadonlyMap<Door, Kinds>
  /** Those behind the cursor. */
  readonly waiting: Kinds
  /** Position before the first item, and that of the last one; undefined: there is none. */
  readonly first: number | undefined
  readonly last: number | undefined
  /** Arrivals, µs. */
  readonly oldest: number | undefined
  readonly newest: number | undefined
  readonly findings: Findings
  /** A collector was writing to it meanwhile. */
  readonly growing: boolean
  /** Segments that a collector removed meanwhile. */
  readonly removed: number
  /** Names in the directory that are no segments. */
  readonly ignored: readonly string[]
}

/** A journal that could not be looked through. */
export interface Unreadable {
  readonly place: JournalPlace
  readonly problem: string
}

export interface Looking {
  /** Gets every sound record once and in order. */
  readonly visit?: (record: JournalRecord) => void
  /** Made once it is known how much there is. */
  readonly progress?: (place: JournalPlace, of: { segments: number; bytes: number }) => LookingProgress
}

/** Thrown by a visitor that has seen enough. */
export class Enough extends Error {}

/** A write that is going on is over by then. */
const GROW_WAIT_MS = 50

export function isUnreadable(survey: Survey | Unreadable): survey is Unreadable {
  return 'problem' in survey
}

/** Throws only {@link Enough} and {@link ReaderGone}, of a visitor. */
export function surveyJournal(place: JournalPlace, looking: Looking = {}): Survey | Unreadable {
  let files: LookingFiles | undefined
  try {
    files = new LookingFiles(place.directory)
    return lookThrough(place, files, looking)
  } catch (error) {
    if (error instanceof Enough || error instanceof ReaderGone) throw error
    return { place, problem: messageOf(error) }
  } finally {
    files?.release()
  }
}

function lookThrough(place: JournalPlace, files: LookingFiles, { visit, progress }: Looking): Survey {
  // Read after the segments were opened: what a collector has removed before lies before this cursor.
  const cursor = new CursorFile(files, join(place.directory, 'cursor')).read()
  const known = readKnownGaps(place)
  const findings = new Findings({
    quarantine: place.quarantine,
    cursor: cursor?.position,
    isSettled: (path) => files.settled.has(path),
    isKnownGap: (gap) => isKnown(known, gap),
  })
  const sums = new Sums(cursor?.position)
  const names = files.list()
  const telling = progress?.(place, { segments: names.length, bytes: files.bytes })
  const visited = (record: JournalRecord): void => {
    sums.add(record)
    visit?.(record)
  }
  const { segments: found } = recoverJournal(files, place.directory, place.quarantine, cursor?.position, visited, {
    segment: (segment) => {
      telling?.segment(segment)
      findings.segment(segment)
    },
    record: (segment, record, at) => {
      telling?.record(at.end)
      findings.record(segment, record, at)
    },
    damaged: (...told) => findings.damaged(...told),
    cut: (...told) => findings.cut(...told),
    missing: (...told) => findings.missing(...told),
  })
  telling?.end()
  const last = found.at(-1)?.path
  const growing = last !== undefined && leaveOutWhatGrows(findings, files, last)
  const { removed, ignored } = files
  return { place, segments: names.length, bytes: files.bytes, cursor, ...sums, findings, growing, removed, ignored }
}

/** A record that a collector was writing just then is no torn one. @returns whether the last segment grew */
function leaveOutWhatGrows(findings: Findings, files: LookingFiles, path: string): boolean {
  const torn = findings.torn.find(({ file }) => file === basename(path))
  const grew = (): boolean => files.sizeNow(path) > files.size(path)
  if (torn === undefined) return grew()
  if (!grew()) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, GROW_WAIT_MS)
  if (!grew()) return false
  const bytes = new Uint8Array(files.sizeNow(path) - torn.offset)
  files.read(files.open(path), bytes, torn.offset)
  if (decodeRecord(bytes, 0) !== undefined) findings.torn = findings.torn.filter((write) => write !== torn)
  return true
}

class Sums {
  records = 0
  readonly kinds: Kinds = SPOOL_KINDS.map(() => 0)
  readonly waiting: Kinds = SPOOL_KINDS.map(() => 0)
  readonly doors: Map<Door, Kinds> = new Map()
  first: number | undefined
  last: number | undefined
  oldest: number | undefined
  newest: number | undefined
  readonly #cursor: number | undefined

  constructor(cursor: number | undefined) {
    this.#cursor = cursor
  }

  add({ position, count, kinds, at, door }: JournalRecord): void {
    this.records++
    this.first ??= position
    this.last = position + count
    this.oldest = Math.min(this.oldest ?? at, at)
    this.newest = Math.max(this.newest ?? at, at)
    const ofDoor = this.doors.get(door) ?? SPOOL_KINDS.map(() => 0)
    this.doors.set(door, ofDoor)
    const waits = position >= (this.#cursor ?? 0)
    const ofRecord = isEventDoor(door) ? [...ITEM_KINDS.map(() => 0), count] : kinds
    for (const [i, n] of ofRecord.entries()) {
      this.kinds[i]! += n
      ofDoor[i]! += n
      if (waits) this.waiting[i]! += n
    }
  }
}
