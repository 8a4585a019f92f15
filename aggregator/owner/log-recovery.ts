/**
 * Looks at the file log's directory at the start: which records are sound, which are missing, what is left of a write that did not end.
 *
 *     sound record               kept
 *     record behind the position
 *     that a later segment
 *     was begun behind           left of a failed write that could not be cut away: void, nobody was told
 *     unreadable, at the end     torn: copied to quarantine/, and as many positions are skipped as records could have been in it
 *     unreadable, elsewhere      damage: copied to quarantine/; the gap in positions says how many records are lost
 */
import { join } from 'node:path'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { LogFiles } from './log-files.ts'
import { decodeRecord, decodeSegmentHead, nextSound, SEGMENT_HEAD_BYTES_MAX } from './log-record.ts'
import type { LoggedRecord } from './owner-log.ts'

export interface LogSegment {
  readonly sequence: number
  readonly path: string
  /** Where its first record begins, bytes. */
  readonly start: number
  /** What of the file is to be read, bytes. */
  bytes: number
  /** Position of its newest record, or of the newest before it. */
  last: number
  /** Records behind this position are void. */
  bound: number
}

export interface LogDamage {
  /** Records that are missing, of those behind what is needed no more. */
  lost: number
  /** Unreadable bytes in the midst of the log. */
  damagedBytes: number
  /** Unreadable bytes at its end. */
  tornBytes: number
}

export interface RecoveredLog {
  readonly segments: LogSegment[]
  readonly sequence: number
  readonly generation: number
  /** Position before the first record; undefined: there is no segment. */
  readonly begin: number | undefined
  /** Position of the newest sound record. */
  readonly end: number
  readonly damage: LogDamage
}

/** What a scan finds, in order. */
type Found =
  | { readonly record: LoggedRecord }
  | { readonly damagedFrom: number; readonly to: number; readonly atEnd: boolean }

interface Opened extends LogSegment {
  readonly head: { readonly generation: number; readonly after: number; readonly first: number } | undefined
}

const SEGMENT_NAME = /^[0-9a-f]{8}\.log$/

export function logSegmentName(sequence: number): string {
  return `${sequence.toString(16).padStart(8, '0')}.log`
}

/**
 * @param needed records up to here are needed no more: whether they are there does not matter
 * @throws FleetmeterError `FM_OWNER_LOG` when a segment is of another version, or cannot be read
 */
export async function recoverLog(
  files: LogFiles,
  directory: string,
  quarantine: string,
  needed: number,
): Promise<RecoveredLog> {
  await files.makeDirectory(directory)
  await files.makeDirectory(quarantine)
  const names = (await files.list(directory)).filter((name) => SEGMENT_NAME.test(name)).sort()
  const segments: Opened[] = []
  for (const name of names) segments.push(await openSegment(files, directory, name))
  let begin: number | undefined
  const damage: LogDamage = { lost: 0, damagedBytes: 0, tornBytes: 0 }
  let end: number | undefined
  /** Up to the next position that is there, all behind the newest one are missing, but those that nobody needs. */
  const reach = (n: number): void => {
    if (end !== undefined || needed > 0) damage.lost += Math.max(0, n - 1 - Math.max(end ?? 0, needed))
    end = n
  }
  for (const [i, segment] of segments.entries()) {
    const later = segments.slice(i + 1).flatMap(({ head }) => (head === undefined ? [] : [head.after]))
    segment.bound = Math.min(Number.POSITIVE_INFINITY, ...later)
    const { head } = segment
    if (head !== undefined) {
      if (head.after > (end ?? 0)) reach(head.after + 1)
      end = head.first - 1
      begin ??= end
    }
    const bytes = (await files.read(segment.path)).subarray(0, segment.bytes)
    for (const found of scanSegment(bytes, segment)) {
      if ('record' in found) {
        begin ??= found.record.n - 1
        reach(found.record.n)
        continue
      }
      const { damagedFrom, to, atEnd } = found
      // Behind what a later segment was begun behind, nothing was kept; at the end of all, nobody can tell.
      const torn = atEnd && (i === segments.length - 1 || (end ?? 0) >= segment.bound)
      if (!torn) damage.damagedBytes += to - damagedFrom
      else if (i === segments.length - 1) damage.tornBytes += to - damagedFrom
      const name = `${logSegmentName(segment.sequence)}-${damagedFrom}.bin`
      if (!torn || i === segments.length - 1) await files.replace(quarantine, name, bytes.subarray(damagedFrom, to))
    }
    segment.last = Math.max(end ?? 0, segments[i - 1]?.last ?? 0)
  }
  return {
    segments,
    sequence: Math.max(0, ...names.map((name) => Number.parseInt(name, 16))),
    generation: Math.max(0, ...segments.map(({ head }) => head?.generation ?? 0)),
    begin,
    end: end ?? 0,
    damage,
  }
}

/** Every sound record of a segment that counts, and what is none. */
export function* scanSegment(
  bytes: Uint8Array,
  { start, bound }: Pick<LogSegment, 'start' | 'bound'>,
): Iterable<Found> {
  for (let offset = start; offset < bytes.length; ) {
    const found = decodeRecord(bytes, offset)
    if (found === undefined) {
      const to = nextSound(bytes, offset + 1)
      yield { damagedFrom: offset, to, atEnd: to === bytes.length }
      offset = to
      continue
    }
    if (found.record.n > bound) return
    yield { record: found.record }
    offset = found.end
  }
}

/** A segment whose head is damaged is read from its first byte on: its records say their positions themselves. */
async function openSegment(files: LogFiles, directory: string, name: string): Promise<Opened> {
  const path = join(directory, name)
  let content: Uint8Array
  try {
    content = await files.read(path)
  } catch (error) {
    throw new FleetmeterError('FM_OWNER_LOG', `Cannot read segment "${path}" of the owner log`, { cause: error })
  }
  const sequence = Number.parseInt(name, 16)
  const unread = { sequence, path, start: 0, bytes: content.length, last: 0, bound: Number.POSITIVE_INFINITY }
  try {
    const { head, end } = decodeSegmentHead(content.subarray(0, SEGMENT_HEAD_BYTES_MAX))
    return { ...unread, start: end, head }
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    if (error.code !== 'unsupported') return { ...unread, head: undefined }
    throw new FleetmeterError(
      'FM_OWNER_LOG',
      `Cannot read the owner log in "${directory}": ${messageOf(error)}. It was written by another version of this program: start that one`,
    )
  }
}
