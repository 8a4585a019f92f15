/**
 * Looks at a journal's directory at the start: which records are sound, which are missing, what is left of a write that
 * did not end.
 *
 *     sound record          kept, handed to the visitor once and in order
 *     gap in positions      that many samples are lost; counted exactly
 *     unreadable bytes      copied to quarantine/, passed over
 *     cut-off last write    cut away: nobody was told that it is kept
 *     record at or behind a later segment's first position: left of a failed write that could not be cut away. Void.
 */
import { basename, join } from 'node:path'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Files } from './files.ts'
import type { JournalRecord } from './record.ts'
import { decodeRecord, decodeSegmentHead, peekRange } from './record.ts'
import { isCutOff, nextSound } from './resync.ts'

/** What was found. */
export interface Recovery {
  /** Accepted samples that are missing. */
  lost: number
  /** Bytes that were no sound record, copied to quarantine. */
  quarantined: number
  /** Bytes of writes that nobody was told to be kept. */
  torn: number
}

/** A file of the journal. */
export interface Segment {
  /** Ascending in the order of writing; a copied file has that of its original. */
  readonly sequence: number
  readonly path: string
  /** Position of its first record. */
  readonly first: number
  /** Where the first record begins, bytes. */
  readonly start: number
  /** Position behind its last record. */
  end: number
  /** What of the file is to be read. */
  bytes: number
  /** Arrival of the newest record before it, µs; 0 when there is none. */
  readonly horizon: number
  /** Arrival of the newest record up to its end, µs. */
  lastAt: number
  /** Open while it is written to or read from. */
  fd: number | undefined
}

export interface Recovered {
  readonly segments: Segment[]
  readonly sequence: number
  readonly end: number
  readonly lastAt: number
  readonly recovery: Recovery
}

const SEGMENT_NAME = /^[0-9a-f]{8}\.seg$/
const HEAD_BYTES_MAX = 4096

/** Bytes of all segments in a directory. */
export function journalBytes(files: Pick<Files, 'list' | 'size'>, directory: string): number {
  return files
    .list(directory)
    .filter(isSegmentName)
    .reduce((sum, name) => sum + files.size(join(directory, name)), 0)
}

/** What is told while a journal is looked at, in order: where things are, for a person. Positions count items. */
export interface RecoveryWatcher {
  /** A segment's records come next. */
  segment?(segment: Segment): void
  /** A sound record at these bytes; `repeats`: its positions came before, it is not visited. */
  record?(
    segment: Segment,
    record: JournalRecord,
    place: { readonly offset: number; readonly end: number; readonly repeats: boolean },
  ): void
  /** Bytes that are no sound record, kept aside. */
  damaged?(segment: Segment, from: number, to: number): void
  /** Bytes of writes that nobody was told to be kept, cut away. */
  cut?(segment: Segment, from: number, to: number): void
  /** The items (from, to] are missing; not `proved`: by what the damaged record says of itself. */
  missing?(gap: { readonly from: number; readonly to: number; readonly proved: boolean }): void
}

export function isSegmentName(name: string): boolean {
  return SEGMENT_NAME.test(name)
}

/** The name of the file with a sequence number. */
export function segmentName(sequence: number): string {
  return `${sequence.toString(16).padStart(8, '0')}.seg`
}

/** Under which name damaged bytes at an offset of a segment are kept aside. */
export function quarantineName({ path }: Pick<Segment, 'path'>, offset: number): string {
  return `${basename(path)}-${offset}.bin`
}

/**
 * @param cursor position up to which everything is stored, undefined when that is not known
 * @param watcher is told where things are
 * @throws FleetmeterError `FM_DIRECTORY` when a segment is of another version, or its head cannot be read
 */
export function recoverJournal(
  files: Files,
  directory: string,
  quarantine: string,
  cursor: number | undefined,
  visit: (record: JournalRecord) => void,
  watcher: RecoveryWatcher = {},
): Recovered {
  files.makeDirectory(directory)
  files.makeDirectory(quarantine)
  const names = files.list(directory).filter(isSegmentName)
  const segments = names
    .map((name) => openSegment(files, directory, name))
    .sort((a, b) => a.sequence - b.sequence || a.path.localeCompare(b.path))
  const scan = new Scan(files, quarantine, visit, cursor, watcher)
  for (const [i, segment] of segments.entries()) {
    const later = segments.slice(i + 1).filter((other) => other.sequence > segment.sequence && other.start > 0)
    const bound = Math.min(...later.map((other) => other.first))
    scan.segment(segment, bound, i === segments.length - 1)
  }
  const sequence = Math.max(0, ...segments.map((s) => s.sequence), ...names.map((name) => Number.parseInt(name, 16)))
  return {
    segments,
    sequence,
    end: Math.max(scan.expected ?? 0, cursor ?? 0),
    lastAt: scan.lastAt,
    recovery: scan.recovery,
  }
}

/** The whole content of a segment, as far as it is to be read. */
export function loadSegment(files: Files, segment: Pick<Segment, 'path' | 'bytes'>): Uint8Array {
  const fd = files.openToRead(segment.path)
  try {
    const bytes = new Uint8Array(segment.bytes)
    let at = 0
    while (at < bytes.length) {
      const n = files.read(fd, bytes.subarray(at), at)
      if (n === 0) break
      at += n
    }
    return bytes.subarray(0, at)
  } finally {
    files.close(fd)
  }
}

