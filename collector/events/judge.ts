/**
 * What becomes of each item of a request: an event to keep, one that is known, a letter to keep, or refused. An item that is
 * kept is a line of JSON from here on, in the journal and in batches.
 */
import type { CheckContext, Checked, Fault, FaultCode, NodeFields } from '../../proto/events/check.ts'
import { checkEvent } from '../../proto/events/check.ts'
import type { ReceivedItem, Road } from '../../proto/events/event.ts'
import type { PersonalPolicy } from '../../proto/events/personal.ts'
import { keptRaw } from '../../proto/events/personal.ts'
import { uuidV5 } from '../../proto/events/uuid.ts'
import { chooseTenant } from '../../proto/runtime/tenants.ts'
import { eventLine } from '../../proto/wire/event-batch.ts'
import type { EventDoor } from '../journal/record.ts'
import type { EntryLimits } from './entries.ts'
import { readEntries } from './entries.ts'
import type { Entry } from './entry.ts'
import type { IncomingEvents } from './incoming.ts'
import type { RecentIds } from './recent-ids.ts'

export interface JudgeOptions extends EntryLimits {
  /** An event may be this much ahead of our clock, ms. */
  readonly futureMaxMs: number
  /** What this machine is, for its own events. */
  readonly node: NodeFields
}

/** What became of an item. `position`: it stands behind so many items of the journal. */
export type Result =
  | { readonly kind: 'accepted' | 'duplicate' | 'letter'; readonly id: string; readonly position: number }
  | { readonly kind: 'refused'; readonly id: string | undefined; readonly faults: readonly Fault[] }
  | { readonly kind: 'error'; readonly code: number; readonly message: string }

/** A request that could be read. */
export interface Judged {
  readonly entries: readonly Entry[]
  readonly results: readonly Result[]
  /** Of the items that are kept, in the order of their positions. */
  readonly lines: readonly string[]
  /** Ids that were added to the known ones. */
  readonly added: readonly (readonly [tenant: string, id: string])[]
  readonly letters: readonly FaultCode[]
  readonly coerced: number
}

const ROADS: Readonly<Record<EventDoor, Road>> = {
  events: 'http',
  cloud_events: 'cloudevents',
  kafka_rest: 'kafka_rest',
}
/** Of letters, which have no id of their own. */
const NAMESPACE = '9a4c1d7e5f2b5c3d8e6f0a1b2c3d4e5f'

/**
 * @param at arrival, µs. @param position of the first item that is kept
 * @param tenants that events named before, and that the configuration does not; added to
 * @throws BadBody when nothing can be used
 */
export function judge(
  incoming: IncomingEvents,
  at: number,
  position: number,
  options: JudgeOptions,
  personal: PersonalPolicy,
  recent: RecentIds,
  tenants: Set<string>,
): Judged {
  const entries = readEntries(incoming, options)
  return new Judge(incoming, at, position, options, personal, recent, tenants).all(entries)
}

class Judge {
  readonly #incoming: IncomingEvents
  readonly #at: number
  readonly #options: JudgeOptions
  readonly #personal: PersonalPolicy
  readonly #recent: RecentIds
  readonly #tenants: Set<string>
  readonly #context: CheckContext
  readonly #lines: string[] = []
  readonly #added: [string, string][] = []
  readonly #letters: FaultCode[] = []
  #position: number
  #coerced = 0

