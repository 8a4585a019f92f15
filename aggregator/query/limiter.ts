/**
 * A token bucket for each credential: so many queries a second, and a burst. Writes are never limited by it.
 */
import { LRUCache } from 'lru-cache'

export interface LimiterOptions {
  readonly perSecond: number
  readonly burst: number
  /** Monotonic, ms. */
  readonly now: () => number
}

/** Allowed, or how long until one more is. */
export type Permit = { readonly allowed: true } | { readonly allowed: false; readonly waitMs: number }

interface TokenBucket {
  tokens: number
  at: number
  rejected: number
}

const CREDENTIALS_MAX = 10_000

export class Limiter {
  #options: LimiterOptions
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: CREDENTIALS_MAX })
  #allowed = 0
  #rejected = 0

  constructor(options: LimiterOptions) {
    this.#options = options
  }

  get perSecond(): number {
    return this.#options.perSecond
  }

  get burst(): number {
    return this.#options.burst
  }

  /** Another rate and burst from now on. */
  change(perSecond: number, burst: number): void {
    this.#options = { ...this.#options, perSecond, burst }
  }

  get counts(): { readonly allowed: number; readonly rejected: number } {
    return { allowed: this.#allowed, rejected: this.#rejected }
  }

  /** Credentials that were refused, the most often refused first. */
  get rejectedBy(): { readonly credential: string; readonly count: number }[] {
    return [...this.#buckets.entries()]
      .filter(([, bucket]) => bucket.rejected > 0)
      .map(([credential, bucket]) => ({ credential, count: bucket.rejected }))
      .sort((a, b) => b.count - a.count)
      .slice(0, 10)
  }

  /** Takes one token. @param credential a name for the caller, never the secret itself */
  take(credential: string): Permit {
    const { perSecond, burst, now } = this.#options
    const at = now()
    const bucket = this.#buckets.get(credential) ?? { tokens: burst, at, rejected: 0 }
    bucket.tokens = Math.min(burst, bucket.tokens + ((at - bucket.at) / 1000) * perSecond)
    bucket.at = at
    this.#buckets.set(credential, bucket)
    if (bucket.tokens >= 1) {
      bucket.tokens--
      this.#allowed++
      return { allowed: true }
    }
    bucket.rejected++
    this.#rejected++
    return { allowed: false, waitMs: ((1 - bucket.tokens) / perSecond) * 1000 }
  }
}
