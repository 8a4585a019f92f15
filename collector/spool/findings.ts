/**
 * What is wrong in a journal and where, put together from what recovery tells while it goes through:
 *
 *     sound │ damaged │ sound   positions: 10 ┆ 15     the damaged bytes held items 11 to 15
 *     seg 1 │ (none)  │ seg 3   positions: 20 ┆ 40     a segment is missing: items 21 to 40
 */
import { basename, join } from 'node:path'
import type { JournalRecord } from '../journal/record.ts'
import type { RecoveryWatcher, Segment } from '../journal/recovery.ts'
import { quarantineName } from '../journal/recovery.ts'

/** Bytes that are no sound record. */
export interface DamagedRange {
  readonly file: string
  readonly offset: number
  readonly length: number
  /** They are in quarantine as they are: recovery has seen them. */
  readonly settled: boolean
  /** How many items they held; null: positions do not tell, or not for this range alone (see the gap). */
  items: number | null
}

/** The items (from, to] are missing. */
export interface Gap {
  readonly from: number
  readonly to: number
  readonly items: number
  /** Those behind the cursor: not known to be stored. */
  readonly lost: number
  /** false: only a damaged record itself says so, nothing behind it proves it. */
  readonly proved: boolean
  /** The files with what is before and behind it; null: nothing is. */
  readonly after: string | null
  readonly before: string | null
  /** How many damaged ranges lie in it; none: a file is missing, or was cut short. */
  readonly ranges: number
  readonly settled: boolean
}

/** A write that was cut short, or that failed and could not be cut away: nobody was told that it is kept. */
export interface TornWrite {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** A file that holds what another one holds too. */
export interface Repeat {
  readonly file: string
  readonly records: number
  readonly items: number
}

/** A file whose name and head say different sequence numbers. */
interface Misnamed {
  readonly file: string
  readonly sequence: number
}

export interface FindingsOptions {
  readonly quarantine: string
  readonly cursor: number | undefined
  /** Whether a path in quarantine holds what recovery would put there. */
  readonly isSettled: (path: string) => boolean
  readonly isKnownGap: (gap: { readonly from: number; readonly to: number }) => boolean
}

export class Findings implements RecoveryWatcher {
  readonly ranges: DamagedRange[] = []
  readonly gaps: Gap[] = []
  torn: TornWrite[] = []
  readonly repeats: Repeat[] = []
  readonly misnamed: Misnamed[] = []
  /** Segments without a sound head or record. */
  readonly headless: string[] = []
  readonly #options: FindingsOptions
  /** Ranges since the last sound record: which items they held is said by what comes next. */
  #open: DamagedRange[] = []
  #file: string | null = null
  #lastSound: string | null = null
  #end: number | undefined

  constructor(options: FindingsOptions) {
    this.#options = options
  }

  segment(segment: Segment): void {
    this.#file = basename(segment.path)
    if (segment.start === 0) {
      if (segment.bytes > 0) this.headless.push(this.#file)
      return
    }
    if (Number.parseInt(this.#file, 16) !== segment.sequence)
      this.misnamed.push({ file: this.#file, sequence: segment.sequence })
    // It goes on where the last one ended: what is damaged before held nothing.
    if (segment.first === this.#end) this.#close(0)
  }

  record(
    segment: Segment,
    record: JournalRecord,
    { repeats }: { readonly offset: number; readonly end: number; readonly repeats: boolean },
  ): void {
    const file = basename(segment.path)
    if (repeats) {
      this.#repeat(file, record.count)
      return
    }
    this.#close(0)
    this.#lastSound = file
    this.#end = record.position + record.count
  }

  damaged(segment: Segment, from: number, to: number): void {
    const settled = this.#options.isSettled(join(this.#options.quarantine, quarantineName(segment, from)))
    const range: DamagedRange = { file: basename(segment.path), offset: from, length: to - from, settled, items: null }
    this.ranges.push(range)
    this.#open.push(range)
  }

  cut(segment: Segment, from: number, to: number): void {
    this.torn.push({ file: basename(segment.path), offset: from, length: to - from })
  }

  missing({ from, to, proved }: { readonly from: number; readonly to: number; readonly proved: boolean }): void {
    const { cursor } = this.#options
    const ranges = this.#open
    this.gaps.push({
      from,
      to,
      items: to - from,
      lost: Math.max(0, to - Math.max(from, cursor ?? from)),
      proved,
      after: this.#lastSound,
      before: proved ? this.#file : null,
      ranges: ranges.length,
      settled: (ranges.length > 0 && ranges.every((range) => range.settled)) || this.#options.isKnownGap({ from, to }),
    })
    this.#close(ranges.length === 1 ? to - from : null)
    this.#end = to
  }

  /** Items that are missing and not known to be stored. */
  get lost(): number {
    return this.gaps.reduce((sum, gap) => sum + gap.lost, 0)
  }

  /** Nothing is wrong that no recovery has seen yet. */
  get sound(): boolean {
    const news = this.ranges.some((range) => !range.settled) || this.gaps.some((gap) => !gap.settled)
    return !news && this.torn.length === 0
  }

  #repeat(file: string, items: number): void {
    const last = this.repeats.at(-1)
    if (last?.file === file)
      this.repeats[this.repeats.length - 1] = { file, records: last.records + 1, items: last.items + items }
    else this.repeats.push({ file, records: 1, items })
  }

  #close(items: number | null): void {
    for (const range of this.#open) range.items = items
    this.#open = []
  }
}
