/**
 * Who sends, what of it was taken and what was not: counted at the doors, by sender (tenant, credential, address) and door.
 *
 * Counters begin at zero with the process. There is a bound on senders: one that was quiet makes room; where none was, or for those
 * without a valid token beyond a few, addresses are counted together as `(other)`.
 */
import type { Door } from '../journal/record.ts'
import type { Refusal } from '../shard/refusals.ts'

/** Where a request comes from, as a tenant may know it: no secret, and nothing made of one. */
export interface Origin {
  readonly tenant: string
  /** Without the port. */
  readonly address: string
  /** `admin`, `key:` and its name, `none` where none is needed; `missing` where one is, `invalid` when nobody has it. */
  readonly credential: string
}

/** What one sender sent through one door. */
export interface SenderCounts extends Origin {
  readonly door: Door
  samplesReceived: number
  readonly samplesRefused: Map<Refusal, number>
  /** By outcome: `ok`, why it was not let in, or the code of a rejection or retry. */
  readonly requests: Map<string, number>
  /** Of the last request; wall clock, ms. */
  lastSeen: number
}

/** Samples of a request that was read. */
export interface ReadSamples {
  readonly received: number
  readonly refused: readonly (readonly [reason: Refusal, count: number])[]
}

const SENDERS_MAX = 1000
/** Anybody can be one of those. */
const STRANGERS_MAX = 50
const QUIET_MS = 300_000
const FORGOTTEN_MS = 3_600_000
const OTHER = '(other)'
const NOTHING: ReadSamples = { received: 0, refused: [] }

export class Senders {
  readonly #now: () => number
  readonly #sendersMax: number
  readonly #senders = new Map<string, SenderCounts>()
  #strangers = 0

  /** @param now wall clock, ms */
  constructor(now: () => number, sendersMax: number = SENDERS_MAX) {
    this.#now = now
    this.#sendersMax = sendersMax
  }

  /** Counts a request that has been answered. */
  add(origin: Origin, door: Door, outcome: string, samples: ReadSamples = NOTHING): void {
    const counts = this.#of(origin, door)
    counts.lastSeen = this.#now()
    counts.requests.set(outcome, (counts.requests.get(outcome) ?? 0) + 1)
    counts.samplesReceived += samples.received
    for (const [reason, count] of samples.refused)
      counts.samplesRefused.set(reason, (counts.samplesRefused.get(reason) ?? 0) + count)
  }

  /** All of them, but those that sent nothing for an hour: they are forgotten. */
  current(): readonly SenderCounts[] {
    const oldest = this.#now() - FORGOTTEN_MS
    for (const [key, { lastSeen }] of this.#senders) if (lastSeen < oldest) this.#forget(key)
    return [...this.#senders.values()]
  }

  #of(origin: Origin, door: Door): SenderCounts {
    const key = keyOf(origin, door)
    const known = this.#senders.get(key)
    if (known !== undefined) return known
    const { tenant, address, credential } = origin
    if (address !== OTHER && !this.#hasRoom(origin)) return this.#of({ tenant, address: OTHER, credential }, door)
    const fresh: SenderCounts = {
      tenant,
      address,
      credential,
      door,
      samplesReceived: 0,
      samplesRefused: new Map(),
      requests: new Map(),
      lastSeen: 0,
    }
    this.#senders.set(key, fresh)
    if (isStranger(origin)) this.#strangers++
    return fresh
  }

  #hasRoom(origin: Origin): boolean {
    if (isStranger(origin) && this.#strangers >= STRANGERS_MAX) return false
    if (this.#senders.size < this.#sendersMax) return true
    let oldest: string | undefined
    let at = Number.POSITIVE_INFINITY
    for (const [key, { lastSeen }] of this.#senders) {
      if (lastSeen >= at) continue
      oldest = key
      at = lastSeen
    }
    if (oldest === undefined || at > this.#now() - QUIET_MS) return false
    this.#forget(oldest)
    return true
  }

  #forget(key: string): void {
    const counts = this.#senders.get(key)
    if (counts !== undefined && isStranger(counts)) this.#strangers--
    this.#senders.delete(key)
  }
}

function isStranger({ credential }: Origin): boolean {
  return credential === 'invalid' || credential === 'missing'
}

/** Only the credential may have blanks. */
function keyOf({ tenant, credential, address }: Origin, door: Door): string {
  return `${tenant} ${credential} ${address} ${door}`
}
