/**
 * Windows on their way out of a shard, a step at a time: other messages to the shard's thread come in between.
 *
 *     for each window that is due:   settle and fold piece by piece ──▶ parts of so many groups
 *
 * What comes into a window meanwhile is in its part, or changes it later like any late point: a piece that was folded is sorted again
 * only by the next emission, and that notes whose groups changed.
 */
import type { FoldFrame } from './fold-window.ts'
import { WindowFold } from './fold-window.ts'
import type { GroupColumns } from './group-columns.ts'
import type { Lane } from './lane.ts'
import type { Part } from './part.ts'
import { partOf } from './part.ts'
import type { Sorter } from './points.ts'
import type { Emission } from './shard-rules.ts'
import type { Window } from './window.ts'

/** Groups of a part, and what one counts for as work, in points. */
const ROWS_PER_PART = 8192
const POINTS_PER_ROW = 4

export class Emitting {
  readonly #now: number
  readonly #urgent: boolean
  readonly #lanes: readonly Lane[]
  readonly #frames: readonly FoldFrame[]
  readonly #sorter: Sorter
  readonly #parts: Part[] = []
  readonly #windows: Emission['windows'][number][] = []
  /** Those that were begun, with what was taken from them. */
  readonly #begun: { readonly window: Window; readonly dropped: Uint32Array | undefined }[] = []
  /** What is left to do, one step after the other; each says how many points it was about. */
  readonly #steps: Iterator<number, void>

  /** @param when as for `ShardRules.emit`. @param frames one a lane */
  constructor(
    { now, urgent }: { readonly now: number; readonly urgent: boolean },
    lanes: readonly Lane[],
    frames: readonly FoldFrame[],
    sorter: Sorter,
  ) {
    this.#now = now
    this.#urgent = urgent
    this.#lanes = lanes
    this.#frames = frames
    this.#sorter = sorter
    this.#steps = this.#all()
  }

  /** Goes on for about so many points. @returns whether all is done */
  step(points: number): boolean {
    for (let done = 0; done < points; ) {
      const step = this.#steps.next()
      if (step.done === true) return true
      done += step.value
    }
    return false
  }

  /** When all is done. */
  get result(): Pick<Emission, 'parts' | 'windows'> {
    return { parts: this.#parts, windows: this.#windows }
  }

  /** Nobody will see it: windows that were begun are to be given out as if they never had been. */
  abandon(): void {
    for (const { window, dropped } of this.#begun) {
      window.emittedAt = undefined
      for (const [source, n] of (dropped ?? []).entries()) window.countDropped(source, n)
    }
  }

  *#all(): Generator<number, void> {
    for (const [l, lane] of this.#lanes.entries()) {
      for (const window of lane.inOrder()) {
        if (!lane.isDue(window, this.#now)) break
        if (lane.isReady(window, this.#now, this.#urgent)) yield* this.#window(lane, this.#frames[l]!, window)
      }
    }
  }

  *#window(lane: Lane, frame: FoldFrame, window: Window): Generator<number, void> {
    const complete = window.emittedAt === undefined
    const before = lane.before(window)
    const dropped = lane.isSufficient(window.end) ? window.dropped : undefined
    window.dropped = undefined
    this.#begun.push({ window, dropped })
    // Whose groups changed is known when all that came late is sorted in.
    if (!complete) for (const late of [before, window]) if (late !== undefined) yield* this.#settle(lane, late)
    const only = complete ? undefined : window.stirred
    window.stirred = new Set()
    // Below the floor nothing is told of: a group without points would take back what was said of it when they were all there.
    const fold = lane.isBelowFloor(window.end) ? undefined : new WindowFold(frame, window.end, only)
    for (const [number, piece] of window.pieces) {
      const baseline = before?.pieces.get(number)
      if (baseline !== undefined) lane.settle(before!, baseline, this.#sorter)
      lane.settle(window, piece, this.#sorter)
      fold?.fold(piece, baseline)
      yield piece.count + (baseline?.count ?? 0)
    }
    for (const [rule, columns] of fold?.columns ?? [])
      if (!lane.isOfOthers(window.end, rule)) yield* this.#tell({ rule, end: window.end, complete }, columns, frame)
    fold?.close()
    window.emittedAt = this.#now
    const { intervalMs, graceMs } = lane.shape
    this.#windows.push({ intervalMs, graceMs, end: window.end, dropped })
  }

  *#settle(lane: Lane, window: Window): Generator<number, void> {
    if (window.fresh === 0) return
    for (const piece of window.pieces.values()) {
      const { fresh } = window
      lane.settle(window, piece, this.#sorter)
      if (window.fresh !== fresh) yield piece.count
    }
  }

  *#tell(
    { rule, end, complete }: { readonly rule: number; readonly end: number; readonly complete: boolean },
    columns: GroupColumns,
    { memberships }: FoldFrame,
  ): Generator<number, void> {
    const nameOf = (group: number): string | undefined => memberships.untold(rule, group)
    for (let start = 0; start < columns.rows; start += ROWS_PER_PART) {
      const rows = { start, end: Math.min(columns.rows, start + ROWS_PER_PART) }
      this.#parts.push(partOf({ rule, end, complete: complete && start === 0 }, columns, rows, nameOf))
      yield (rows.end - rows.start) * POINTS_PER_ROW
    }
  }
}
