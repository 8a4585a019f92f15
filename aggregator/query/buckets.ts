/**
 * Buckets of one group of samples: what an aggregate needs of them, in a form that parts from memory and from ClickHouse
 * can be put together. Samples without a finite value (stale markers, NaN, ±Inf) do not count: JSON has no word for them.
 */
import type { Aggregate } from './parameters.ts'

/** One bucket. `values` is only kept for quantiles. */
export interface Bucket {
  count: number
  sum: number
  min: number
  max: number
  last: number
  /** Time of `last`, ms, and its arrival, µs: of two for one instant in a group the later arrival is the last. */
  lastTime: number
  lastArrival: number
  values: number[] | undefined
  /** The values next to the rank that is asked for, where somebody else has found them among all samples of the bucket. */
  neighbours: readonly [low: number, high: number] | undefined
}

/** Which percentile an aggregate is; undefined for the others. */
export function quantileOf(agg: Aggregate): number | undefined {
  return agg === 'p50' ? 0.5 : agg === 'p90' ? 0.9 : agg === 'p99' ? 0.99 : undefined
}

/** Buckets by their start, and the newest sample's time. */
export class Buckets {
  readonly #stepMs: number
  readonly #keepValues: boolean
  readonly #buckets = new Map<number, Bucket>()
  #latest = Number.NEGATIVE_INFINITY
  // The bucket of the sample before: samples come in the order of time.
  #start = Number.NaN
  #current: Bucket | undefined

  constructor(stepMs: number, keepValues: boolean) {
    this.#stepMs = stepMs
    this.#keepValues = keepValues
  }

  get isEmpty(): boolean {
    return this.#buckets.size === 0
  }

  /** Time of the newest sample, ms. */
  get latest(): number {
    return this.#latest
  }

  get starts(): Iterable<number> {
    return this.#buckets.keys()
  }

  add(time: number, value: number, arrival: number): void {
    if (!Number.isFinite(value)) return
    const start = Math.floor(time / this.#stepMs) * this.#stepMs
    if (start !== this.#start) {
      this.#start = start
      this.#current = this.#at(start)
    }
    const bucket = this.#current!
    bucket.count++
    bucket.sum += value
    if (value < bucket.min) bucket.min = value
    if (value > bucket.max) bucket.max = value
    if (time > bucket.lastTime || (time === bucket.lastTime && arrival > bucket.lastArrival)) {
      bucket.last = value
      bucket.lastTime = time
      bucket.lastArrival = arrival
    }
    bucket.values?.push(value)
    if (time > this.#latest) this.#latest = time
  }

  /** Puts in a bucket that was computed elsewhere over other samples. */
  merge(start: number, other: Bucket): void {
    if (other.count === 0) return
    const bucket = this.#at(start)
    bucket.count += other.count
    bucket.sum += other.sum
    bucket.min = Math.min(bucket.min, other.min)
    bucket.max = Math.max(bucket.max, other.max)
    if (
      other.lastTime > bucket.lastTime ||
      (other.lastTime === bucket.lastTime && other.lastArrival > bucket.lastArrival)
    ) {
      bucket.last = other.last
      bucket.lastTime = other.lastTime
      bucket.lastArrival = other.lastArrival
    }
    if (bucket.values !== undefined && other.values !== undefined)
      for (const value of other.values) bucket.values.push(value)
    bucket.neighbours = other.neighbours
    if (other.lastTime > this.#latest) this.#latest = other.lastTime
  }

  /** Buckets in the order of time. */
  sorted(): [start: number, bucket: Bucket][] {
    return [...this.#buckets].sort((a, b) => a[0] - b[0])
  }

  #at(start: number): Bucket {
    let bucket = this.#buckets.get(start)
    if (bucket === undefined) {
      bucket = {
        count: 0,
        sum: 0,
        min: Number.POSITIVE_INFINITY,
        max: Number.NEGATIVE_INFINITY,
        last: Number.NaN,
        lastTime: Number.NEGATIVE_INFINITY,
        lastArrival: Number.NEGATIVE_INFINITY,
        values: this.#keepValues ? [] : undefined,
        neighbours: undefined,
      }
      this.#buckets.set(start, bucket)
    }
    return bucket
  }
}

/** The aggregate of a bucket; not finite where a sum is beyond what a double holds. */
export function aggregate(bucket: Bucket, agg: Aggregate): number {
  switch (agg) {
    case 'avg':
      return bucket.sum / bucket.count
    case 'sum':
      return bucket.sum
    case 'min':
      return bucket.min
    case 'max':
      return bucket.max
    case 'last':
      return bucket.last
    default:
      return bucketQuantile(bucket, quantileOf(agg) ?? 0.5)
  }
}

function bucketQuantile({ count, values, neighbours }: Bucket, p: number): number {
  if (neighbours === undefined) return quantile(values ?? [], p)
  const rank = p * (count - 1)
  return interpolate(neighbours[0], neighbours[1], rank - Math.floor(rank))
}

/** Linear interpolation between the closest ranks: rank = p × (n - 1). */
export function quantile(values: number[], p: number): number {
  const sorted = Float64Array.from(values).sort()
  const rank = p * (sorted.length - 1)
  return interpolate(sorted[Math.floor(rank)]!, sorted[Math.ceil(rank)]!, rank - Math.floor(rank))
}

function interpolate(low: number, high: number, share: number): number {
  const difference = high - low
  return Number.isFinite(difference) ? low + difference * share : low * (1 - share) + high * share
}
