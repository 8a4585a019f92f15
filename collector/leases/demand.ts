/**
 * Who is asked for here, how much, and so how large a slice should be: what some seconds need, at least two of the largest requests.
 * One request alone is no demand: what is asked once an hour is decided by an aggregator.
 */
import type { LeaseAsked, Said, SliceAmount } from '../../proto/quotas/lease-round.ts'

/** Over this long a demand fades to a third, ms. */
const FADES_MS = 5000
/** A slice is for so long, ms … */
const AHEAD_MS = 3000
/** … and at least so many of the largest requests. */
const LARGEST_TIMES = 2
/** Requests, faded, from which on there is a demand. */
const REQUESTS_MIN = 1.5
/** What is left of a slice is topped up below this share of what it should be. */
const LOW = 0.5
const FORGOTTEN_MS = 30_000
const KNOWN_MAX = 20_000

interface Wanted {
  /** Faded. */
  sum: number
  largest: number
}

interface OfOne {
  readonly tenant: string
  readonly said: Said
  requests: number
  at: number
  readonly byResource: Map<string, Wanted>
}

export class Demand {
  /** Those asked for last at the end. */
  readonly #known = new Map<string, OfOne>()

  /** @param now monotonic, ms */
  note(tenant: string, said: Said, amounts: readonly SliceAmount[], now: number): void {
    const key = whoKey(tenant, said)
    const one: OfOne = this.#known.get(key) ?? { tenant, said, requests: 0, at: now, byResource: new Map() }
    fade(one, now)
    one.requests++
    for (const { resource, amount } of amounts) {
      const wanted = one.byResource.get(resource)
      if (wanted === undefined) one.byResource.set(resource, { sum: amount, largest: amount })
      else {
        wanted.sum += amount
        wanted.largest = Math.max(wanted.largest, amount)
      }
    }
    this.#known.delete(key)
    this.#known.set(key, one)
    if (this.#known.size > KNOWN_MAX) for (const oldest of this.#known.keys()) return void this.#known.delete(oldest)
  }

  /** What is to be asked for. @param leftOf of a slice that is there, by {@link whoKey} @param now monotonic, ms */
  asks(leftOf: (key: string, resource: string) => number, now: number, max: number): LeaseAsked[] {
    const asks: LeaseAsked[] = []
    for (const [key, one] of this.#known) {
      if (now - one.at > FORGOTTEN_MS) {
        this.#known.delete(key)
        continue
      }
      if (asks.length >= max) break
      const faded = Math.exp(-(now - one.at) / FADES_MS)
      if (one.requests * faded < REQUESTS_MIN) continue
      const wanted = Array.from(one.byResource, ([resource, { sum, largest }]) => ({
        resource,
        amount: Math.ceil(Math.max(LARGEST_TIMES * largest, (sum * faded * AHEAD_MS) / FADES_MS)),
      }))
      if (wanted.every(({ resource, amount }) => leftOf(key, resource) >= amount * LOW)) continue
      const least = Array.from(one.byResource, ([resource, { largest }]) => ({ resource, amount: largest }))
      asks.push({ tenant: one.tenant, said: one.said, wanted, least })
    }
    return asks
  }
}

/** The same for the same tenant and names. */
export function whoKey(tenant: string, { userId, project, department }: Said): string {
  return `${tenant}\n${userId}\n${project}\n${department}` // none of them has a control character
}

function fade(one: OfOne, now: number): void {
  const faded = Math.exp(-(now - one.at) / FADES_MS)
  one.at = now
  one.requests *= faded
  for (const [resource, wanted] of one.byResource) {
    wanted.sum *= faded
    // The largest fades too, far slower: sizes of requests change.
    wanted.largest = Math.ceil(wanted.largest * faded ** 0.1)
    if (wanted.sum < 0.01) one.byResource.delete(resource)
  }
}
