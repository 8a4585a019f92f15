/**
 * The series that this aggregator knows, each under a number (its slot): identity, name and labels once, whoever sends it.
 *
 *     (tenant, id) ──▶ slot ──▶ name, labels
 *     (tenant, name) ──▶ slots, for queries
 *     (tenant, group) ──▶ slots, for who asks for the series of one thing, such as a node
 *
 * A slot is free again when nothing refers to it: no recent points, no collector's dictionary.
 */
import { LRUCache } from 'lru-cache'
import type { Label, SeriesId } from '../../proto/wire/labels.ts'

export interface SeriesInfo {
  readonly tenant: string
  readonly id: SeriesId
  readonly name: string
  /** In canonical order. */
  readonly labels: readonly Label[]
}

/** Texts kept to be shared: the same label names and values stand on thousands of series. */
const SHARED_TEXTS = 200_000

/** Names of the groups that a series is in. */
export type SeriesGroups = (name: string, labels: readonly Label[]) => readonly string[]

/** Series of one thing, such as a node. */
export interface SeriesGroup {
  readonly tenant: string
  readonly name: string
  readonly slots: ReadonlySet<number>
}

class Group implements SeriesGroup {
  readonly tenant: string
  readonly name: string
  readonly slots = new Set<number>()
  /** The list of a series that is in this group only, as nearly all are that are in any. */
  readonly alone: readonly Group[] = [this]

  constructor(tenant: string, name: string) {
    this.tenant = tenant
    this.name = name
  }
}

const NO_GROUPS: readonly Group[] = []

export class SeriesRegistry {
  readonly #groupsOf: SeriesGroups
  readonly #slots: (SeriesInfo | undefined)[] = []
  #idWords: Uint32Array = new Uint32Array(4096)
  readonly #tenants: string[] = []
  /** Labels as JSON, made when first asked for. */
  readonly #json: (string | undefined)[] = []
  readonly #free: number[] = []
  readonly #byKey = new Map<string, number>()
  readonly #byName: SlotsBy = new Map()
  readonly #byGroup = new Map<string, Map<string, Group>>()
  /** Of each slot; for series of the same groups mostly the same list. */
  readonly #groups: (readonly Group[])[] = []
  readonly #texts = new LRUCache<string, string>({ max: SHARED_TEXTS })
  #collisions = 0

  constructor(groupsOf: SeriesGroups = () => []) {
    this.#groupsOf = groupsOf
  }

  /** Series known. */
  get count(): number {
    return this.#byKey.size
  }

  /** Slots ever in use at a time; every slot is below. */
  get slots(): number {
    return this.#slots.length
  }

  /** Series with equal ids and different labels: cannot happen, and is counted so that it would be seen. */
  get collisions(): number {
    return this.#collisions
  }

