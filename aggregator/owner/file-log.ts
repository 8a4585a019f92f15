/**
 * The owner log in files, for one aggregator.
 *
 *     append ──▶ [ group ] ──▶ write, fsync ──▶ answers
 *                 gathers while the one before is synced
 *
 * A group is whole or did not happen: after a failed or short write the file is cut back to its last good length, and where even that
 * fails the segment is sealed and a new one begun, whose head says behind which position: what the old one has beyond is void. A file
 * whose sync failed is sealed too and never synced again: the kernel may have dropped what it could not write.
 *
 * Each start begins a segment and a generation. Where the end of the log could not be read, as many positions are skipped as records
 * could have been there: a position is never given twice, since rows in ClickHouse are known by it.
 */
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { ByteWriter } from '../../proto/wire/bytes.ts'
import type { LogFile, LogFiles } from './log-files.ts'
import { encodeRecord, encodeSegmentHead } from './log-record.ts'
import type { LogDamage, LogSegment } from './log-recovery.ts'
import { logSegmentName, recoverLog, scanSegment } from './log-recovery.ts'
import type { LoggedRecord, OwnerLog, OwnerRecord } from './owner-log.ts'
import { behindRows } from './owner-log.ts'

export interface FileLogOptions {
  readonly directory: string
  /** Where damaged bytes go. */
  readonly quarantine: string
  /** A segment is closed once it is this long. */
  readonly segmentBytes: number
  /** How often it is tried whether the disk takes writes again, ms. */
  readonly probeAfterMs: number
  readonly log: Logger
}

interface Waiting {
  readonly records: readonly OwnerRecord[]
  readonly resolve: (first: number) => void
  readonly reject: (error: Error) => void
}

const READ_RECORDS = 1000
const SCRATCH_BYTES_KEPT = 4 * 1024 * 1024
const PROBE_NAME = 'probe'
const PROBE_BYTES_MAX = 4 * 1024 * 1024

export class FileLog implements OwnerLog {
  readonly #files: LogFiles
  readonly #options: FileLogOptions
  #segments: LogSegment[] = []
  #active: { readonly segment: LogSegment; readonly file: LogFile } | undefined
  #sequence = 0
  #generation = 0
  #begin = 0
  #end = 0
  /** Position of the next record. */
  #next = 1
  #queue: Waiting[] = []
  #draining: Promise<void> | undefined
  #closed = true
  #scratch = new ByteWriter(64 * 1024)
  #problem: string | undefined
  #probe: NodeJS.Timeout | undefined
  #damage: LogDamage = { lost: 0, damagedBytes: 0, tornBytes: 0 }
  #counts = { groups: 0, records: 0, bytes: 0, failures: 0 }

  constructor(files: LogFiles, options: FileLogOptions) {
    this.#files = files
    this.#options = options
  }

  get generation(): number {
    return this.#generation
  }

  get end(): number {
    return this.#end
  }

  get begin(): number {
    return this.#begin
  }

  get problem(): string | undefined {
    return this.#problem
  }

  /** What the last start found missing. */
  get damage(): Readonly<LogDamage> {
    return this.#damage
  }

