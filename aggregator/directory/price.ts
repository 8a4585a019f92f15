/**
 * Prices of a unit of a resource, for everything, a kind of machine or a model of GPU, from a time on. A price is never edited: a
 * later one follows it by its valid_from, and one that was wrong is superseded by another, and stays to be looked at.
 */
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { DATES, TENANT_FIELD } from './entry.ts'

export interface Price extends EntryRecord {
  readonly resource: string
  readonly vm_type: string | null
  readonly gpu_model: string | null
  /** ISO 4217. */
  readonly currency: string
  /** Millionths of the currency, for `per` units of the resource: 2.50 EUR an hour is 2500000 for 3600 gpu_seconds. */
  readonly amount_micros: number
  readonly per: number
  readonly supersedes: string | null
  readonly superseded_by: string | null
}

export const prices: Directory<Price> = {
  kind: 'price',
  plural: 'prices',
  fields: [
    {
      name: 'resource',
      kind: 'text',
      required: true,
      doc: 'What is paid for, in the unit of its name: gpu_seconds, cpu_core_seconds, energy_wh, tokens, …',
      form: [/^[a-z][a-z0-9_]{0,63}$/, 'expected the name of a resource such as gpu_seconds: a-z, 0-9 and underscores'],
    },
    { name: 'vm_type', kind: 'text', doc: 'Only on this kind of machine.' },
    { name: 'gpu_model', kind: 'text', doc: 'Only on this model of GPU.' },
    {
      name: 'currency',
      kind: 'text',
      required: true,
      doc: 'ISO 4217, such as EUR.',
      form: [/^[A-Z]{3}$/, 'expected three capital letters such as EUR'],
    },
    {
      name: 'amount_micros',
      kind: 'integer',
      required: true,
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      doc: 'Millionths of the currency, for `per` units of the resource.',
    },
    { name: 'per', kind: 'integer', min: 1, max: 1e12, fallback: 1, doc: 'For how many units the amount is.' },
    ...DATES,
    TENANT_FIELD,
  ],
  ownFields: [
    { name: 'supersedes', kind: 'text', doc: 'The price in whose place it stands.' },
    { name: 'superseded_by', kind: 'text', doc: 'The price that stands in its place: this one holds no more.' },
  ],
  ownValues: { supersedes: null, superseded_by: null },
  filters: ['resource', 'vm_type', 'gpu_model', 'currency'],
  keysOf: ({ tenant, resource }) => [priceKey(tenant, resource)],
  wrong: () => undefined,
  conflict: conflictOf,
  supersedes: true,
}

export function priceKey(tenant: string, resource: string): string {
  return `${tenant}\0${resource}`
}

function conflictOf(entry: Entry<Price>, other: Entry<Price>): string | undefined {
  const { record: a } = entry
  const { record: b } = other
  if (a.superseded_by !== null || b.superseded_by !== null || entry.from !== other.from) return undefined
  if (entry.from === entry.to || other.from === other.to) return undefined // one of them never held
  if (scope(a) !== scope(b)) return undefined
  return `there is a price for the same from ${b.valid_from} on already: supersede ${b.id} instead`
}

function scope({ vm_type, gpu_model }: Price): string {
  return JSON.stringify([vm_type?.toLowerCase(), gpu_model?.toLowerCase()])
}
