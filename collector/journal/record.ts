/**
 * Bytes of the journal. Little-endian, version 3; version 2 had only the first kind of record.
 *
 *     segment = head record*
 *     head    = "FMJ" version:u8 length:u32 crc32c(version, payload):u32 payload(sequence:varint first:varint horizon:varint writer:string)
 *     record  = 0xF1 0xE7 length:u32 crc32c(payload):u32 payload
 *             | 0xF1 0xE8 length:u32 crc32(payload):u32 payload      written where the runtime computes that, which costs a quarter
 *     payload = position:varint count:varint kinds at:varint door:u8 tenant:string verdict:block body
 *     kinds   = flags:u8, then with flag 1 how many of each kind but samples, a varint each; with flag 2 dropped:block,
 *               with flag 4 overflow:block, as the verdict is
 *
 * A record holds `count` accepted items, which take the positions (position, position + count]: a gap between two records
 * says exactly how many items are missing. Its two first bytes let a reader find the next record behind damage.
 */

import { EXTRA_KINDS } from '../../proto/wire/batch-extras.ts'
import { ByteReader, ByteWriter } from '../../proto/wire/bytes.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import { crc32, crc32IsNative } from './crc32.ts'

export const SEGMENT_VERSION = 3
const SEGMENT_VERSION_OLDEST = 2
export const RECORD_HEAD_BYTES = 10
const SEGMENT_MAGIC: readonly number[] = [0x46, 0x4d, 0x4a]
const RECORD_MAGIC_0 = 0xf1
const RECORD_CRC32C = 0xe7
const RECORD_CRC32 = 0xe8
const RECORD_WRITTEN = crc32IsNative ? RECORD_CRC32 : RECORD_CRC32C
const SEGMENT_HEAD_BYTES = 12

const EXTRAS = 1
const DROPPED = 2
const OVERFLOW = 4
const NOTHING = new Uint8Array(0)

/** Longest record that a reader believes; a body is bounded far below. */
export const RECORD_BYTES_MAX: number = 256 * 1024 * 1024
/** Most items that a reader believes a damaged record to hold; a body's are bounded far below. */
const RECORD_ITEMS_MAX = 2 ** 28

/** Through which door a body came: how it is to be read. Numbers are on disk: new ones at the end. */
export const DOORS = [
  'remote_write',
  'metrics_batch',
  'host',
  'remote_write_2',
  'rules',
  'events',
  'cloud_events',
  'kafka_rest',
] as const
export type Door = (typeof DOORS)[number]

/** Those of the events lane: the body of a record is lines of JSON, one for each item, see events-core.ts. */
export const EVENT_DOORS: readonly ['events', 'cloud_events', 'kafka_rest'] = ['events', 'cloud_events', 'kafka_rest']
export type EventDoor = (typeof EVENT_DOORS)[number]
export function isEventDoor(door: Door): door is EventDoor {
  return (EVENT_DOORS as readonly Door[]).includes(door)
}
/** All others. */
export const SAMPLE_DOORS: readonly Door[] = DOORS.filter((door) => !isEventDoor(door))

/** A body that was taken, with the decision about each of its items. */
export interface JournalRecord {
  /** Accepted items before this record. */
  readonly position: number
  /** Accepted items in it, at least one. */
  readonly count: number
  /** The same by kind, in the order of `ITEM_KINDS`. */
  readonly kinds: readonly number[]
  /** Arrival, µs since the epoch, with the writer in the last three digits. */
  readonly at: number
  readonly door: Door
  readonly tenant: string
  /** Which items of the body (samples first, then the others) are not among the accepted ones; empty: all are. See verdict.ts. */
  readonly verdict: Uint8Array
  /** Which samples went into windows of rules instead of being stored: 'taken' by this one; empty: none. */
  readonly dropped: Uint8Array
  /** The same, of all samples whose series are beyond the cardinality bounds, or refused: a replay must not learn them. */
  readonly overflow: Uint8Array
  /** As received. */
  readonly body: Uint8Array
}

export interface SegmentHead {
  /** Order of writing, from 1: the name of the file at first. */
  readonly sequence: number
  /** Position of the first record. */
  readonly first: number
  /** Arrival of the newest sample before this segment, µs; 0 when there is none. */
  readonly horizon: number
  /** Who wrote it, for a person who finds the file. */
  readonly writer: string
}

export function encodeSegmentHead(head: SegmentHead): Uint8Array {
  const payload = new ByteWriter(64)
  payload.varint(head.sequence)
  payload.varint(head.first)
  payload.varint(head.horizon)
  payload.string(head.writer)
  const out = new ByteWriter(96)
  for (const byte of SEGMENT_MAGIC) out.u8(byte)
  out.u8(SEGMENT_VERSION)
  out.u32(payload.pos)
  out.u32(headChecksum(SEGMENT_VERSION, payload.view()))
  out.bytes(payload.view())
  return out.take()
}