  /** The slot of a series; it gets one when it is new. */
  slotOf(info: SeriesInfo): number {
    const key = keyOf(info.tenant, info.id)
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      if (!sameSeries(this.#slots[known]!, info)) this.#collisions++
      return known
    }
    const slot = this.#free.pop() ?? this.#slots.length
    const share = (text: string): string => this.#share(text)
    const stored: SeriesInfo = {
      tenant: share(info.tenant),
      id: info.id,
      name: share(info.name),
      labels: info.labels.map(([k, v]): Label => [share(k), share(v)]),
    }
    this.#slots[slot] = stored
    this.#keepId(slot, info.id)
    this.#tenants[slot] = stored.tenant
    this.#byKey.set(key, slot)
    slotsIn(this.#byName, stored.tenant, stored.name).add(slot)
    this.#groups[slot] = this.#join(stored, slot)
    return slot
  }

  /** @param slot in use */
  get(slot: number): SeriesInfo {
    return this.#slots[slot]!
  }

  /** The ids of all slots: four words each, low first. Valid until a series is new. */
  get idWords(): Uint32Array {
    return this.#idWords
  }

  /** The tenants of all slots. */
  get tenants(): readonly string[] {
    return this.#tenants
  }

  /** The labels of a slot as compact JSON: what answers are ordered by. */
  labelsJson(slot: number): string {
    this.#json[slot] ??= labelsJson(this.get(slot).labels)
    return this.#json[slot]
  }

  has(slot: number): boolean {
    return this.#slots[slot] !== undefined
  }

  /** Slots of a metric whose labels hold all of `filter`. */
  matching(tenant: string, name: string, filter: readonly Label[]): number[] {
    const slots = this.#byName.get(tenant)?.get(name)
    if (slots === undefined) return []
    if (filter.length === 0) return [...slots]
    const out: number[] = []
    for (const slot of slots) if (holds(this.#slots[slot]!.labels, filter)) out.push(slot)
    return out
  }

  /** Slots of a group's series. */
  inGroup(tenant: string, group: string): Iterable<number> {
    return this.#byGroup.get(tenant)?.get(group)?.slots ?? []
  }

  /** What a slot's series is in; the same list for most series that are in the same. @param slot in use */
  groupsAt(slot: number): readonly SeriesGroup[] {
    return this.#groups[slot]!
  }

  /** Names of metrics with at least one series. */
  names(tenant: string): string[] {
    return [...(this.#byName.get(tenant)?.keys() ?? [])]
  }

  /** How many series a metric has. */
  seriesOf(tenant: string, name: string): number {
    return this.#byName.get(tenant)?.get(name)?.size ?? 0
  }

  /** Tenants with at least one series. */
  knownTenants(): string[] {
    return [...this.#byName.keys()]
  }

  release(slot: number): void {
    const info = this.#slots[slot]
    if (info === undefined) return
    this.#byKey.delete(keyOf(info.tenant, info.id))
    forget(this.#byName, info.tenant, info.name, slot)
    this.#leave(slot)
    this.#slots[slot] = undefined
    this.#json[slot] = undefined
    this.#free.push(slot)
  }

  #join({ tenant, name, labels }: SeriesInfo, slot: number): readonly Group[] {
    const names = new Set(this.#groupsOf(name, labels))
    if (names.size === 0) return NO_GROUPS
    const known = this.#byGroup.get(tenant) ?? new Map<string, Group>()
    this.#byGroup.set(tenant, known)
    const groups = [...names].map((one) => {
      const group = known.get(one) ?? new Group(tenant, one)
      known.set(one, group)
      group.slots.add(slot)
      return group
    })
    return groups.length === 1 ? groups[0]!.alone : groups
  }

  #leave(slot: number): void {
    for (const { tenant, name, slots } of this.#groups[slot]!) {
      slots.delete(slot)
      const known = this.#byGroup.get(tenant)
      if (slots.size === 0) known?.delete(name)
      if (known?.size === 0) this.#byGroup.delete(tenant)
    }
    this.#groups[slot] = NO_GROUPS
  }

  #keepId(slot: number, id: SeriesId): void {
    if (slot * 4 >= this.#idWords.length) {
      const grown = new Uint32Array(Math.max(this.#idWords.length * 2, slot * 4 + 4))
      grown.set(this.#idWords)
      this.#idWords = grown
    }
    new Uint8Array(this.#idWords.buffer).set(id, slot * 16)
  }

  #share(text: string): string {
    const shared = this.#texts.get(text)
    if (shared !== undefined) return shared
    this.#texts.set(text, text)
    return text
  }
}

type SlotsBy = Map<string, Map<string, Set<number>>>

function slotsIn(by: SlotsBy, tenant: string, name: string): Set<number> {
  const names = by.get(tenant) ?? new Map<string, Set<number>>()
  by.set(tenant, names)
  const slots = names.get(name) ?? new Set<number>()
  names.set(name, slots)
  return slots
}

function forget(by: SlotsBy, tenant: string, name: string, slot: number): void {
  const names = by.get(tenant)
  const slots = names?.get(name)
  slots?.delete(slot)
  if (slots?.size === 0) names?.delete(name)
  if (names?.size === 0) by.delete(tenant)
}

/** Whether labels contain each of the wanted ones. */
export function holds(labels: readonly Label[], wanted: readonly Label[]): boolean {
  return wanted.every(([key, value]) => labels.some(([k, v]) => k === key && v === value))
}

/** The order in which answers list series: byte order of the labels as compact JSON. */
export function labelsJson(labels: readonly (readonly [key: string, value: string | null])[]): string {
  return `{${labels.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`
}

function keyOf(tenant: string, id: SeriesId): string {
  return String.fromCharCode(...id) + tenant
}

function sameSeries(a: SeriesInfo, b: SeriesInfo): boolean {
  return (
    a.name === b.name &&
    a.labels.length === b.labels.length &&
    a.labels.every(([k, v], i) => k === b.labels[i]![0] && v === b.labels[i]![1])
  )
}
