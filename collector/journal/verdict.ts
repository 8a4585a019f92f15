/**
 * Which samples of a body were not taken, in the form that the journal keeps: run lengths, alternately taken and passed
 * over, the first one taken. Empty when all were taken. A replay follows it and never decides anew: limits, clocks and code
 * may have changed since.
 */
import { ByteReader, ByteWriter } from '../../proto/wire/bytes.ts'
import { WireError } from '../../proto/wire/wire-error.ts'

/** @param taken whether item i of n was taken */
export function encodeVerdict(n: number, taken: (item: number) => boolean): Uint8Array {
  const out = new ByteWriter(16)
  let expected = true
  let run = 0
  let all = true
  for (let i = 0; i < n; i++) {
    if (taken(i) === expected) run++
    else {
      out.varint(run)
      expected = !expected
      run = 1
      all = false
    }
  }
  if (all) return new Uint8Array(0)
  out.varint(run)
  return out.take()
}

/** The same for items that are marked, where most often none is: empty then. Read by {@link decodeVerdict} when it is not. */
export function encodeMarks(n: number, marked: (item: number) => boolean): Uint8Array {
  let any = false
  for (let i = 0; i < n && !any; i++) any = marked(i)
  if (!any) return new Uint8Array(0)
  const runs = encodeVerdict(n, marked)
  if (runs.length > 0) return runs
  const out = new ByteWriter(8)
  out.varint(n) // all of them
  return out.take()
}

/**
 * Writes 1 for each item that was taken and 0 for the others.
 * @throws WireError when the runs do not add up to the number of items
 */
export function decodeVerdict(verdict: Uint8Array, taken: Uint8Array): void {
  if (verdict.length === 0) {
    taken.fill(1)
    return
  }
  const reader = new ByteReader(verdict)
  let value = 1
  let at = 0
  while (reader.left > 0) {
    const run = reader.length(taken.length - at, 'run of a verdict')
    taken.fill(value, at, at + run)
    at += run
    value = 1 - value
  }
  if (at !== taken.length) throw new WireError('malformed', `a verdict covers ${at} of ${taken.length} samples`)
}

/** How many items runs are about. */
export function markCount(runs: Uint8Array): number {
  const reader = new ByteReader(runs)
  let count = 0
  while (reader.left > 0) count += reader.varint()
  if (count > ITEMS_MAX) throw new WireError('malformed', `a verdict covers ${count} samples`)
  return count
}

const ITEMS_MAX = 2 ** 28 // of a body of 256 MiB