/** A segment by its head; one whose head is damaged has `start` 0 and its name for a sequence number. */
function openSegment(files: Files, directory: string, name: string): Segment {
  const path = join(directory, name)
  const bytes = files.size(path)
  const unread: Segment = {
    sequence: Number.parseInt(name, 16),
    path,
    first: 0,
    start: 0,
    end: 0,
    bytes,
    horizon: 0,
    lastAt: 0,
    fd: undefined,
  }
  try {
    const { head, end } = decodeSegmentHead(loadSegment(files, { path, bytes: Math.min(bytes, HEAD_BYTES_MAX) }))
    const { sequence, first, horizon } = head
    return { ...unread, sequence, first, start: end, end: first, horizon, lastAt: horizon }
  } catch (error) {
    if (!(error instanceof WireError))
      throw new FleetmeterError('FM_DIRECTORY', `Cannot read segment "${path}": ${messageOf(error)}`)
    if (error.code !== 'unsupported') return unread
    throw new FleetmeterError(
      'FM_DIRECTORY',
      `Cannot read the journal in "${directory}": ${messageOf(error)}. It was written by another version: use that one to drain it.`,
    )
  }
}

class Scan {
  readonly recovery: Recovery = { lost: 0, quarantined: 0, torn: 0 }
  /** Position that the next record should have; undefined until the first one says it. */
  expected: number | undefined
  lastAt = 0
  readonly #files: Files
  readonly #quarantine: string
  readonly #visit: (record: JournalRecord) => void
  /** What lies before it is stored, and not lost. */
  readonly #cursor: number | undefined
  readonly #watcher: RecoveryWatcher

  constructor(
    files: Files,
    quarantine: string,
    visit: (record: JournalRecord) => void,
    cursor: number | undefined,
    watcher: RecoveryWatcher,
  ) {
    this.#files = files
    this.#quarantine = quarantine
    this.#visit = visit
    this.#cursor = cursor
    this.#watcher = watcher
  }

  /** @param bound records at or behind this position are void */
  segment(segment: Segment, bound: number, isLast: boolean): void {
    const bytes = loadSegment(this.#files, segment)
    this.#watcher.segment?.(segment)
    if (segment.start > 0) this.#reach(segment.first)
    let damagedFrom: number | undefined
    let offset = segment.start
    while (offset < bytes.length) {
      const found = decodeRecord(bytes, offset)
      if (found === undefined) {
        damagedFrom ??= offset
        offset = nextSound(bytes, offset, offset === 0 ? undefined : this.expected)
        continue
      }
      if (found.record.position >= bound) {
        this.#drop(segment, bytes, damagedFrom ?? offset)
        damagedFrom = undefined
        break
      }
      if (damagedFrom !== undefined) this.#keepAside(segment, bytes, damagedFrom, offset)
      damagedFrom = undefined
      this.#record(segment, found.record, offset, found.end)
      offset = found.end
    }
    if (damagedFrom !== undefined) this.#tail(segment, bytes, damagedFrom, isLast)
    this.lastAt = Math.max(this.lastAt, segment.lastAt)
    segment.lastAt = this.lastAt
  }

  #record(segment: Segment, record: JournalRecord, offset: number, offsetEnd: number): void {
    const end = record.position + record.count
    segment.end = Math.max(segment.end, end)
    segment.lastAt = Math.max(segment.lastAt, record.at)
    // A copied segment repeats positions: they have been seen, and nothing is lost.
    const repeats = record.position < (this.expected ?? 0)
    if (!repeats) this.#reach(record.position)
    this.#watcher.record?.(segment, record, { offset, end: offsetEnd, repeats })
    if (repeats) return
    this.expected = end
    this.#visit(record)
  }

  /**
   * The journal goes on from a position, as a record or a segment's head says: what is missing up to here is lost. Before the
   * first one, that is what is missing behind the cursor.
   */
  #reach(position: number): void {
    const expected = this.expected ?? Math.min(position, this.#cursor ?? position)
    this.expected = Math.max(expected, position)
    this.#lose(expected, position, true)
  }

  #lose(from: number, to: number, proved: boolean): void {
    if (to <= from) return
    this.recovery.lost += Math.max(0, to - Math.max(from, this.#cursor ?? from))
    this.#watcher.missing?.({ from, to, proved })
  }

  /** Unreadable bytes reach to the end of a segment. */
  #tail(segment: Segment, bytes: Uint8Array, from: number, isLast: boolean): void {
    if (isLast && isCutOff(bytes, from)) {
      this.#drop(segment, bytes, from)
      return
    }
    this.#keepAside(segment, bytes, from, bytes.length)
    // At the very end no later record shows the gap: the damaged one's own count is believed where its position fits.
    const last = isLast ? peekRange(bytes, from) : undefined
    if (last === undefined || last.position !== this.expected) return
    const end = this.expected + last.count
    this.#lose(this.expected, end, false)
    this.expected = end
    segment.end = end
  }

  #drop(segment: Segment, bytes: Uint8Array, from: number): void {
    this.recovery.torn += bytes.length - from
    this.#watcher.cut?.(segment, from, bytes.length)
    segment.bytes = from
    const fd = this.#files.open(segment.path)
    try {
      this.#files.truncate(fd, from)
    } catch {
      // They stay, are void, and are looked at again at the next start.
    } finally {
      this.#files.close(fd)
    }
  }

  #keepAside(segment: Segment, bytes: Uint8Array, from: number, to: number): void {
    const name = quarantineName(segment, from)
    this.#files.write(join(this.#quarantine, name), bytes.subarray(from, to))
    this.recovery.quarantined += to - from
    this.#watcher.damaged?.(segment, from, to)
  }
}
