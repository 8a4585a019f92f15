/**
 * A change of one directory while it is decided: what it adds and replaces, over what is there. Nothing in it can conflict, with what
 * is there or with each other.
 */
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { entryOf } from './entry.ts'
import type { EntryTable } from './entry-table.ts'
import type { Values } from './fields.ts'
import { utcOf } from './fields.ts'
import type { Fault } from './refusal.ts'
import type { DirectorySnapshot, KindRecord } from './snapshot.ts'

/** What every change is given. */
export interface Stamp {
  /** Of all entries that it touches. */
  readonly version: number
  /** ms. */
  readonly now: number
  readonly newId: () => string
}

/** Who asks. */
export interface Asking {
  readonly tenant: string
  readonly admin: boolean
}

export class Draft {
  readonly directory: Directory
  readonly #table: EntryTable<EntryRecord>
  readonly #stamp: Stamp
  readonly #changed = new Map<string, Entry>()
  readonly #pending = new Map<string, Entry[]>()

  constructor(directory: Directory, snapshot: DirectorySnapshot, stamp: Stamp) {
    this.directory = directory
    this.#table = snapshot.table(directory.kind)
    this.#stamp = stamp
  }

  get changes(): readonly KindRecord[] {
    return [...this.#changed.values()].map(({ record }) => ({ kind: this.directory.kind, record }))
  }

  get(id: string): EntryRecord | undefined {
    return (this.#changed.get(id) ?? this.#table.get(id))?.record
  }

  /** A new entry. @param values of the directory's fields, with a tenant */
  add(values: Values): EntryRecord | Fault {
    return this.#put({ ...this.directory.ownValues, ...values, id: this.#stamp.newId() })
  }

  /** In the place of an entry; where a directory supersedes, a new one beside it. */
  replace(before: EntryRecord, values: Values): EntryRecord | Fault {
    if (!this.directory.supersedes) return this.#put({ ...this.directory.ownValues, ...values, id: before.id })
    const id = this.#stamp.newId()
    // First the old one goes: the new one may hold from the same time on.
    this.#put({ ...before, superseded_by: id })
    return this.#put({ ...this.directory.ownValues, ...values, id, supersedes: before.id })
  }

  /** It holds until then only. */
  end(before: EntryRecord, at: string): EntryRecord | Fault {
    return this.#put({ ...before, valid_to: at })
  }

  /** The entry that says exactly that already. */
  same(values: Values): EntryRecord | undefined {
    const record = values as unknown as EntryRecord
    for (const key of this.directory.keysOf(record)) {
      const found = [...this.#table.under(key), ...(this.#pending.get(key) ?? [])].find(
        (entry) => this.says(entry.record, values) && !isSuperseded(entry.record),
      )
      if (found !== undefined) return found.record
    }
    return undefined
  }

  /** Whether an entry has these values. */
  says(record: EntryRecord, values: Values): boolean {
    const known = record as unknown as Values
    return this.directory.fields.every(({ name }) => JSON.stringify(known[name]) === JSON.stringify(values[name]))
  }

  #put(given: object): EntryRecord | Fault {
    const { version, now } = this.#stamp
    const record = { ...given, version, changed_at: utcOf(now) } as EntryRecord
    const entry = entryOf(record)
    const keys = this.directory.keysOf(record)
    for (const key of keys) {
      for (const other of this.#others(key, record.id)) {
        const message = this.directory.conflict(entry, other)
        if (message !== undefined) return { field: this.directory.fields[0]!.name, message }
      }
    }
    this.#changed.set(record.id, entry)
    for (const key of keys) {
      const pending = (this.#pending.get(key) ?? []).filter((other) => other.record.id !== record.id)
      this.#pending.set(key, [...pending, entry])
    }
    return record
  }

  *#others(key: string, id: string): Iterable<Entry> {
    for (const entry of this.#table.under(key))
      if (entry.record.id !== id && !this.#changed.has(entry.record.id)) yield entry
    for (const entry of this.#pending.get(key) ?? [])
      if (entry.record.id !== id && this.#changed.get(entry.record.id) === entry) yield entry
  }
}

export function isFault(result: EntryRecord | Fault): result is Fault {
  return 'message' in result
}

export function isSuperseded(record: EntryRecord): boolean {
  return ((record as { superseded_by?: string | null }).superseded_by ?? null) !== null
}