/** @throws WireError when the bytes do not begin with a sound head of a known version */
export function decodeSegmentHead(bytes: Uint8Array): { head: SegmentHead; end: number } {
  const reader = new ByteReader(bytes)
  if (reader.bytes(3).some((byte, i) => byte !== SEGMENT_MAGIC[i]))
    throw new WireError('malformed', 'the file does not begin with "FMJ"')
  const version = reader.u8()
  const length = reader.u32()
  const checksum = reader.u32()
  const payload = reader.bytes(length)
  if (headChecksum(version, payload) !== checksum)
    throw new WireError('checksum', 'the segment head does not match its checksum')
  if (version < SEGMENT_VERSION_OLDEST || version > SEGMENT_VERSION)
    throw new WireError(
      'unsupported',
      `segment version ${version} is not known, ${SEGMENT_VERSION_OLDEST} to ${SEGMENT_VERSION} are`,
    )
  const fields = new ByteReader(payload)
  return {
    head: { sequence: fields.varint(), first: fields.varint(), horizon: fields.varint(), writer: fields.string() },
    end: SEGMENT_HEAD_BYTES + length,
  }
}

/** Covers the version: a flipped bit in it must not pass for a newer format. */
function headChecksum(version: number, payload: Uint8Array): number {
  return crc32c(payload, 0, payload.length, crc32c(Uint8Array.of(version)))
}

/**
 * Writes the bytes that stand in front of a record's body; the body follows them as it is.
 * @returns them; valid until more is written
 */
export function encodeRecordHead(record: JournalRecord, out: ByteWriter = new ByteWriter()): Uint8Array {
  const start = out.pos
  out.u8(RECORD_MAGIC_0)
  out.u8(RECORD_WRITTEN)
  out.u32(0)
  out.u32(0)
  out.varint(record.position)
  out.varint(record.count)
  const extras = record.kinds[0] !== record.count
  const { dropped, overflow } = record
  out.u8((extras ? EXTRAS : 0) | (dropped.length > 0 ? DROPPED : 0) | (overflow.length > 0 ? OVERFLOW : 0))
  if (extras) for (let i = 1; i <= EXTRA_KINDS.length; i++) out.varint(record.kinds[i]!)
  if (dropped.length > 0) out.block(dropped)
  if (overflow.length > 0) out.block(overflow)
  out.varint(record.at)
  out.u8(DOORS.indexOf(record.door))
  out.string(record.tenant)
  out.block(record.verdict)
  const payload = start + RECORD_HEAD_BYTES
  out.patchU32(start + 2, out.pos - payload + record.body.length)
  const checksum = checksumOf(RECORD_WRITTEN)
  const head = checksum(out.buf, payload, out.pos)
  out.patchU32(start + 6, checksum(record.body, 0, record.body.length, head))
  return out.buf.subarray(start, out.pos)
}

/** Whether the first bytes of a record stand there. */
export function beginsRecord(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === RECORD_MAGIC_0 && (bytes[at + 1] === RECORD_CRC32 || bytes[at + 1] === RECORD_CRC32C)
}

/** Length of the payload that follows at `at`, or undefined when no record begins there. */
export function recordLength(bytes: Uint8Array, at: number): number | undefined {
  if (!beginsRecord(bytes, at) || at + RECORD_HEAD_BYTES > bytes.length) return undefined
  const length = new ByteReader(bytes, at + 2).u32()
  return length <= RECORD_BYTES_MAX ? length : undefined
}

/** The record at `at`, or undefined when its bytes are cut off or changed. Body and verdict are views into `bytes`. */
export function decodeRecord(bytes: Uint8Array, at: number): { record: JournalRecord; end: number } | undefined {
  const length = recordLength(bytes, at)
  if (length === undefined) return undefined
  const start = at + RECORD_HEAD_BYTES
  const end = start + length
  if (end > bytes.length || !matches(bytes, at, end)) return undefined
  try {
    const r = new ByteReader(bytes, start, end)
    const position = r.varint()
    const count = r.varint()
    const flags = r.u8()
    const extras = EXTRA_KINDS.map(() => ((flags & EXTRAS) === 0 ? 0 : r.varint()))
    const kinds = [count - extras.reduce((sum, n) => sum + n, 0), ...extras]
    const dropped = (flags & DROPPED) === 0 ? NOTHING : r.block()
    const overflow = (flags & OVERFLOW) === 0 ? NOTHING : r.block()
    const arrival = r.varint()
    const door = DOORS[r.u8()]
    if (door === undefined) return undefined
    const tenant = r.string()
    const verdict = r.block()
    const body = r.bytes(r.left)
    return { record: { position, count, kinds, at: arrival, door, tenant, verdict, dropped, overflow, body }, end }
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

/** Of records whose second byte is this. */
function checksumOf(mark: number | undefined): typeof crc32 {
  return mark === RECORD_CRC32 ? crc32 : crc32c
}

/** Whether the payload of the record at `at`, which ends at `end`, is that of its checksum. The head must be there. */
export function matches(bytes: Uint8Array, at: number, end: number): boolean {
  return checksumOf(bytes[at + 1])(bytes, at + RECORD_HEAD_BYTES, end) === recordChecksum(bytes, at)
}

/** The checksum that a record states, of either kind. The head must be there. */
export function recordChecksum(bytes: Uint8Array, at: number): number {
  return new ByteReader(bytes, at + 6).u32()
}

/**
 * Position and count as a damaged record states them, unproved; undefined when not even that can be read, or no record can
 * hold so many. Its first bytes may be what is damaged: they are not looked at.
 */
export function peekRange(bytes: Uint8Array, at: number): { position: number; count: number } | undefined {
  if (at + RECORD_HEAD_BYTES > bytes.length) return undefined
  try {
    const r = new ByteReader(bytes, at + RECORD_HEAD_BYTES)
    const position = r.varint()
    const count = r.varint()
    return count >= 1 && count <= RECORD_ITEMS_MAX ? { position, count } : undefined
  } catch {
    return undefined
  }
}
