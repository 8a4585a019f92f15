/**
 * The journal of one shard: what was accepted, in order, on disk before anybody is told so. It is also the spool: what an
 * aggregator has not stored is read from here again.
 *
 *     append ──▶ [ segment | segment | active ] ──▶ read(from)
 *                  removed once stored                positions are found by scanning; no index, no second truth
 *
 * A write is whole or did not happen: after a failed or short one the file is cut back to its last good length, and where
 * even that fails the segment is sealed and a new one begun. A file whose sync failed is sealed too and never synced again:
 * the kernel may have dropped what it could not write.
 *
 * Damage found at the start costs the damaged records only, see recovery.ts.
 */
import { join } from 'node:path'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import { ByteWriter } from '../../proto/wire/bytes.ts'
import type { Files } from './files.ts'
import { cutShort } from './files.ts'
import type { JournalRecord } from './record.ts'
import { decodeRecord, encodeRecordHead, encodeSegmentHead, RECORD_HEAD_BYTES, recordLength } from './record.ts'
import type { Recovered, Recovery, RecoveryWatcher, Segment } from './recovery.ts'
import { loadSegment, recoverJournal, segmentName } from './recovery.ts'
import { nextSound } from './resync.ts'

/** Beside the segments while it is tried whether the disk takes writes; left over, it is written over. */
const PROBE_NAME = 'probe'
const PROBE_BYTES_MAX = 4 * 1024 * 1024

export interface JournalOptions {
  readonly directory: string
  /** Where damaged bytes go. */
  readonly quarantine: string
  /** Said in each segment's head. */
  readonly writer: string
  /** A segment is closed once it is this long; bytes. */
  readonly segmentBytes: number
  /** Most bytes of all segments together. */
  readonly bytesMax: number
}

/** Bodies up to this are copied. */
const COPIED_BYTES_MAX = 16 * 1024
const SCRATCH_BYTES_KEPT = 1024 * 1024

export class Journal {
  readonly #files: Files
  readonly #options: JournalOptions
  readonly #segments: Segment[]
  readonly #recovery: Recovery
  /** The segment that is written to; undefined until the next append begins one. */
  #active: Segment | undefined
  #sequence: number
  #end: number
  #lastAt: number
  #unsynced = false
  #scratch = new ByteWriter()
  /** Length of the write that failed last, bytes; 0 after one that did not. */
  #refused = 0
  #reader: { segment: Segment; offset: number; position: number } | undefined

  private constructor(files: Files, options: JournalOptions, recovered: Recovered, lastAt: number) {
    this.#files = files
    this.#options = options
    this.#segments = recovered.segments
    this.#recovery = recovered.recovery
    this.#sequence = recovered.sequence
    this.#end = recovered.end
    this.#lastAt = Math.max(recovered.lastAt, lastAt)
  }

  /**
   * Opens or makes the journal and looks at every record.
   * @param known what is known from elsewhere: the position up to which everything is stored, and the arrival of the newest record
   *   ever written, µs, which may be gone
   * @param visit gets every record that is kept, once and in order
   */
  static open(
    files: Files,
    options: JournalOptions,
    known: { readonly position: number; readonly lastAt: number } | undefined,
    visit: (record: JournalRecord) => void,
    watcher: RecoveryWatcher = {},
  ): Journal {
    const { directory, quarantine } = options
    const recovered = recoverJournal(files, directory, quarantine, known?.position, visit, watcher)
    return new Journal(files, options, recovered, known?.lastAt ?? 0)
  }

  /** Samples accepted since the journal was made: the position of the newest. */
  get end(): number {
    return this.#end
  }

