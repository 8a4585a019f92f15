/**
 * Where to go on behind bytes that are no sound record.
 *
 *     sound | damaged ................ | sound        its own length leads to the next one, unless that is what is damaged
 *                 ^ a body may hold what looks like a record: a sender could have put it there
 *
 * So the bytes are not simply searched: where the damaged record still says how long it is, or which position follows it,
 * that decides.
 */
import { crc32c } from '../../proto/wire/crc32c.ts'
import { decodeRecord, peekRange, RECORD_HEAD_BYTES, recordChecksum, recordLength } from './record.ts'

/**
 * The offset of the next sound record behind the damage at `at`, or the end of the bytes.
 * @param expected position that the damaged record should have; undefined when that is not known
 */
export function nextSound(bytes: Uint8Array, at: number, expected: number | undefined): number {
  const stated = peekRange(bytes, at)
  const following = stated !== undefined && stated.position === expected ? expected + stated.count : undefined
  const length = recordLength(bytes, at)
  if (length !== undefined) {
    const next = at + RECORD_HEAD_BYTES + length
    const found = decodeRecord(bytes, next)
    if (found !== undefined && found.record.position === following) return next
    // Another position, or the end: either the length is right, or it passes over what the damaged record says to follow it.
    if (found !== undefined || next === bytes.length) return search(bytes, at + 1, next, following).following ?? next
  }
  const { first, following: exact } = search(bytes, at + 1, bytes.length, following)
  return exact ?? first ?? bytes.length
}

/** Looks at every offset: the first sound record, and the one with a position. */
function search(
  bytes: Uint8Array,
  from: number,
  to: number,
  position: number | undefined,
): { readonly first: number | undefined; readonly following: number | undefined } {
  let first: number | undefined
  for (let at = from; at < to; at++) {
    const found = decodeRecord(bytes, at)
    if (found === undefined) continue
    first ??= at
    if (position === undefined || found.record.position === position)
      return { first, following: position === undefined ? undefined : at }
  }
  return { first, following: undefined }
}

/** Whether the bytes from here to the end look like a write that was cut short: a beginning without its end. */
export function isCutOff(bytes: Uint8Array, at: number): boolean {
  if (bytes.length - at < RECORD_HEAD_BYTES) return true
  const length = recordLength(bytes, at)
  if (length === undefined || at + RECORD_HEAD_BYTES + length <= bytes.length) return false
  // All of it is there, only its length is wrong: that was acknowledged.
  return crc32c(bytes, at + RECORD_HEAD_BYTES) !== recordChecksum(bytes, at)
}
