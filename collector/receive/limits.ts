/**
 * What comes in at the doors, held against the limits of its sender and of its tenant. This host's own figures are exempt: they
 * come through no door.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { RateLimit } from './rate-limit.ts'

/** In this order where a request is over both for equally long. */
export const LIMITS = ['sender', 'tenant'] as const
export type LimitKind = (typeof LIMITS)[number]

export interface Rate {
  /** 0: no limit. */
  readonly perSecond: number
  readonly burstSeconds: number
}

/** A limit that is used up. */
export interface Excess {
  /** For the sender, with the setting. */
  readonly reason: string
  readonly retryAfterSeconds: number
  /** Wall clock, ms: when it is worth sending again. */
  readonly resetAt: number
}

/** A request that holds nothing costs too. */
const REQUEST_SAMPLES = 10
/** Bytes that cost as much as a sample, where a body holds fewer or cannot be read: far more than usual samples take. */
const SAMPLE_BYTES = 1024
/** Beyond these they share a bucket. */
const BUCKETS_MAX = 20_000

export interface Charged {
  /** Credential and address. */
  readonly key: string
  readonly tenant: string
}

export class Limits {
  readonly #limits: Record<LimitKind, RateLimit | undefined> = { sender: undefined, tenant: undefined }
  #none = true
  readonly #clock: Clock
  readonly #bucketsMax: number
  readonly #refused: Record<LimitKind, number> = { sender: 0, tenant: 0 }

  constructor(rates: Readonly<Record<LimitKind, Rate>>, clock: Clock, bucketsMax: number = BUCKETS_MAX) {
    this.#clock = clock
    this.#bucketsMax = bucketsMax
    this.change(rates)
  }

  /** Other rates from now on; debts stay. */
  change(rates: Readonly<Record<LimitKind, Rate>>): void {
    for (const kind of LIMITS) {
      const { perSecond, burstSeconds } = rates[kind]
      const limit = this.#limits[kind]
      if (perSecond === 0) this.#limits[kind] = undefined
      else if (limit !== undefined) limit.change(perSecond, burstSeconds)
      else {
        const now = (): number => this.#clock.monotonic()
        this.#limits[kind] = new RateLimit({ perSecond, burstSeconds, now, bucketsMax: this.#bucketsMax })
      }
    }
    this.#none = LIMITS.every((kind) => this.#limits[kind] === undefined)
  }

  /** Requests that were refused. */
  get refused(): Readonly<Record<LimitKind, number>> {
    return this.#refused
  }

  /** Lets a request in and charges it as one that holds nothing, or says which limit it is over. */
  admit(sender: Charged): Excess | undefined {
    if (this.#none) return undefined
    const waits = LIMITS.map((kind) => ({ kind, wait: this.#limits[kind]?.wait(bucket(kind, sender)) ?? 0 }))
    const longest = waits.reduce((a, b) => (b.wait > a.wait ? b : a))
    if (longest.wait > 0) {
      this.#refused[longest.kind]++
      return this.#excess(longest.kind, longest.wait, sender)
    }
    this.#charge(sender, REQUEST_SAMPLES)
    return undefined
  }

  /** Charges what a body turned out to hold. @param samples 0 where it could not be read */
  settle(sender: Charged, samples: number, bytes: number): void {
    if (this.#none) return
    const cost = Math.max(samples, Math.ceil(bytes / SAMPLE_BYTES))
    if (cost > REQUEST_SAMPLES) this.#charge(sender, cost - REQUEST_SAMPLES)
  }

  #charge(sender: Charged, samples: number): void {
    for (const kind of LIMITS) this.#limits[kind]?.charge(bucket(kind, sender), samples)
  }

  #excess(kind: LimitKind, wait: number, sender: Charged): Excess {
    const { perSecond, burstSeconds } = this.#limits[kind]!
    const whose = kind === 'sender' ? 'this sender' : `the tenant "${sender.tenant}"`
    const over = Math.ceil((wait / 1000) * perSecond)
    const retryAfterSeconds = Math.max(1, Math.ceil(wait / 1000))
    return {
      reason: `Too Many Requests: ${whose} may send ${perSecond} samples a second (collector.${kind}_samples_per_second) with a burst of ${burstSeconds} s, and is ${over} samples over: send this again in ${retryAfterSeconds} s`,
      retryAfterSeconds,
      resetAt: this.#clock.now() + wait,
    }
  }
}

function bucket(kind: LimitKind, sender: Charged): string {
  return kind === 'sender' ? sender.key : sender.tenant
}
