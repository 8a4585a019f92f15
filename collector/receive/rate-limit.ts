/**
 * Token buckets of samples: so many a second, and a burst. How many samples a body holds is known after it was decoded, so it
 * is charged afterwards, and a bucket may go into debt; who is in debt waits until it is paid.
 *
 *     fullAt ──────────────▶ each sample moves it 1/rate ahead; a bucket whose fullAt is past is full, and forgotten
 *     now + burst < fullAt   in debt
 *
 * Only full buckets are ever forgotten: a debtor cannot get rid of its debt. Where there are more than can be kept, the others
 * share one bucket.
 */
export interface RateLimitOptions {
  readonly perSecond: number
  readonly burstSeconds: number
  /** Monotonic, ms. */
  readonly now: () => number
  /** Buckets that are kept. */
  readonly bucketsMax: number
}

const SWEEP_EVERY_MS = 1000
/** No sender has this name. */
const OTHERS = ''

export class RateLimit {
  #options: RateLimitOptions
  /** Only buckets that were not full when last looked at. */
  readonly #fullAt = new Map<string, number>()
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(options: RateLimitOptions) {
    this.#options = options
  }

  get perSecond(): number {
    return this.#options.perSecond
  }

  get burstSeconds(): number {
    return this.#options.burstSeconds
  }

  /** Another rate from now on: who owes samples owes as many. */
  change(perSecond: number, burstSeconds: number): void {
    const now = this.#options.now()
    const scale = this.#options.perSecond / perSecond
    for (const [key, fullAt] of this.#fullAt) this.#fullAt.set(key, now + (fullAt - now) * scale)
    this.#options = { ...this.#options, perSecond, burstSeconds }
  }

  /** Buckets in memory. */
  get size(): number {
    return this.#fullAt.size
  }

  /** How long until the debt is paid, ms; 0 without one. */
  wait(key: string): number {
    const { now, burstSeconds } = this.#options
    const fullAt = this.#fullAt.get(this.#bucketOf(key)) ?? Number.NEGATIVE_INFINITY
    return Math.max(0, fullAt - now() - burstSeconds * 1000)
  }

  charge(key: string, samples: number): void {
    const now = this.#options.now()
    const bucket = this.#bucketOf(key)
    const from = Math.max(now, this.#fullAt.get(bucket) ?? Number.NEGATIVE_INFINITY)
    this.#fullAt.set(bucket, from + (samples / this.#options.perSecond) * 1000)
  }

  #bucketOf(key: string): string {
    if (this.#fullAt.has(key)) return key
    if (this.#fullAt.size >= this.#options.bucketsMax) this.#sweep()
    return this.#fullAt.size >= this.#options.bucketsMax ? OTHERS : key
  }

  #sweep(): void {
    const now = this.#options.now()
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return
    this.#sweptAt = now
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key)
  }
}
