/**
 * What came in, made an event, or the reasons why it is none, field by field. Pure: the same of the same, on whichever road.
 *
 *     raw ─▶ spelling ─▶ types (coerced where that is unambiguous) ─▶ envelope filled in ─▶ required fields
 *         ─▶ id, where there is none ─▶ the node's own fields ─▶ personal data ─▶ event
 *
 * An id is made of what came, before fields of the node and the tenant's choice of personal data: neither may make a retry
 * another event.
 */
import { canonicalJson, isTooDeep } from './canonical.ts'
import type { EventKind } from './catalogue.ts'
import { CATALOGUE, OTHER_KIND, SPELLINGS, TYPE_NAMES } from './catalogue.ts'
import type { FleetEvent } from './event.ts'
import type { PersonalPolicy } from './personal.ts'
import { digestOf, isDigest } from './personal.ts'
import { readUuid, uuidV5 } from './uuid.ts'
import { isoTime, readTime, readValue, Wrong } from './values.ts'

/** Why something is no event; closed: each is the label of a counter. */
export const FAULT_CODES = [
  'malformed',
  'missing_field',
  'wrong_type',
  'bad_name',
  'unknown_tenant',
  'too_new',
  'too_old',
  'too_deep',
  'too_large',
  'tombstone',
] as const
export type FaultCode = (typeof FAULT_CODES)[number]

export interface Fault {
  /** '' where it is about all of it. */
  readonly field: string
  readonly code: FaultCode
  /** For a person: what is wrong, and what is expected. Nothing personal. */
  readonly message: string
}

/** What a container knows of its machine; '' where it does not. */
export interface NodeFields {
  readonly node_id: string
  readonly vm_type: string
  readonly host_name: string
  readonly storage_size: number | ''
  readonly storage_type: string
}

export interface CheckContext {
  /** Of an event that names none. */
  readonly tenant: string
  /** Of one that names another. @returns the tenant, or why it may not be */
  readonly choose: (asked: string) => { readonly tenant: string } | { readonly reason: string }
  /** Of an event that has neither `timestamp` nor `created`, ms; undefined: that is a fault. */
  readonly fallbackTime?: number | undefined
  /** No event is later, ms. */
  readonly newest: number
  readonly personal: PersonalPolicy
  /** Where the event comes from this machine. */
  readonly node?: NodeFields | undefined
}

export type Checked =
  | {
      readonly event: FleetEvent
      readonly topic: string
      /** Values that were read as what they stand for. */
      readonly coerced: number
    }
  | { readonly faults: readonly Fault[] }

/** `system.component.action`, and a note where one is needed. */
const TYPE_FORM = /^[a-z0-9_]+(\.[a-z0-9_]+){2,3}$/
const TYPE_CHARS_MAX = 200
const FIELDS_MAX = 500
/** Of what has no id of its own. */
const NAMESPACE = '6b1f5b0c3f0e5d0a9d7e2c4a8b6f1e3d'
const OLDEST = 0
const ENVELOPE_BEFORE: ReadonlySet<string> = new Set(['event_id', 'event_type', 'timestamp', 'tenant_id'])

export function checkEvent(raw: unknown, context: CheckContext): Checked {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    return { faults: [{ field: '', code: 'malformed', message: `expected a JSON object, got ${nameOf(raw)}` }] }
  return new Check(raw as Record<string, unknown>, context).run()
}

/** One event on its way through; its state is what was found so far. */
class Check {
  readonly #raw: Readonly<Record<string, unknown>>
  readonly #context: CheckContext
  readonly #faults: Fault[] = []
  #coerced = 0
  #personal: string[] = []

  constructor(raw: Readonly<Record<string, unknown>>, context: CheckContext) {
    this.#raw = raw
    this.#context = context
  }

  run(): Checked {
    const type = this.#type()
    const kind = CATALOGUE.get(type) ?? OTHER_KIND
    const out: Record<string, unknown> = {
      event_id: this.#id(),
      event_type: type,
      timestamp: this.#time(),
      tenant_id: this.#tenant(),
      source: '',
      version: '1.0',
    }
    this.#fields(kind, out)
    for (const name of kind.required) if (out[name] === undefined) this.#missing(name, type)
    if (this.#faults.length > 0) return { faults: this.#faults }
    if (out['event_id'] === '') out['event_id'] = derivedId(out)
    if (kind.ofNode && this.#context.node !== undefined) fillNode(out, this.#context.node)
    this.#keepPersonal(out)
    // Every field of the envelope was set above, and is of its type.
    return { event: out as unknown as FleetEvent, topic: kind.topic, coerced: this.#coerced }
  }

  #type(): string {
    const given = this.#raw['event_type']
    if (given === undefined || given === null || given === '') {
      this.#fault('event_type', 'missing_field', 'every event has a type, such as "xumi.generation.start"')
      return ''
    }
    const type = typeof given === 'string' ? (TYPE_NAMES.get(given) ?? given) : ''
    if (type.length > TYPE_CHARS_MAX || !TYPE_FORM.test(type))
      this.#fault(
        'event_type',
        'bad_name',
        `expected 3 or 4 parts of lower case letters, digits and underscores, with dots between, got ${shown(given)}`,
      )
    return type
  }

  /** '' where it has none. */
  #id(): string {
    const given = this.#raw['event_id']
    if (given === undefined || given === null || given === '') return ''
    const id = typeof given === 'string' ? readUuid(given) : undefined
    if (id === undefined) this.#fault('event_id', 'wrong_type', `expected a UUID, got ${shown(given)}`)
    return id ?? ''
  }

