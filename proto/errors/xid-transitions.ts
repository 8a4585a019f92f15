/**
 * XIDs that happened inside a window. DCGM's gauge `DCGM_FI_DEV_XID_ERRORS` holds the last XID for as long as the driver lives,
 * so its value says nothing of when: only a change does. The same XID twice in a row cannot be seen in this gauge.
 */

/** One sample of one GPU's gauge. */
export interface XidSample {
  /** Any clock, as long as the window uses it too. */
  readonly at: number
  /** 0: none yet. */
  readonly value: number
}

/** DCGM's "no value" arrives as a huge number; the catalogue ends below this. */
const XID_MAX = 9999

/**
 * @param samples of one GPU, in order of time, with at least one from before the window where there is one: without it, the first
 *   value inside the window may be old and is not counted
 * @returns the numbers that appeared in [from, to), in order of time
 */
export function xidTransitions(samples: readonly XidSample[], from: number, to: number): number[] {
  const found: number[] = []
  let before: number | undefined
  for (const { at, value } of samples) {
    if (!Number.isInteger(value) || value < 0 || value > XID_MAX) continue
    if (at >= to) break
    if (before !== undefined && value !== before && value !== 0 && at >= from) found.push(value)
    before = value
  }
  return found
}
