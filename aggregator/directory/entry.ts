/**
 * An entry of a directory: something that holds from one time to another. It is never removed and never edited in the past without a
 * trace: each change gives it a new `version`, a number that counts the changes of all directories together.
 */
import type { Field, Values } from './fields.ts'

export type EntryKind = 'membership' | 'node' | 'price' | 'quota'

/** Of every tenant: what only the admin may say. */
export const ALL_TENANTS = '*'

/** As it is answered, kept in the database and logged: the same JSON everywhere. Times are UTC with milliseconds. */
export interface EntryRecord {
  /** UUID whose first bits are the time it was made at: entries are listed in that order. */
  readonly id: string
  readonly version: number
  readonly tenant: string
  readonly valid_from: string
  /** It holds until just before; null: no end is known. Equal to valid_from: it never held. */
  readonly valid_to: string | null
  readonly changed_at: string
}

/** In memory, with its times as numbers, ms. */
export interface Entry<T extends EntryRecord = EntryRecord> {
  readonly record: T
  readonly from: number
  /** Infinity where no end is known. */
  readonly to: number
}

export function entryOf<T extends EntryRecord>(record: T): Entry<T> {
  return {
    record,
    from: Date.parse(record.valid_from),
    to: record.valid_to === null ? Number.POSITIVE_INFINITY : Date.parse(record.valid_to),
  }
}

export function holdsAt({ from, to }: Entry, at: number): boolean {
  return from <= at && at < to
}

/** Whether there is a moment at which both hold. */
export function overlap(a: Entry, b: Entry): boolean {
  return Math.max(a.from, b.from) < Math.min(a.to, b.to)
}

/** One of the directories: what its entries say, by what they are found, and which of them cannot stand beside each other. */
export interface Directory<T extends EntryRecord = EntryRecord> {
  readonly kind: EntryKind
  /** In the path: /v1/memberships. */
  readonly plural: 'memberships' | 'nodes' | 'prices' | 'quotas'
  /** What a writer may say, in the order of the columns of CSV. */
  readonly fields: readonly Field[]
  /** Fields that only the program says. */
  readonly ownFields: readonly Field[]
  /** What it says of an entry that somebody makes. */
  readonly ownValues: Values
  /** Fields by which a list is narrowed down. */
  readonly filters: readonly string[]
  /** Under which keys an entry is found; with the tenant in each. */
  readonly keysOf: (record: T) => readonly string[]
  /** What the fields say together that cannot be. */
  readonly wrong: (values: Values) => { readonly field: string; readonly message: string } | undefined
  /** Why two entries with a key in common cannot both be; undefined: they can. */
  readonly conflict: (entry: Entry<T>, other: Entry<T>) => string | undefined
  /** Whether a change makes a new entry that stands in the place of the old one. */
  readonly supersedes: boolean
}

/** The fields that every entry has. */
export const DATES: readonly Field[] = [
  { name: 'valid_from', kind: 'time', required: true, doc: 'It holds from this time on.' },
  { name: 'valid_to', kind: 'time', doc: 'It holds until just before this time; null: no end is known.' },
]

export const TENANT_FIELD: Field = {
  name: 'tenant',
  kind: 'text',
  doc: 'Whose it is. Absent: the tenant of the request. "*": of all tenants, which only the admin may say.',
  form: [/^(?:\*|(?!\.{1,2}$)[A-Za-z0-9_.-]{1,150})$/, 'expected the name of a tenant, or "*"'],
}