  /** Groups that were written and synced, with their records and bytes; groups that were not. */
  get counts(): Readonly<{ groups: number; records: number; bytes: number; failures: number }> {
    return this.#counts
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  async open(floor: number, needed: number, inTables = 0): Promise<void> {
    const { directory, quarantine, log } = this.#options
    const recovered = await recoverLog(this.#files, directory, quarantine, needed)
    const { segments, sequence, generation, begin, end, damage } = recovered
    if (segments.length > 0 && end < floor) damage.lost += floor - Math.max(end, needed)
    this.#segments = segments
    this.#sequence = sequence
    this.#generation = generation + 1
    this.#end = Math.max(end, floor)
    const behind = behindRows(this.#end, inTables, log)
    this.#next = behind + 1 + damage.tornBytes
    this.#begin = begin ?? behind
    this.#damage = damage
    this.#closed = false
    if (damage.lost + damage.damagedBytes > 0)
      log.error(
        { directory, quarantine, ...damage },
        'the owner log is damaged: records that were acknowledged are missing',
      )
    else if (damage.tornBytes > 0)
      log.warn({ quarantine, bytes: damage.tornBytes }, 'the owner log ended in a write that was cut off')
    try {
      await this.#writable(0)
    } catch (error) {
      this.#failed(ownerLogError(`Cannot write the owner log in "${directory}"`, error), 0)
    }
  }

  append(records: readonly OwnerRecord[]): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new FleetmeterError('FM_OWNER_LOG', 'The owner log is closed'))
        return
      }
      this.#queue.push({ records, resolve, reject })
      this.#draining ??= this.#drain()
    })
  }

  async *read(after: number): AsyncIterable<readonly LoggedRecord[]> {
    for (const segment of this.#segments) {
      if (segment.last <= after) continue
      const bytes = (await this.#files.read(segment.path)).subarray(0, segment.bytes)
      let piece: LoggedRecord[] = []
      for (const found of scanSegment(bytes, segment)) {
        if (!('record' in found) || found.record.n <= after) continue
        piece.push(found.record)
        if (piece.length < READ_RECORDS) continue
        yield piece
        piece = []
        await nextTurn()
      }
      if (piece.length > 0) yield piece
    }
  }

  async release(upTo: number): Promise<void> {
    for (;;) {
      const segment = this.#segments[0]
      // The last one stays, also where it is sealed: it says which generation this is.
      if (segment === undefined || this.#segments.length === 1 || segment.last > upTo) return
      try {
        await this.#files.remove(segment.path)
      } catch (error) {
        throw ownerLogError(`Cannot remove segment "${segment.path}" of the owner log, which is needed no more`, error)
      }
      this.#segments.shift()
    }
  }

  /** The directory is locked: nobody else can, as long as this process runs. */
  async confirm(): Promise<void> {}

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#probe)
    await this.#draining
    await this.#active?.file.close()
    this.#active = undefined
  }

  async #drain(): Promise<void> {
    await nextTurn() // what comes in the same turn is one group
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0)
      try {
        let first = await this.#write(group)
        for (const { records, resolve } of group) {
          resolve(first)
          first += records.length
        }
        this.#works()
      } catch (error) {
        const refusal = ownerLogError(`Cannot append to the owner log in "${this.#options.directory}"`, error)
        this.#failed(refusal, this.#scratch.pos)
        for (const { reject } of group) reject(refusal)
      }
    }
    this.#draining = undefined
  }

  /** @returns position of the first record */
  async #write(group: readonly Waiting[]): Promise<number> {
    if (this.#scratch.buf.length > SCRATCH_BYTES_KEPT) this.#scratch = new ByteWriter(64 * 1024)
    const out = this.#scratch
    out.pos = 0
    const first = this.#next
    let n = first
    for (const { records } of group) for (const record of records) encodeRecord(n++, record, out)
    const { segment, file } = await this.#writable(out.pos)
    try {
      for (let written = 0; written < out.pos; ) written += await file.append(out.buf.subarray(written, out.pos))
    } catch (error) {
      await this.#cutBack(segment, file)
      throw error
    }
    try {
      await file.sync()
    } catch (error) {
      await this.#cutBack(segment, file)
      if (this.#active?.segment === segment) await this.#seal()
      throw error
    }
    segment.bytes += out.pos
    segment.last = n - 1
    this.#end = n - 1
    this.#next = n
    this.#counts.groups++
    this.#counts.records += n - first
    this.#counts.bytes += out.pos
    return first
  }

  async #cutBack(segment: LogSegment, file: LogFile): Promise<void> {
    try {
      await file.truncate(segment.bytes)
    } catch {
      // What stays there is void as soon as the next segment is begun.
      await this.#seal()
      await this.#writable(0).catch(() => {}) // else at the next append, which says why
    }
  }

  async #seal(): Promise<void> {
    const active = this.#active
    this.#active = undefined
    await active?.file.close().catch(() => {}) // nothing is written to it any more
  }

  /** The active segment, or a new one where it is missing, sealed or long enough. */
  async #writable(bytes: number): Promise<{ readonly segment: LogSegment; readonly file: LogFile }> {
    const active = this.#active
    if (active !== undefined && active.segment.bytes + bytes <= this.#options.segmentBytes) return active
    if (active !== undefined && active.segment.bytes === active.segment.start) return active // one group that is longer
    await this.#seal()
    const sequence = this.#sequence + 1
    const path = join(this.#options.directory, logSegmentName(sequence))
    const [after, first] = [this.#end, this.#next]
    const head = encodeSegmentHead({ sequence, generation: this.#generation, after, first })
    const file = await this.#files.create(path)
    try {
      for (let written = 0; written < head.length; ) written += await file.append(head.subarray(written))
      await file.sync()
      await this.#files.syncDirectory(this.#options.directory)
    } catch (error) {
      await file.close().catch(() => {}) // it is made anew the next time
      throw error
    }
    for (const segment of this.#segments) segment.bound = Math.min(segment.bound, after)
    const { length } = head
    const segment = { sequence, path, start: length, bytes: length, last: first - 1, bound: Number.POSITIVE_INFINITY }
    this.#sequence = sequence
    this.#segments.push(segment)
    this.#active = { segment, file }
    return this.#active
  }

  #works(): void {
    if (this.#problem === undefined) return
    this.#problem = undefined
    clearTimeout(this.#probe)
    this.#options.log.info('the owner log takes records again')
  }

  #failed(error: FleetmeterError, bytes: number): void {
    this.#counts.failures++
    if (this.#problem === undefined)
      this.#options.log.error({ error: messageOf(error) }, 'the owner log takes no records')
    this.#problem = messageOf(error)
    this.#probeLater(Math.min(Math.max(bytes, 1), PROBE_BYTES_MAX))
  }

  /** Also when nobody sends: a balancer that sees us unready sends nothing that could tell that it is over. */
  #probeLater(bytes: number): void {
    clearTimeout(this.#probe)
    this.#probe = setTimeout(() => void this.#tryDisk(bytes), this.#options.probeAfterMs)
    this.#probe.unref()
  }

  async #tryDisk(bytes: number): Promise<void> {
    const { directory } = this.#options
    try {
      await this.#files.replace(directory, PROBE_NAME, new Uint8Array(bytes))
      this.#works()
    } catch (error) {
      this.#problem = messageOf(ownerLogError(`Cannot write to the owner log in "${directory}"`, error))
      if (!this.#closed) this.#probeLater(bytes)
    }
    // Left over, it is written over.
    for (const name of [PROBE_NAME, `${PROBE_NAME}.new`])
      await this.#files.remove(join(directory, name)).catch(() => {})
  }
}

function ownerLogError(what: string, error: unknown): FleetmeterError {
  if (error instanceof FleetmeterError) return error
  return new FleetmeterError('FM_OWNER_LOG', `${what}: ${messageOf(error)}${remedyOf(error)}`)
}
