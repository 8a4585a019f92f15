/**
 * Which of the events that come in are not in the owner log yet. Pure but for the look-up: exactly one log entry for each
 * (tenant, event_id).
 *
 *     under way?  ─▶ wait for that one: it may fail
 *     in the tail, or in the recent set? ─▶ repeat
 *     own time ≥ t0 ─▶ new
 *     older ─▶ one look-up in ClickHouse for all of them ─▶ repeat or new
 *
 * From the decision on, an event that is new is under way, so that a second one of the same id waits for it. The tail (what is logged
 * and not in ClickHouse yet) is asked before the look-up: what leaves it meanwhile was in ClickHouse before the look-up began, or came
 * to be after the event was under way, which cannot be.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import { timeOf } from '../store/record-rows.ts'
import type { RecentIds } from './recent-ids.ts'

export interface AdmissionOptions {
  readonly recent: () => RecentIds
  /** Whether it is logged, and its row not in ClickHouse yet. */
  readonly inTail: (key: string) => boolean
  /** Of these events, the keys of those whose rows are in ClickHouse. */
  readonly lookUp: (events: readonly ReceivedEvent[]) => Promise<ReadonlySet<string>>
  /** Appends them. Resolves when they are durable and applied. */
  readonly append: (events: readonly ReceivedEvent[]) => Promise<void>
}

/** What became of an event. */
export type Admitted = 'logged' | 'duplicate' | Refused

interface Refused {
  readonly refused: 'log' | 'look_up'
  readonly error: unknown
}

/** Identity in one text: no tenant has this character in its name. */
export function eventKey(tenant: string, eventId: string): string {
  return `${tenant}\n${eventId}`
}

export class Admission {
  readonly #options: AdmissionOptions
  /** By key, what those that wait for it become. */
  readonly #underWay = new Map<string, Promise<Admitted>>()
  #counts = { lookUps: 0, lookedUp: 0 }

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  get counts(): Readonly<{ lookUps: number; lookedUp: number }> {
    return this.#counts
  }

  /** @returns what became of each, in their order; decided in this turn for all whose time is not before t0 */
  async admit(events: readonly ReceivedEvent[]): Promise<Admitted[]> {
    const { recent, inTail } = this.#options
    const fresh: ReceivedEvent[] = []
    const old: ReceivedEvent[] = []
    let decide = (): void => {}
    const decided = new Promise<void>((resolve) => {
      decide = resolve
    })
    const appended = decided.then(() => this.#append(fresh))
    const found = decided.then(() => this.#lookUp(old))
    const known = recent()
    const outcomes = events.map((received): Admitted | Promise<Admitted> => {
      const { tenant, event } = received
      const key = eventKey(tenant, event.event_id)
      const earlier = this.#underWay.get(key)
      if (earlier !== undefined) return earlier.then((outcome) => (outcome === 'logged' ? 'duplicate' : outcome))
      if (inTail(key) || known.has(tenant, event.event_id)) return 'duplicate'
      const isNew = timeOf(received) >= known.t0
      ;(isNew ? fresh : old).push(received)
      const outcome = isNew ? appended : found.then((of) => of(key))
      this.#underWay.set(key, outcome)
      return outcome
    })
    decide()
    const settled = await Promise.all(outcomes)
    for (const { tenant, event } of [...fresh, ...old]) this.#underWay.delete(eventKey(tenant, event.event_id))
    return settled
  }

  async #append(events: readonly ReceivedEvent[]): Promise<Admitted> {
    if (events.length === 0) return 'logged'
    try {
      await this.#options.append(events)
      return 'logged'
    } catch (error) {
      return { refused: 'log', error }
    }
  }

  async #lookUp(events: readonly ReceivedEvent[]): Promise<LookedUp> {
    if (events.length === 0) return () => 'duplicate'
    this.#counts.lookUps++
    this.#counts.lookedUp += events.length
    let stored: ReadonlySet<string>
    try {
      stored = await this.#options.lookUp(events)
    } catch (error) {
      return () => ({ refused: 'look_up', error })
    }
    const fresh = events.filter(({ tenant, event }) => !stored.has(eventKey(tenant, event.event_id)))
    const outcome = fresh.length === 0 ? 'duplicate' : await this.#append(fresh)
    return (key) => (stored.has(key) ? 'duplicate' : outcome)
  }
}

type LookedUp = (key: string) => Admitted
