/**
 * Native histograms of samples: exponential buckets, as Prometheus' own client makes them.
 *
 *     bucket i holds (2^((i-1)/8), 2^(i/8)]: schema 3, at most 9 % wide; |v| ≤ 2^-128 is zero
 *
 * NaN counts, and lies in no bucket; an infinity lies in the one behind the largest double's.
 * @see https://prometheus.io/docs/specs/native_histograms/
 */

export const SCHEMA = 3
const ZERO_THRESHOLD = 2 ** -128
const RESET_HINT_GAUGE = 3
/** Empty buckets that are written out between two others, before a new span is cheaper. */
const GAP_MAX = 2

/** Upper bounds of the buckets between 1/2 and 1: 2^(-1 + i/8), as Prometheus has them. */
const BOUNDS = [
  0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865475, 0.7711054127039704,
  0.8408964152537144, 0.9170040432046711,
]

/** Fields of the protobuf message Histogram, in camel case. */
export interface SampleHistogram {
  readonly countInt: number
  readonly sum: number
  readonly schema: number
  readonly zeroThreshold: number
  readonly zeroCountInt: number
  readonly negativeSpans: readonly BucketSpan[]
  readonly negativeDeltas: readonly number[]
  readonly positiveSpans: readonly BucketSpan[]
  readonly positiveDeltas: readonly number[]
  readonly resetHint: number
}

export interface BucketSpan {
  /** Buckets between the end of the span before and this one; of the first, its index. */
  readonly offset: number
  readonly length: number
}

/** How many samples lie in which bucket. */
export class Buckets {
  #zero = 0
  /** By index; made when they are needed: most rules have no histogram. */
  #positive: Map<number, number> | undefined
  #negative: Map<number, number> | undefined

  observe(value: number): void {
    if (value > ZERO_THRESHOLD) this.add(1, bucketOf(value), 1)
    else if (value < -ZERO_THRESHOLD) this.add(-1, bucketOf(-value), 1)
    else if (!Number.isNaN(value)) this.#zero++
  }

  /** Appends three numbers a bucket: side (-1, 0, 1), index, count. */
  triples(into: number[]): void {
    if (this.#zero > 0) into.push(0, 0, this.#zero)
    for (const [index, count] of this.#positive ?? []) into.push(1, index, count)
    for (const [index, count] of this.#negative ?? []) into.push(-1, index, count)
  }

  /** Adds a bucket of {@link triples}. */
  add(side: number, index: number, count: number): void {
    if (side === 0) {
      this.#zero += count
      return
    }
    this.#positive ??= new Map()
    this.#negative ??= new Map()
    const buckets = side > 0 ? this.#positive : this.#negative
    buckets.set(index, (buckets.get(index) ?? 0) + count)
  }

  histogram(count: number, sum: number): SampleHistogram {
    const positive = spansOf(this.#positive ?? [])
    const negative = spansOf(this.#negative ?? [])
    return {
      countInt: count,
      sum,
      schema: SCHEMA,
      zeroThreshold: ZERO_THRESHOLD,
      zeroCountInt: this.#zero,
      negativeSpans: negative.spans,
      negativeDeltas: negative.deltas,
      positiveSpans: positive.spans,
      positiveDeltas: positive.deltas,
      resetHint: RESET_HINT_GAUGE,
    }
  }
}

const view = new DataView(new ArrayBuffer(8))

/** The index of the bucket of a value above the zero threshold. */
export function bucketOf(value: number): number {
  if (value === Number.POSITIVE_INFINITY) return bucketOf(Number.MAX_VALUE) + 1
  view.setFloat64(0, value)
  const high = view.getUint32(0)
  const exponent = (high >>> 20) - 1022
  view.setUint32(0, (high & 0xfffff) | (1022 << 20)) // the fraction, in [1/2, 1)
  const fraction = view.getFloat64(0)
  let i = 0
  while (i < BOUNDS.length && BOUNDS[i]! < fraction) i++
  return i + (exponent - 1) * BOUNDS.length
}

/** Buckets as spans and differences of counts. */
function spansOf(buckets: Iterable<[index: number, count: number]>): { spans: BucketSpan[]; deltas: number[] } {
  const spans: { offset: number; length: number }[] = []
  const deltas: number[] = []
  let next = 0
  let previous = 0
  const push = (count: number): void => {
    deltas.push(count - previous)
    previous = count
  }
  for (const [index, count] of [...buckets].sort(([a], [b]) => a - b)) {
    const gap = index - next
    const span = spans.at(-1)
    if (span === undefined || gap > GAP_MAX) spans.push({ offset: gap, length: 1 })
    else {
      for (let i = 0; i < gap; i++) push(0)
      span.length += gap + 1
    }
    push(count)
    next = index + 1
  }
  return { spans, deltas }
}

export function sameHistogram(a: SampleHistogram, b: SampleHistogram): boolean {
  return (
    a.countInt === b.countInt &&
    Object.is(a.sum, b.sum) &&
    a.zeroCountInt === b.zeroCountInt &&
    sameNumbers(a.positiveDeltas, b.positiveDeltas) &&
    sameNumbers(a.negativeDeltas, b.negativeDeltas) &&
    sameSpans(a.positiveSpans, b.positiveSpans) &&
    sameSpans(a.negativeSpans, b.negativeSpans)
  )
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i])
}

function sameSpans(a: readonly BucketSpan[], b: readonly BucketSpan[]): boolean {
  return a.length === b.length && a.every((s, i) => s.offset === b[i]!.offset && s.length === b[i]!.length)
}
