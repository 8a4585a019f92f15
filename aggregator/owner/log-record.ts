/**
 * Bytes of the file log. Little-endian, version 1.
 *
 *     segment = head record*
 *     head    = "FMO" version:u8 length:u32 crc32c(version, payload):u32 payload(sequence:varint generation:varint after:varint first:varint)
 *     record  = 0xF1 0xE9 length:u32 crc32c(payload):u32 payload
 *     payload = n:varint kind:string tenant:string key:string at:varint body
 *
 * A segment says behind which position it was begun (`after`) and which one its first record has: what lies between was skipped on
 * purpose, so that every other gap is a loss. Two first bytes let a reader find the next record behind damage.
 */
import { ByteReader, ByteWriter, utf8Decode, utf8Encode } from '../../proto/wire/bytes.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { LoggedRecord, OwnerRecord } from './owner-log.ts'

const VERSION = 1
const SEGMENT_MAGIC: readonly number[] = [0x46, 0x4d, 0x4f]
const HEAD_BYTES = 12
/** Longest head that a reader believes. */
export const SEGMENT_HEAD_BYTES_MAX = 64
const MAGIC_0 = 0xf1
const MAGIC_1 = 0xe9
const RECORD_HEAD_BYTES = 10
/** Longest record that a reader believes, and a writer takes. */
export const RECORD_BYTES_MAX: number = 64 * 1024 * 1024

export interface SegmentHead {
  /** Order of writing, from 1. */
  readonly sequence: number
  readonly generation: number
  /** Position of the newest record before it. */
  readonly after: number
  /** Position of its first record. */
  readonly first: number
}

export function encodeSegmentHead({ sequence, generation, after, first }: SegmentHead): Uint8Array {
  const payload = new ByteWriter(32)
  for (const value of [sequence, generation, after, first]) payload.varint(value)
  const out = new ByteWriter(64)
  for (const byte of SEGMENT_MAGIC) out.u8(byte)
  out.u8(VERSION)
  out.u32(payload.pos)
  out.u32(headChecksum(VERSION, payload.view()))
  out.bytes(payload.view())
  return out.take()
}

/** @throws WireError when the bytes do not begin with a sound head of a known version */
export function decodeSegmentHead(bytes: Uint8Array): { readonly head: SegmentHead; readonly end: number } {
  const reader = new ByteReader(bytes)
  if (reader.bytes(3).some((byte, i) => byte !== SEGMENT_MAGIC[i]))
    throw new WireError('malformed', 'the file does not begin with "FMO"')
  const version = reader.u8()
  const length = reader.u32()
  const checksum = reader.u32()
  const payload = reader.bytes(length)
  if (headChecksum(version, payload) !== checksum)
    throw new WireError('checksum', 'the segment head does not match its checksum')
  if (version !== VERSION) throw new WireError('unsupported', `segment version ${version} is not known, ${VERSION} is`)
  const fields = new ByteReader(payload)
  const [sequence, generation, after, first] = [fields.varint(), fields.varint(), fields.varint(), fields.varint()]
  return { head: { sequence, generation, after, first }, end: HEAD_BYTES + length }
}

/** Covers the version: a flipped bit in it must not pass for a newer format. */
function headChecksum(version: number, payload: Uint8Array): number {
  return crc32c(payload, 0, payload.length, crc32c(Uint8Array.of(version)))
}

export function encodeRecord(n: number, { kind, tenant, key, at, body }: OwnerRecord, out: ByteWriter): void {
  const start = out.pos
  out.u8(MAGIC_0)
  out.u8(MAGIC_1)
  out.u32(0)
  out.u32(0)
  const payload = out.pos
  out.varint(n)
  out.string(kind)
  out.string(tenant)
  out.string(key)
  out.varint(at)
  out.bytes(utf8Encode(body))
  out.patchU32(start + 2, out.pos - payload)
  out.patchU32(start + 6, crc32c(out.buf, payload, out.pos))
}

/** The record at `at`, or undefined when its bytes are cut off or changed. */
export function decodeRecord(
  bytes: Uint8Array,
  at: number,
): { readonly record: LoggedRecord; readonly end: number } | undefined {
  if (bytes[at] !== MAGIC_0 || bytes[at + 1] !== MAGIC_1 || at + RECORD_HEAD_BYTES > bytes.length) return undefined
  const head = new ByteReader(bytes, at + 2)
  const length = head.u32()
  const checksum = head.u32()
  const start = at + RECORD_HEAD_BYTES
  const end = start + length
  if (length > RECORD_BYTES_MAX || end > bytes.length || crc32c(bytes, start, end) !== checksum) return undefined
  try {
    const r = new ByteReader(bytes, start, end)
    const n = r.varint()
    const [kind, tenant, key, arrival] = [r.string(), r.string(), r.string(), r.varint()]
    return { record: { n, kind, tenant, key, at: arrival, body: utf8Decode(r.bytes(r.left)) }, end }
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

/** Where the next sound record begins, from `at` on; the length of the bytes when there is none. */
export function nextSound(bytes: Uint8Array, at: number): number {
  for (let i = bytes.indexOf(MAGIC_0, at); i >= 0; i = bytes.indexOf(MAGIC_0, i + 1))
    if (decodeRecord(bytes, i) !== undefined) return i
  return bytes.length
}
