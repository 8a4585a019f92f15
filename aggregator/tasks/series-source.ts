/** Where a window's samples come from: our own store, or a Prometheus. Both answer with the same points. */
import type { ReadMatcher } from '../../proto/wire/remote-read.ts'
import type { Points } from './step-function.ts'

/** Series that match all of the matchers; a label that a series does not have counts as empty. Patterns are RE2, anchored. */
export type Selector = readonly ReadMatcher[]

export interface Series extends Points {
  readonly name: string
  /** Without the name. */
  readonly labels: Readonly<Record<string, string>>
}

export interface SeriesSource {
  /**
   * The samples of series that match any of the selectors, each series once, with from ≤ time ≤ to (ms since the epoch).
   * @param names of the node that the selectors are about: whoever knows its series by it need not look at others
   * @throws SeriesUnavailable when they cannot be had now; SeriesRefused when they cannot be had like this
   */
  read(
    tenant: string,
    selectors: readonly Selector[],
    from: number,
    to: number,
    names: readonly string[],
  ): Promise<Series[]>
}

/** Later it may work. */
export class SeriesUnavailable extends Error {}

/** It will not work later either: too much is asked for, or in a way that is not understood. */
export class SeriesRefused extends Error {}

/** One key for one series, whoever names its labels in which order. */
export function seriesKey(name: string, labels: Readonly<Record<string, string>>): string {
  return JSON.stringify([name, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))])
}
