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
  /** All three in one text; kept where one sends again and again. */
  readonly name?: string
}

/** What one sender sent through one door. */
export interface SenderCounts extends Omit<Origin, 'name'> {
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
  /** By origin's name, then door. */
  readonly #senders = new Map<string, Map<Door, SenderCounts>>()
  #size = 0
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
    for (const counts of this.#all()) if (counts.lastSeen < oldest) this.#forget(counts)
    return this.#all()
  }

  #all(): SenderCounts[] {
    return [...this.#senders.values()].flatMap((doors) => [...doors.values()])
  }

  #of(origin: Origin, door: Door): SenderCounts {
    const name = origin.name ?? nameOf(origin)
    const known = this.#senders.get(name)?.get(door)
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
    const doors = this.#senders.get(name)
    if (doors === undefined) this.#senders.set(name, new Map([[door, fresh]]))
    else doors.set(door, fresh)
    this.#size++
    if (isStranger(origin)) this.#strangers++
    return fresh
  }

  #hasRoom(origin: Origin): boolean {
    if (isStranger(origin) && this.#strangers >= STRANGERS_MAX) return false
    if (this.#size < this.#sendersMax) return true
    let oldest: SenderCounts | undefined
    for (const counts of this.#all())
      if (counts.lastSeen < (oldest?.lastSeen ?? Number.POSITIVE_INFINITY)) oldest = counts
    if (oldest === undefined || oldest.lastSeen > this.#now() - QUIET_MS) return false
    this.#forget(oldest)
    return true
  }

  #forget(counts: SenderCounts): void {
    const name = nameOf(counts)
    const doors = this.#senders.get(name)
    if (doors?.delete(counts.door) !== true) return
    if (doors.size === 0) this.#senders.delete(name)
    this.#size--
    if (isStranger(counts)) this.#strangers--
  }
}

function isStranger({ credential }: Pick<Origin, 'credential'>): boolean {
  return credential === 'invalid' || credential === 'missing'
}

/** With the name that it would be given each time. */
export function namedOrigin(origin: Omit<Origin, 'name'>): Origin {
  return { ...origin, name: nameOf(origin) }
}

/** Only the credential may have blanks. */
function nameOf({ tenant, credential, address }: Omit<Origin, 'name'>): string {
  return `${tenant} ${credential} ${address}`
}
