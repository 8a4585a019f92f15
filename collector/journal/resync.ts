/**
 * Where to go on behind bytes that are no sound record.
 *
 *     sound | damaged ................ | sound        its own length leads to the next one, unless that is what is damaged
 *                 ^ a body may hold what looks like a record: a sender could have put it there
 *
 * So the bytes are not simply searched: where the damaged record still says how long it is, which position follows it, or
 * what its checksum is, that decides.
 */

import { crc32c } from '../../proto/wire/crc32c.ts'
import { crc32 } from './crc32.ts'
import {
  decodeRecord,
  matches,
  peekRange,
  RECORD_BYTES_MAX,
  RECORD_HEAD_BYTES,
  recordChecksum,
  recordLength,
} from './record.ts'

/**
 * The offset of the next sound record behind the damage at `at`, or the end of the bytes.
 * @param expected position that the damaged record should have; undefined when that is not known
 */
export function nextSound(bytes: Uint8Array, at: number, expected: number | undefined): number {
  const stated = peekRange(bytes, at)
  const following = stated !== undefined && stated.position === expected ? expected + stated.count : undefined
  const length = recordLength(bytes, at)
  const next = length === undefined ? undefined : at + RECORD_HEAD_BYTES + length
  const found = next === undefined ? undefined : decodeRecord(bytes, next)
  if (next !== undefined && found !== undefined && found.record.position === following) return next
  // Its length may be damaged, and lead somewhere all the same: whether by chance or because a sender wished it.
  const end = wholeUpTo(bytes, at)
  if (end !== undefined) return end
  if (next !== undefined && (found !== undefined || next === bytes.length)) return next
  const { first, following: exact } = search(bytes, at + 1, following)
  return exact ?? first ?? bytes.length
}

/** Where a record ends of which only the first bytes are damaged, and so of either kind: its checksum tells; undefined when more is. */
function wholeUpTo(bytes: Uint8Array, at: number): number | undefined {
  const start = at + RECORD_HEAD_BYTES
  if (start > bytes.length) return undefined
  const checksum = recordChecksum(bytes, at)
  const last = Math.min(bytes.length, start + RECORD_BYTES_MAX)
  let one = 0
  let other = 0
  for (let end = start; end < last; ) {
    one = crc32c(bytes, end, end + 1, one)
    other = crc32(bytes, end, ++end, other)
    if ((one === checksum || other === checksum) && (end === bytes.length || decodeRecord(bytes, end) !== undefined))
      return end
  }
  return undefined
}

/** Looks at every offset: the first sound record, and the one with a position where that is known. */
function search(
  bytes: Uint8Array,
  from: number,
  position: number | undefined,
): { readonly first: number | undefined; readonly following: number | undefined } {
  let first: number | undefined
  for (let at = from; at < bytes.length; at++) {
    const found = decodeRecord(bytes, at)
    if (found === undefined) continue
    first ??= at
    if (position === undefined) break
    if (found.record.position === position) return { first, following: at }
  }
  return { first, following: undefined }
}

/** Whether the bytes from here to the end look like a write that was cut short: a beginning without its end. */
export function isCutOff(bytes: Uint8Array, at: number): boolean {
  if (bytes.length - at < RECORD_HEAD_BYTES) return true
  const length = recordLength(bytes, at)
  if (length === undefined || at + RECORD_HEAD_BYTES + length <= bytes.length) return false
  // All of it is there, only its length is wrong: that was acknowledged.
  return !matches(bytes, at, bytes.length)
}
