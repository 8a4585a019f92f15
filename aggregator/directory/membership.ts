/**
 * Memberships: user → project → department → tenant, with dates. A user may be in several projects at once; not twice in the same one
 * at the same moment, and only one of them at a moment is the default.
 */
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { DATES, overlap, TENANT_FIELD } from './entry.ts'

export interface Membership extends EntryRecord {
  readonly user_id: string
  readonly project: string
  readonly department: string | null
  /** What is said by a user of several projects without naming one is attributed to this one. */
  readonly is_default: boolean
}

export const memberships: Directory<Membership> = {
  kind: 'membership',
  plural: 'memberships',
  fields: [
    { name: 'user_id', kind: 'text', required: true, doc: 'The user, as events name them.' },
    { name: 'project', kind: 'text', required: true, doc: 'The project.' },
    { name: 'department', kind: 'text', doc: 'The department of the user in that project.' },
    {
      name: 'is_default',
      kind: 'flag',
      doc: "Of a user's several projects, the one that is meant where none is named.",
    },
    ...DATES,
    TENANT_FIELD,
  ],
  ownFields: [],
  ownValues: {},
  filters: ['user_id', 'project', 'department'],
  keysOf: ({ tenant, user_id }) => [membershipKey(tenant, user_id)],
  wrong: ({ tenant }) =>
    tenant === '*' ? { field: 'tenant', message: 'a membership is of one tenant, it cannot be of all' } : undefined,
  conflict: conflictOf,
  supersedes: false,
}

export function membershipKey(tenant: string, userId: string): string {
  return `${tenant}\0${userId}`
}

function conflictOf(entry: Entry<Membership>, other: Entry<Membership>): string | undefined {
  if (!overlap(entry, other)) return undefined
  const { record } = other
  if (entry.record.project === record.project)
    return `the user is in the project "${record.project}" from ${record.valid_from} to ${record.valid_to ?? 'no known end'} already`
  if (entry.record.is_default && record.is_default)
    return `the project "${record.project}" is the default of the user from ${record.valid_from} to ${record.valid_to ?? 'no known end'} already`
  return undefined
}
