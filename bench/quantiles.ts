/** Of measurements, in their unit. */
export interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** NaN when there are none. */
export function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