  constructor(
    incoming: IncomingEvents,
    at: number,
    position: number,
    options: JudgeOptions,
    personal: PersonalPolicy,
    recent: RecentIds,
    tenants: Set<string>,
  ) {
    this.#incoming = incoming
    this.#at = at
    this.#position = position
    this.#options = options
    this.#personal = personal
    this.#recent = recent
    this.#tenants = tenants
    this.#context = {
      tenant: incoming.tenant,
      choose: (asked) => this.#chosen(asked),
      newest: at / 1000 + options.futureMaxMs,
      personal,
      node: incoming.local ? options.node : undefined,
    }
  }

  all(entries: readonly Entry[]): Judged {
    const results = entries.map((entry) => this.#one(entry))
    return {
      entries,
      results,
      lines: this.#lines,
      added: this.#added,
      letters: this.#letters,
      coerced: this.#coerced,
    }
  }

  #one(entry: Entry): Result {
    if (entry.error !== undefined) return { kind: 'error', ...entry.error }
    const checked = this.#check(entry)
    if ('faults' in checked) return this.#notAnEvent(entry, checked.faults)
    const { event, topic, coerced } = checked
    const { tenant_id: tenant, event_id: id } = event
    const known = this.#recent.position(tenant, id)
    if (known !== undefined) return { kind: 'duplicate', id, position: known }
    const line = eventLine({ ...this.#way(tenant, topic, entry), event })
    const { itemBytesMax } = this.#options
    if (line.length > itemBytesMax) return this.#notAnEvent(entry, [tooLarge(line.length, itemBytesMax)])
    this.#coerced += coerced
    if (!isNamed(this.#incoming, tenant)) this.#tenants.add(tenant)
    return { kind: 'accepted', id, position: this.#keep(tenant, id, line) }
  }

  #check({ raw, fault, time }: Entry): Checked {
    if (fault !== undefined) return { faults: [fault] }
    return checkEvent(raw, time === undefined ? this.#context : { ...this.#context, fallbackTime: time })
  }

  /** Kafka's producers would drop what is refused: there it is kept as a letter, under the tenant of who sent it. */
  #notAnEvent(entry: Entry, faults: readonly Fault[]): Result {
    if (this.#incoming.door !== 'kafka_rest') return { kind: 'refused', id: idOf(entry.raw), faults }
    const { tenant, topic } = this.#incoming
    const raw = this.#rawOf(entry, tenant).toString('base64')
    const id = uuidV5(NAMESPACE, JSON.stringify([tenant, topic, raw]))
    const known = this.#recent.position(tenant, id)
    if (known !== undefined) return { kind: 'duplicate', id, position: known }
    const [first] = faults as [Fault]
    const reason = faults.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ')
    this.#letters.push(first.code)
    const line = eventLine({ ...this.#way(tenant, topic, entry), dead: { id, code: first.code, reason, raw } })
    return { kind: 'letter', id, position: this.#keep(tenant, id, line) }
  }

  /** A sender that may name any tenant must not wear out what is kept for each. */
  #chosen(asked: string): { tenant: string } | { reason: string } {
    const { grant, tenantsMax } = this.#incoming
    const found = chooseTenant(grant, asked)
    // Those texts are about the header.
    if ('reason' in found) return { reason: found.reason.replace(/^X-Scope-OrgID/, 'it') }
    const { tenant } = found
    if (isNamed(this.#incoming, tenant) || this.#tenants.has(tenant) || this.#tenants.size < tenantsMax) return found
    return { reason: `"${tenant}" would be one tenant more than this collector takes: raise collector.tenants_max` }
  }

  #keep(tenant: string, id: string, line: string): number {
    const position = this.#position++
    this.#recent.add(tenant, id, position)
    this.#added.push([tenant, id])
    this.#lines.push(line)
    return position
  }

  #way(tenant: string, topic: string, { key, partition }: Entry): Omit<ReceivedItem, 'event' | 'dead'> {
    const road = ROADS[this.#incoming.door]
    const way = { tenant, at: this.#at, road, topic: this.#incoming.topic || topic }
    if (key === undefined && partition === undefined) return way
    return { ...way, ...(key === undefined ? {} : { key }), ...(partition === undefined ? {} : { partition }) }
  }

  #rawOf({ raw, text }: Entry, tenant: string): Buffer {
    const bytes = Buffer.from(text ?? (raw === null ? '' : (JSON.stringify(raw) ?? '')))
    return keptRaw(raw, bytes, this.#personal.of(tenant)).subarray(0, this.#options.itemBytesMax)
  }
}

/** The configuration names it, or the sender is of it. */
function isNamed({ tenant, grant }: IncomingEvents, asked: string): boolean {
  return asked === tenant || asked === grant.tenant || grant.tenants.includes(asked)
}

function tooLarge(length: number, max: number): Fault {
  const message = `the event takes ${length} bytes, of at most ${max} (collector.event_bytes_max)`
  return { field: '', code: 'too_large', message }
}

/** As far as it can be told, so that a sender finds it again. */
function idOf(raw: unknown): string | undefined {
  if (typeof raw !== 'object' || raw === null) return undefined
  const id = (raw as { event_id?: unknown }).event_id
  return typeof id === 'string' && id.length <= ID_CHARS_SHOWN ? id : undefined
}

const ID_CHARS_SHOWN = 100
