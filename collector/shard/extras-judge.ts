/**
 * Decides about every item of a write that is no sample. Nothing is compared with earlier writes but metadata: what is sent
 * again is made harmless by identity in the store.
 */
import { EXTRA_KINDS } from '../../proto/wire/batch-extras.ts'
import type { Extras } from './extras.ts'
import type { TimeBounds } from './judge.ts'
import { TOO_NEW, TOO_OLD } from './judge.ts'
import { keyOf } from './known-metadata.ts'
import { refusalOf } from './scratch.ts'
import { ACCEPTED, DUPLICATE, REFUSED, REPLACED, Verdicts } from './verdicts.ts'

const HISTOGRAM = EXTRA_KINDS.indexOf('histogram')

export class ExtrasJudge {
  readonly verdicts: Verdicts = new Verdicts()
  readonly #extras: Extras

  constructor(extras: Extras) {
    this.#extras = extras
  }

  judge(bounds: TimeBounds): void {
    const { count, series, times, repeats } = this.#extras
    if (count === 0) return
    this.verdicts.reserve(count)
    const { bytes } = this.verdicts
    const seen = new Map<string, number>()
    for (let i = 0; i < count; i++) {
      if (series[i]! < 0) bytes[i] = REFUSED + refusalOf(series[i]!)
      else if (repeats[i] === 1) bytes[i] = DUPLICATE
      else if (times[i]! < bounds.oldest) bytes[i] = TOO_OLD
      else if (times[i]! > bounds.newest) bytes[i] = TOO_NEW
      else bytes[i] = this.#compare(seen, i)
    }
  }

  /** Two histograms of one series and instant are one, the later; exemplars and metadata are one when they are equal. */
  #compare(seen: Map<string, number>, i: number): number {
    const { kinds, series, times } = this.#extras
    const message = this.#extras.message(i)
    const key = kinds[i] === HISTOGRAM ? `${series[i]}:${times[i]}` : `${kinds[i]} ${keyOf(series[i]!, message)}`
    const earlier = seen.get(key)
    seen.set(key, i)
    if (earlier === undefined) return ACCEPTED
    if (kinds[i] !== HISTOGRAM || Buffer.compare(this.#extras.message(earlier), message) === 0) {
      seen.set(key, earlier)
      return DUPLICATE
    }
    this.verdicts.bytes[earlier] = REPLACED
    return ACCEPTED
  }
}
