/**
 * All directories as they are at one version, in memory and unchanging: who a user belongs to, which machine a name means, what a unit
 * costs, each at a time; and the quotas.
 */
import type { Entry, EntryKind, EntryRecord } from './entry.ts'
import { ALL_TENANTS, holdsAt } from './entry.ts'
import { EntryTable } from './entry-table.ts'
import type { Membership } from './membership.ts'
import { membershipKey, memberships } from './membership.ts'
import type { NodeRecord } from './node-entry.ts'
import { nodeKey, nodes } from './node-entry.ts'
import type { Price } from './price.ts'
import { priceKey, prices } from './price.ts'
import type { Quota } from './quota.ts'
import { quotas } from './quota.ts'

/** What an event says of whom it is about. */
export interface AttributionQuery {
  readonly tenant: string
  readonly userId: string | undefined
  /** Of the event, ms. */
  readonly at: number
  readonly tags?: Readonly<Record<string, string>> | undefined
}

/** Where a part of the answer comes from. */
export type Origin = 'tag' | 'membership' | 'none'

export interface Attribution {
  readonly tenant: string
  readonly project: string | null
  readonly department: string | null
  readonly environment: string | null
  readonly costCenter: string | null
  readonly how: {
    readonly project: Origin
    readonly department: Origin
    /** The membership that was used. */
    readonly membership: string | null
    /**
     * Why that one: the project was named by a tag, it is the default, it is the only one; `latest`: of several without a default the
     * one that began last, of equal ones the first by name.
     */
    readonly chosen: 'tag' | 'default' | 'only' | 'latest' | null
    /** How many the user had at that time. */
    readonly memberships: number
  }
}

export class DirectorySnapshot {
  readonly version: number
  readonly memberships: EntryTable<Membership>
  readonly nodes: EntryTable<NodeRecord>
  readonly prices: EntryTable<Price>
  readonly quotas: EntryTable<Quota>

  constructor(
    version = 0,
    tables: Pick<DirectorySnapshot, 'memberships' | 'nodes' | 'prices' | 'quotas'> = {
      memberships: new EntryTable(memberships),
      nodes: new EntryTable(nodes),
      prices: new EntryTable(prices),
      quotas: new EntryTable(quotas),
    },
  ) {
    this.version = version
    this.memberships = tables.memberships
    this.nodes = tables.nodes
    this.prices = tables.prices
    this.quotas = tables.quotas
  }

  get size(): number {
    return this.memberships.all.length + this.nodes.all.length + this.prices.all.length + this.quotas.all.length
  }

  table(kind: EntryKind): EntryTable<EntryRecord> {
    const table = { membership: this.memberships, node: this.nodes, price: this.prices, quota: this.quotas }[kind]
    return table as unknown as EntryTable<EntryRecord> // a table gives back what its own directory put in
  }

  /** As it is after a change. */
  async with(version: number, changes: readonly KindRecord[]): Promise<DirectorySnapshot> {
    const of = <T extends EntryRecord>(kind: EntryKind): T[] =>
      changes.filter((change) => change.kind === kind).map(({ record }) => record as T)
    return new DirectorySnapshot(version, {
      memberships: await changedTable(this.memberships, of<Membership>('membership')),
      nodes: await changedTable(this.nodes, of<NodeRecord>('node')),
      prices: await changedTable(this.prices, of<Price>('price')),
      quotas: await changedTable(this.quotas, of<Quota>('quota')),
    })
  }

  /** Whose something is. A tag of the event wins over the directory, field by field. */
  attribute({ tenant, userId, at, tags = {} }: AttributionQuery): Attribution {
    const all = userId === undefined ? [] : this.memberships.under(membershipKey(tenant, userId))
    const current = all.filter((entry) => holdsAt(entry, at))
    const named = tagOf(tags, 'project')
    const [membership, chosen] = choose(current, named)
    const department = tagOf(tags, 'department')
    return {
      tenant,
      project: named ?? membership?.project ?? null,
      department: department ?? membership?.department ?? null,
      environment: tagOf(tags, 'environment') ?? null,
      costCenter: tagOf(tags, 'cost_center') ?? null,
      how: {
        project: named !== undefined ? 'tag' : membership === undefined ? 'none' : 'membership',
        department:
          department !== undefined ? 'tag' : (membership?.department ?? null) === null ? 'none' : 'membership',
        membership: membership?.id ?? null,
        chosen,
        memberships: current.length,
      },
    }
  }

  /**
   * The machine that a name means, whichever of its names that is, with or without a port: the tenant's own entry before one of all
   * tenants, one that somebody made before one that was learnt.
   */
  nodeOf(tenant: string, name: string, at: number): NodeRecord | undefined {
    const port = /^(.+):\d{1,5}$/.exec(name)
    return this.#nodeNamed(tenant, name, at) ?? (port === null ? undefined : this.#nodeNamed(tenant, port[1]!, at))
  }

  #nodeNamed(tenant: string, name: string, at: number): NodeRecord | undefined {
    const all = [tenant, ALL_TENANTS].flatMap((owner) => this.nodes.under(nodeKey(owner, name)))
    const current = all.filter((entry) => holdsAt(entry, at))
    return (current.find(({ record }) => record.source === 'explicit') ?? current[0])?.record
  }

  /** Every price of a resource that a tenant may have to pay, its own ones first. */
  pricesOf(tenant: string, resource: string): readonly Entry<Price>[] {
    return [tenant, ALL_TENANTS].flatMap((owner) => this.prices.under(priceKey(owner, resource)))
  }
}

/** An entry with the directory that it is of. */
export interface KindRecord {
  readonly kind: EntryKind
  readonly record: EntryRecord
}

async function changedTable<T extends EntryRecord>(
  table: EntryTable<T>,
  records: readonly T[],
): Promise<EntryTable<T>> {
  return records.length === 0 ? table : table.with(records)
}

function choose(
  current: readonly Entry<Membership>[],
  project: string | undefined,
): readonly [Membership | undefined, Attribution['how']['chosen']] {
  if (project !== undefined) {
    const found = current.find(({ record }) => record.project === project)?.record
    return [found, found === undefined ? null : 'tag']
  }
  if (current.length < 2) return current.length === 0 ? [undefined, null] : [current[0]!.record, 'only']
  const chosen = current.find(({ record }) => record.is_default)
  if (chosen !== undefined) return [chosen.record, 'default']
  const latest = current.reduce((a, b) => (b.from > a.from || (b.from === a.from && before(b, a)) ? b : a))
  return [latest.record, 'latest']
}

function before(a: Entry<Membership>, b: Entry<Membership>): boolean {
  return a.record.project < b.record.project
}

/** An empty tag says nothing. */
function tagOf(tags: Readonly<Record<string, string>>, name: string): string | undefined {
  const tag = Object.hasOwn(tags, name) ? tags[name] : undefined
  return tag === undefined || tag === '' ? undefined : tag
}
