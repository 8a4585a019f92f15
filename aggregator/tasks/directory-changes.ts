/** Which figures a change of the directories may change: what they were made by is older than an entry about them. */
import type { Entry, EntryRecord } from '../directory/entry.ts'
import { ALL_TENANTS } from '../directory/entry.ts'
import { namesOf } from '../directory/node-entry.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { Account } from './accounts.ts'
import type { ArchivedAttempt } from './archive-sweep.ts'
import type { TaskRecord } from './task-record.ts'

export class DirectoryChanges {
  readonly #directory: DirectorySnapshot

  constructor(directory: DirectorySnapshot) {
    this.#directory = directory
  }

  /** @param recordOf asked where it matters whose it is and where it ran */
  touch(account: Account, recordOf: () => TaskRecord | undefined): boolean {
    const { directory: known, key } = account
    if (known === undefined || known >= this.#directory.version) return false
    const to = account.to ?? Number.POSITIVE_INFINITY
    // One that ended earlier than it did before says so from where it began.
    const isNew = ({ record, from }: Entry<EntryRecord>): boolean =>
      record.version > known && from <= to && (record.tenant === key.tenant || record.tenant === ALL_TENANTS)
    if (this.#directory.prices.all.some(isNew)) return true
    const members = this.#directory.memberships.all.filter(isNew)
    const nodes = this.#directory.nodes.all.filter(isNew)
    if (members.length === 0 && nodes.length === 0) return false
    const facts = recordOf()?.facts
    if (facts === undefined) return false
    const names = [facts.nodeId, facts.hostName, facts.nodeName].map((name) => name?.toLowerCase())
    return (
      members.some(({ record }) => record.user_id === facts.userId) ||
      nodes.some(({ record }) => namesOf(record).some((name) => names.includes(name.toLowerCase())))
    )
  }
}

/** The same for tasks of which rows are at hand: what may have changed for them since a version. */
export class ChangesSince {
  /** Nothing that ended before is touched, ms; undefined: nothing is. */
  readonly from: number | undefined
  readonly #prices: readonly Entry[]
  readonly #members = new Map<string, Entry[]>()
  readonly #nodes = new Map<string, Entry[]>()

  constructor({ prices, memberships, nodes }: DirectorySnapshot, version: number) {
    const isNew = ({ record }: Entry): boolean => record.version > version
    this.#prices = prices.all.filter(isNew)
    const members = memberships.all.filter(isNew)
    const machines = nodes.all.filter(isNew)
    for (const entry of members) addTo(this.#members, entry.record.user_id, entry)
    for (const entry of machines)
      for (const name of namesOf(entry.record)) addTo(this.#nodes, name.toLowerCase(), entry)
    let first = Number.POSITIVE_INFINITY
    for (const { from } of [...this.#prices, ...members, ...machines]) first = Math.min(first, from)
    this.from = first === Number.POSITIVE_INFINITY ? undefined : first
  }

  touch({ tenant, userId, names, to }: ArchivedAttempt): boolean {
    const holds = ({ record, from }: Entry): boolean =>
      from <= to && (record.tenant === tenant || record.tenant === ALL_TENANTS)
    return (
      this.#prices.some(holds) ||
      this.#members.get(userId)?.some(holds) === true ||
      names.some((name) => this.#nodes.get(name.toLowerCase())?.some(holds) === true)
    )
  }
}

function addTo(entries: Map<string, Entry[]>, key: string, entry: Entry): void {
  const known = entries.get(key)
  if (known === undefined) entries.set(key, [entry])
  else known.push(entry)
}