  /** Arrival of the newest record ever written, µs; a new one must be later. */
  get lastAt(): number {
    return this.#lastAt
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  get segments(): number {
    return this.#segments.length
  }

  get recovery(): Readonly<Recovery> {
    return this.#recovery
  }

  /**
   * Appends records in one write. Their positions follow the end without a gap; all have the same or a later arrival.
   * @throws FleetmeterError `FM_JOURNAL_FULL` or `FM_JOURNAL_IO`; nothing is appended then
   */
  append(records: readonly JournalRecord[]): void {
    const parts = this.#encode(records)
    const bytes = parts.reduce((sum, { length }) => sum + length, 0)
    this.#refused = bytes
    this.#checkBound(bytes)
    try {
      const segment = this.#writable(bytes)
      this.#write(segment, parts, bytes)
      const last = records.at(-1)!
      segment.end = last.position + last.count
      segment.lastAt = last.at
      this.#end = segment.end
      this.#lastAt = last.at
      this.#unsynced = true
      this.#refused = 0
    } catch (error) {
      if (error instanceof FleetmeterError) throw error
      throw ioError(`Cannot append to the journal in "${this.#options.directory}"`, error)
    }
  }

  /**
   * Tries whether the disk would take what it refused last, on a file of its own: what is kept is not touched. Also when nobody
   * sends: a balancer that sees us unready sends nothing that could tell.
   * @throws FleetmeterError as {@link append} and {@link sync} do
   */
  probe(): void {
    const bytes = Math.min(this.#refused, PROBE_BYTES_MAX)
    this.#checkBound(bytes)
    const path = join(this.#options.directory, PROBE_NAME)
    try {
      this.#files.overwrite(path, 0, new Uint8Array(Math.max(1, bytes)))
    } catch (error) {
      this.#removeLeft(path)
      throw ioError(`Cannot write to the journal in "${this.#options.directory}"`, error)
    }
    this.#removeLeft(path)
  }

  /**
   * Makes what was appended survive a power cut.
   * @throws FleetmeterError `FM_JOURNAL_IO`; the segment is sealed and what it holds may not survive a power cut
   */
  sync(): void {
    const segment = this.#active
    if (!this.#unsynced || segment?.fd === undefined) return
    this.#unsynced = false
    try {
      this.#files.sync(segment.fd)
    } catch (error) {
      this.#seal()
      throw ioError(`Cannot sync segment "${segment.path}"`, error)
    }
  }

  /**
   * Records behind a position, in order, until about `maxBytes` of bodies are read.
   * @param from position of a record's start; records before it are passed over
   * @returns an empty list at the end
   * @throws FleetmeterError `FM_JOURNAL_IO` when a file cannot be read
   */
  read(from: number, maxBytes: number): JournalRecord[] {
    const records: JournalRecord[] = []
    let bytes = 0
    if (this.#reader === undefined || this.#reader.position !== from) this.#seek(from)
    while (this.#reader !== undefined && bytes < maxBytes) {
      const { segment, offset } = this.#reader
      if (offset >= segment.bytes) {
        const next = this.#segments[this.#segments.indexOf(segment) + 1]
        if (next === undefined) break
        if (segment !== this.#active) this.#closeFile(segment)
        this.#reader = { segment: next, offset: next.start, position: this.#reader.position }
        continue
      }
      const { record, end } = this.#readOne(segment, offset)
      this.#reader.offset = end
      if (record === undefined || record.position < this.#reader.position) continue
      this.#reader.position = record.position + record.count
      records.push(record)
      bytes += record.body.length
    }
    return records
  }

  /** Arrival of the newest record that is gone, µs; 0 when nothing was ever removed. */
  get horizon(): number {
    return this.#segments[0]?.horizon ?? this.#lastAt
  }

  /**
   * Removes segments whose items all lie before `position` and arrived before `keepFrom` (µs), but never the one that is
   * written to. @returns whether any was removed
   * @throws FleetmeterError `FM_JOURNAL_IO` when a file cannot be removed; it is tried again the next time
   */
  release(position: number, keepFrom: number = Number.POSITIVE_INFINITY): boolean {
    let removed = false
    for (;;) {
      const segment = this.#segments[0]
      if (segment === undefined || segment === this.#active) return removed
      if (segment.end > position || segment.lastAt >= keepFrom) return removed
      this.#closeFile(segment)
      try {
        this.#files.remove(segment.path)
      } catch (error) {
        throw ioError(`Cannot remove segment "${segment.path}", which is stored`, error)
      }
      this.#segments.shift()
      removed = true
      if (this.#reader?.segment === segment) this.#reader = undefined
    }
  }

  close(): void {
    for (const segment of this.#segments) this.#closeFile(segment)
    this.#active = undefined
  }

  /** The records as few pieces: what is small is copied next to its head, since each piece costs the write something. */
  #encode(records: readonly JournalRecord[]): Uint8Array[] {
    if (this.#scratch.buf.length > SCRATCH_BYTES_KEPT) this.#scratch = new ByteWriter()
    const out = this.#scratch
    out.pos = 0
    const parts: Uint8Array[] = []
    let from = 0
    for (const record of records) {
      encodeRecordHead(record, out)
      if (record.body.length <= COPIED_BYTES_MAX) out.bytes(record.body)
      else {
        parts.push(out.buf.subarray(from, out.pos), record.body)
        from = out.pos
      }
    }
    if (out.pos > from) parts.push(out.buf.subarray(from, out.pos))
    return parts
  }

  /** The active segment, or a new one where it is missing, sealed or long enough. */
  #writable(bytes: number): Segment {
    const active = this.#active
    if (active !== undefined && (active.bytes + bytes <= this.#options.segmentBytes || active.bytes === active.start))
      return active
    if (active !== undefined) {
      this.sync()
      this.#seal()
    }
    const sequence = this.#sequence + 1
    const path = join(this.#options.directory, segmentName(sequence))
    const head = encodeSegmentHead({ sequence, first: this.#end, horizon: this.#lastAt, writer: this.#options.writer })
    const fd = this.#files.open(path)
    const segment: Segment = {
      sequence,
      path,
      first: this.#end,
      start: head.length,
      end: this.#end,
      bytes: 0,
      horizon: this.#lastAt,
      lastAt: this.#lastAt,
      fd,
    }
    try {
      // Left of an attempt that failed, and could not be removed.
      if (this.#files.size(path) > 0) this.#files.truncate(fd, 0)
      this.#write(segment, [head], head.length)
      this.#files.syncDirectory(this.#options.directory)
    } catch (error) {
      this.#files.close(fd)
      this.#removeLeft(path)
      throw error
    }
    this.#sequence = sequence
    this.#segments.push(segment)
    this.#active = segment
    return segment
  }

  #write(segment: Segment, parts: readonly Uint8Array[], bytes: number): void {
    const fd = segment.fd!
    try {
      const written = this.#files.append(fd, parts)
      if (written !== bytes) throw cutShort(written, bytes)
      segment.bytes += bytes
    } catch (error) {
      try {
        this.#files.truncate(fd, segment.bytes)
      } catch {
        if (segment === this.#active) this.#seal()
      }
      throw error
    }
  }

  #checkBound(bytes: number): void {
    const { bytesMax, directory } = this.#options
    if (this.bytes + bytes <= bytesMax) return
    throw new FleetmeterError(
      'FM_JOURNAL_FULL',
      `The journal holds ${this.bytes} bytes of at most ${bytesMax} in "${directory}": the aggregator does not take what is there; its /readyz says why, and collector.journal_bytes_max allows more`,
    )
  }

  /** A file that holds nothing. Where it cannot be removed, the next one of its name takes its place. */
  #removeLeft(path: string): void {
    try {
      this.#files.remove(path)
    } catch {
      // What kept us from writing it may keep us from this too, and that was told.
    }
  }

  /** Ends the active segment: the next append begins another. */
  #seal(): void {
    if (this.#active !== undefined) this.#closeFile(this.#active)
    this.#active = undefined
    this.#unsynced = false
  }

  #closeFile(segment: Segment): void {
    if (segment.fd === undefined) return
    this.#files.close(segment.fd)
    segment.fd = undefined
  }

  #seek(from: number): void {
    const segment = this.#segments.find((s) => s.end > from) ?? this.#segments.at(-1)
    this.#reader = segment === undefined ? undefined : { segment, offset: segment.start, position: from }
  }

  /** Reads what stands at an offset: a record, or nothing and the place where to look next. */
  #readOne(segment: Segment, offset: number): { record: JournalRecord | undefined; end: number } {
    try {
      segment.fd ??= this.#files.openToRead(segment.path)
      const head = new Uint8Array(RECORD_HEAD_BYTES)
      this.#files.read(segment.fd, head, offset)
      const length = recordLength(head, 0)
      if (length !== undefined && offset + RECORD_HEAD_BYTES + length <= segment.bytes) {
        const bytes = new Uint8Array(RECORD_HEAD_BYTES + length)
        this.#files.read(segment.fd, bytes, offset)
        const found = decodeRecord(bytes, 0)
        if (found !== undefined) return { record: found.record, end: offset + found.end }
      }
      return { record: undefined, end: this.#nextRecord(segment, offset) }
    } catch (error) {
      throw ioError(`Cannot read segment "${segment.path}"`, error)
    }
  }

  /** Offset of the next sound record behind damage, or the segment's end. */
  #nextRecord(segment: Segment, offset: number): number {
    const bytes = loadSegment(this.#files, segment)
    const next = nextSound(bytes, offset, offset === 0 ? undefined : this.#reader?.position)
    return next < bytes.length ? next : segment.bytes // not where the file ends: that may be earlier, if somebody has cut it
  }
}

function ioError(action: string, error: unknown): FleetmeterError {
  const code = (error as NodeJS.ErrnoException).code
  return new FleetmeterError(
    code === 'ENOSPC' || code === 'EDQUOT' ? 'FM_JOURNAL_FULL' : 'FM_JOURNAL_IO',
    `${action}: ${messageOf(error)}${remedyOf(error)}`,
    { cause: error },
  )
}
