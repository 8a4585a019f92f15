/**
 * The entries of one directory in memory. A table never changes: `with` makes another one, which shares with it whatever is the same,
 * so that a change of one among 100,000 entries costs microseconds and a reader always sees one moment.
 *
 *     all      sorted by id, for lists and their cursors
 *     index    key ──▶ entries, in 1,024 parts of which a change copies those that it touches
 */
import { Turns } from '../query/turns.ts'
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { entryOf } from './entry.ts'

type Part<T extends EntryRecord> = ReadonlyMap<string, readonly Entry<T>[]>

const PARTS = 1024
const NONE: readonly never[] = []

export class EntryTable<T extends EntryRecord> {
  readonly directory: Directory<T>
  /** In the order of their ids. */
  readonly all: readonly Entry<T>[]
  readonly #parts: readonly (Part<T> | undefined)[]

  constructor(directory: Directory<T>, all: readonly Entry<T>[] = [], parts: readonly (Part<T> | undefined)[] = []) {
    this.directory = directory
    this.all = all
    this.#parts = parts
  }

  get(id: string): Entry<T> | undefined {
    const entry = this.all[this.indexAfter(id) - 1]
    return entry?.record.id === id ? entry : undefined
  }

  /** Those with that key; the order means nothing. */
  under(key: string): readonly Entry<T>[] {
    return this.#parts[partOf(key)]?.get(key) ?? NONE
  }

  /** Index of the first entry whose id is greater. */
  indexAfter(id: string): number {
    let low = 0
    let high = this.all.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.all[middle]!.record.id <= id) low = middle + 1
      else high = middle
    }
    return low
  }

  /** A table with these entries added, or in the place of those with their ids. Others have their turn meanwhile. */
  async with(records: readonly T[]): Promise<EntryTable<T>> {
    const turns = new Turns()
    const changed = new Map<string, Entry<T>>()
    const parts = [...this.#parts]
    const own = new Set<number>()
    const part = (key: string): Map<string, readonly Entry<T>[]> => {
      const at = partOf(key)
      if (!own.has(at)) {
        own.add(at)
        parts[at] = new Map(parts[at])
      }
      return parts[at] as Map<string, readonly Entry<T>[]>
    }
    for (const record of records) {
      const before = changed.get(record.id) ?? this.get(record.id)
      const entry = entryOf(record)
      for (const key of before === undefined ? NONE : this.directory.keysOf(before.record)) {
        const left = part(key)
          .get(key)
          ?.filter((other) => other !== before)
        if (left === undefined || left.length === 0) part(key).delete(key)
        else part(key).set(key, left)
      }
      for (const key of this.directory.keysOf(record)) part(key).set(key, [...(part(key).get(key) ?? NONE), entry])
      changed.set(record.id, entry)
      if (turns.over) await turns.next()
    }
    return new EntryTable(this.directory, this.#merged(changed), parts)
  }

  #merged(changed: ReadonlyMap<string, Entry<T>>): readonly Entry<T>[] {
    const all = this.all.slice()
    const added: Entry<T>[] = []
    for (const [id, entry] of changed) {
      const at = this.indexAfter(id) - 1
      if (all[at]?.record.id === id) all[at] = entry
      else added.push(entry)
    }
    added.sort(byId)
    const last = all.at(-1)
    const inOrder = added.length === 0 || last === undefined || byId(last, added[0]!) < 0
    const together = all.concat(added)
    return inOrder ? together : together.sort(byId)
  }
}

function byId(a: Entry, b: Entry): number {
  return a.record.id < b.record.id ? -1 : a.record.id > b.record.id ? 1 : 0
}

/** FNV-1a over the UTF-16 units. */
function partOf(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % PARTS
}
