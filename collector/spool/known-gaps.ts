/**
 * Which gaps in the positions a repair has told of already, in `quarantine/known-gaps.json`: what is gone stays gone, and is
 * no news at the next look. The collector does not read it.
 */
import { join } from 'node:path'
import { readFileIfThere, writeFileAtomic } from '../../proto/runtime/atomic-file.ts'
import type { JournalPlace } from './places.ts'

/** The items (from, to] are missing. */
export interface KnownGap {
  readonly from: number
  readonly to: number
}

const NAME = 'known-gaps.json'
/** A segment holds at least one item a gap. */
const GAPS_MAX = 100_000

/** What is written there and can be read; a damaged file is none. */
export function readKnownGaps({ quarantine }: JournalPlace): KnownGap[] {
  try {
    const read: unknown = JSON.parse(readFileIfThere(join(quarantine, NAME)) ?? '[]')
    return Array.isArray(read) ? read.filter(isGap).slice(0, GAPS_MAX) : []
  } catch {
    return []
  }
}

/** Adds gaps to those that are known. Throws what the file system throws. */
export function rememberGaps(place: JournalPlace, gaps: readonly KnownGap[]): void {
  const known = readKnownGaps(place)
  const more = gaps.filter((gap) => !isKnown(known, gap)).map(({ from, to }) => ({ from, to }))
  if (more.length > 0) writeFileAtomic(join(place.quarantine, NAME), `${JSON.stringify([...known, ...more])}\n`)
}

export function isKnown(known: readonly KnownGap[], gap: KnownGap): boolean {
  return known.some(({ from, to }) => from <= gap.from && gap.to <= to)
}

function isGap(value: unknown): value is KnownGap {
  if (typeof value !== 'object' || value === null) return false
  const { from, to } = value as Partial<KnownGap>
  return Number.isSafeInteger(from) && Number.isSafeInteger(to)
}