  #time(): string {
    const named = isGiven(this.#raw['timestamp']) ? 'timestamp' : 'created'
    const given = this.#raw[named]
    if (!isGiven(given)) {
      const { fallbackTime } = this.#context
      if (fallbackTime !== undefined) return this.#inBounds('timestamp', fallbackTime, undefined)
      this.#fault('timestamp', 'missing_field', 'every event has a time, such as "2026-01-31T12:00:00.000Z"')
      return ''
    }
    const ms = readTime(given)
    if (ms !== undefined) return this.#inBounds(named, ms, given)
    this.#fault(named, 'wrong_type', `expected ${TIME}, got ${shown(given)}`)
    return ''
  }

  #inBounds(field: string, ms: number, given: unknown): string {
    const { newest } = this.#context
    if (ms >= OLDEST && ms <= newest) return isoTime(given, ms)
    const what = given === undefined ? ms : shown(given)
    if (ms > newest) this.#fault(field, 'too_new', `${what} is further in the future than clocks may differ`)
    else this.#fault(field, 'too_old', `${what} is before 1970`)
    return ''
  }

  #tenant(): string {
    const given = this.#raw['tenant_id']
    const { tenant, choose } = this.#context
    if (!isGiven(given) || given === tenant) return tenant
    if (typeof given !== 'string') {
      this.#fault('tenant_id', 'wrong_type', `expected the name of a tenant, got ${shown(given)}`)
      return tenant
    }
    const chosen = choose(given)
    if ('tenant' in chosen) return chosen.tenant
    this.#fault('tenant_id', 'unknown_tenant', chosen.reason)
    return tenant
  }

  #fields({ fields }: EventKind, out: Record<string, unknown>): void {
    const raw = this.#raw
    const names = Object.keys(raw)
    if (names.length > FIELDS_MAX) {
      this.#fault('', 'too_large', `it has ${names.length} fields, of at most ${FIELDS_MAX}`)
      return
    }
    for (const given of names) {
      if (ENVELOPE_BEFORE.has(given)) continue
      const name = spelled(given, raw)
      const value = raw[given]
      const field = fields.get(name)
      if (field === undefined) {
        if (isTooDeep(value)) this.#fault(given, 'too_deep', 'it is nested too deeply')
        else put(out, name, value)
        continue
      }
      if (value === null || value === undefined) continue
      if (field.personal) this.#personal.push(name)
      const read = field.personal && isDigest(value) ? value : readValue(field.type, value)
      if (read instanceof Wrong) {
        const got = field.personal ? nameOf(value) : shown(value)
        if (!this.#faults.some((fault) => fault.field === given))
          this.#fault(given, read.code, `expected ${read.expected}, got ${got}`)
      } else if (read !== undefined) {
        if (read !== value && isCoercion(field.type, value)) this.#coerced++
        out[name] = read
      }
    }
  }

  #missing(name: string, type: string): void {
    // A field that is wrong is told as that.
    if (this.#faults.some((fault) => spelled(fault.field, this.#raw) === name)) return
    this.#fault(name, 'missing_field', `an event of type "${type}" has this field`)
  }

  #keepPersonal(out: Record<string, unknown>): void {
    if (this.#personal.length === 0) return
    const policy = this.#context.personal.of(out['tenant_id'] as string)
    for (const name of this.#personal) {
      const keep = policy.get(name) ?? 'whole'
      if (keep === 'drop') delete out[name]
      else if (keep === 'digest' && out[name] !== undefined) out[name] = digestOf(out[name])
    }
  }

  #fault(field: string, code: FaultCode, message: string): void {
    this.#faults.push({ field, code, message })
  }
}

const TIME = 'a time such as "2026-01-31T12:00:00.000Z"'
const SHOWN_CHARS = 100

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ''
}

/** The name of a field, by the seed's spelling of it too, unless both are there. */
function spelled(given: string, raw: Readonly<Record<string, unknown>>): string {
  const name = SPELLINGS.get(given)
  return name === undefined || Object.hasOwn(raw, name) ? given : name
}

/** Whatever a field is called, `__proto__` too. */
function put(out: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(out, name, { value, enumerable: true, writable: true, configurable: true })
  else out[name] = value
}

/** Texts that stand for numbers, times and the like are what they are for; only what is of another type was coerced. */
function isCoercion(type: string, value: unknown): boolean {
  if (typeof value === 'string') return type === 'number' || type === 'bool'
  return typeof value === 'number' && (type === 'string' || type === 'id')
}

function derivedId(out: Readonly<Record<string, unknown>>): string {
  const { event_id: _, ...body } = out
  const name = [out['source'], out['event_type'], out['task_id'] ?? null, out['created'] ?? out['timestamp'], body]
  return uuidV5(NAMESPACE, canonicalJson(name))
}

function fillNode(out: Record<string, unknown>, node: NodeFields): void {
  if (out['node_id'] !== undefined && out['node_id'] !== node.node_id) return // of another machine
  for (const [name, value] of Object.entries(node)) if (value !== '' && out[name] === undefined) out[name] = value
}

function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return nameOf(value)
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
