/**
 * What the owner has to know of samples that came to the other aggregators: figures of a task are final when everything of its window
 * is there, and made anew when some of it comes late.
 *
 *     standby, each second: marks of its collectors (of what is stored), late samples once they are stored ──▶ owner
 */
import type { LateSamples } from '../intake/late-samples.ts'
import type { CollectorMark } from '../intake/watermarks.ts'

/** What a standby tells, as JSON. */
export interface SampleNews {
  /** Who tells it: random, of the process. */
  readonly from: string
  readonly marks: readonly CollectorMark[]
  readonly late: readonly LateSamples[]
}

/** A standby that was not heard for so long is gone, and its collectors are elsewhere, ms. */
const KEPT_MS = 60_000
/** After a take-over, all that are there have been heard, ms. */
const FIRST_MS = 5000

/** The marks of all aggregators, at the owner. Times are of one monotonic clock, ms. */
export class HeardMarks {
  readonly #heard = new Map<string, { readonly at: number; readonly marks: readonly CollectorMark[] }>()

  heard({ from, marks }: Pick<SampleNews, 'from' | 'marks'>, now: number): void {
    this.#heard.set(from, { at: now, marks })
  }

  /**
   * Of each collector the highest: what it says of its journal holds wherever it says it.
   * @param own undefined: not known yet
   * @param since when the term began
   * @returns undefined: not known yet
   */
  merged(own: readonly CollectorMark[] | undefined, since: number, now: number): readonly CollectorMark[] | undefined {
    if (own === undefined || now - since < FIRST_MS) return undefined
    const best = new Map(own.map((mark) => [mark.collector, mark]))
    for (const [from, { at, marks }] of this.#heard) {
      if (now - at > KEPT_MS) this.#heard.delete(from)
      else
        for (const mark of marks)
          if (mark.mark > (best.get(mark.collector)?.mark ?? Number.NEGATIVE_INFINITY)) best.set(mark.collector, mark)
    }
    return [...best.values()]
  }
}

/** Of late samples what is understood: marks count whatever version tells them. @returns undefined where it is none */
export function readSampleNews(text: string): SampleNews | undefined {
  try {
    const { from, marks, late } = JSON.parse(text) as Partial<SampleNews>
    const isMark = ({ collector, mark }: CollectorMark): boolean =>
      typeof collector === 'string' && Number.isFinite(mark)
    const isLate = ({ tenant, node, oldest }: LateSamples): boolean =>
      typeof tenant === 'string' && typeof node === 'string' && Number.isFinite(oldest)
    if (typeof from !== 'string' || !Array.isArray(marks) || !Array.isArray(late)) return undefined
    return marks.every(isMark) ? { from, marks, late: late.filter(isLate) } : undefined
  } catch {
    return undefined
  }
}
