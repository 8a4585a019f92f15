/**
 * Quotas: how much of a resource a user, a project, a department or a tenant may use in a window of time.
 *
 *     for all of a level     level user, subject null, gpu_seconds, month, 36000      each user by itself
 *     for one of them        level user, subject ada,  gpu_seconds, month, 90000      stands in its place for ada
 *
 * What the operator says of all tenants (`*`) holds beside what a tenant says of its own, so that no tenant can loosen it.
 */
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { ALL_TENANTS, DATES, overlap, TENANT_FIELD } from './entry.ts'
import type { FieldProblem, Values } from './fields.ts'

const QUOTA_LEVELS = ['user', 'project', 'department', 'tenant'] as const
const QUOTA_WINDOWS = ['day', 'week', 'month', 'rolling', 'lifetime'] as const

export interface Quota extends EntryRecord {
  readonly level: (typeof QUOTA_LEVELS)[number]
  /** Whom it is for; null: each one of that level by itself. */
  readonly subject: string | null
  readonly resource: string
  readonly window: (typeof QUOTA_WINDOWS)[number]
  /** IANA name; where days, weeks and months begin. */
  readonly zone: string
  /** How long a rolling window is, a multiple of 900; null for the others. */
  readonly seconds: number | null
  /** In the unit of the resource's name. */
  readonly limit: number
  readonly enforcement: 'hard' | 'soft'
  /** Nothing is refused for its sake: answers say what would have been. */
  readonly shadow: boolean
  /** Percents of the limit. */
  readonly thresholds: readonly number[]
  /** What becomes of a request while what was used cannot be counted. */
  readonly when_unknown: 'closed' | 'open'
}

/** Slots in which rolling windows are counted, s. */
const SLOT_SECONDS = 900
/** Five weeks: longer ones would need much memory for each subject, and a month serves. */
const ROLLING_SECONDS_MAX = 35 * 86_400
/** Beyond it a threshold says nothing that the limit has not. */
const PERCENT_MAX = 1000

export const quotas: Directory<Quota> = {
  kind: 'quota',
  plural: 'quotas',
  fields: [
    { name: 'level', kind: 'choice', required: true, of: QUOTA_LEVELS, doc: 'Of what kind its subjects are.' },
    {
      name: 'subject',
      kind: 'text',
      doc: 'Whom it is for, in the place of the one for all of that level; null: each one of that level by itself.',
    },
    {
      name: 'resource',
      kind: 'text',
      required: true,
      doc: 'What is limited, in the unit of its name: gpu_seconds, cpu_core_seconds, tokens, transfer_bytes, tasks, credits, …',
      form: [/^[a-z][a-z0-9_]{0,63}$/, 'expected the name of a resource such as gpu_seconds: a-z, 0-9 and underscores'],
    },
    {
      name: 'window',
      kind: 'choice',
      required: true,
      of: QUOTA_WINDOWS,
      doc: 'Over what time it is counted: calendar days, weeks (from Monday), months; the last `seconds`; for ever.',
    },
    {
      name: 'zone',
      kind: 'text',
      fallback: 'UTC',
      doc: 'Time zone in which days, weeks and months begin, such as Europe/Berlin.',
    },
    {
      name: 'seconds',
      kind: 'integer',
      min: SLOT_SECONDS,
      max: ROLLING_SECONDS_MAX,
      doc: 'How long a rolling window is: a multiple of 900.',
    },
    {
      name: 'limit',
      kind: 'integer',
      required: true,
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      doc: 'Most that may be used in a window, in the unit of the resource.',
    },
    {
      name: 'enforcement',
      kind: 'choice',
      of: ['hard', 'soft'],
      fallback: 'hard',
      doc: 'hard: what does not fit is refused; soft: it is granted, and flagged.',
    },
    { name: 'shadow', kind: 'flag', doc: 'Nothing is refused: answers say what would have been.' },
    {
      name: 'thresholds',
      kind: 'integers',
      min: 1,
      max: PERCENT_MAX,
      doc: 'Percents of the limit; each tells once a window that so much was used.',
    },
    {
      name: 'when_unknown',
      kind: 'choice',
      of: ['closed', 'open'],
      fallback: 'closed',
      doc: 'What becomes of requests while what was used cannot be counted: closed, they are refused; open, granted and marked.',
    },
    ...DATES,
    TENANT_FIELD,
  ],
  ownFields: [],
  ownValues: {},
  filters: ['level', 'subject', 'resource', 'window'],
  keysOf: ({ tenant, level, subject, resource }) => [JSON.stringify([tenant, level, subject, resource])],
  wrong: wrongTogether,
  conflict: conflictOf,
  supersedes: false,
}

/** What days are in another zone is no other window: two of one scope would bind at once. */
function windowKey({ window, seconds }: Quota): string {
  return `${window}${seconds ?? ''}`
}

function wrongTogether({ tenant, level, subject, window, seconds, zone }: Values): FieldProblem | undefined {
  const named = subject !== null
  if (level === 'tenant' && named && tenant !== ALL_TENANTS)
    return { field: 'subject', message: 'a quota of the level tenant is for the tenant that it is of: leave it out' }
  if (tenant === ALL_TENANTS && named && level !== 'tenant')
    return {
      field: 'subject',
      message: `the same ${String(level)} may be in several tenants: say it of one tenant, or leave it out`,
    }
  if (window === 'rolling' && (typeof seconds !== 'number' || seconds % SLOT_SECONDS !== 0))
    return { field: 'seconds', message: `a rolling window needs its length: a multiple of ${SLOT_SECONDS}` }
  if (window !== 'rolling' && seconds !== null)
    return { field: 'seconds', message: 'only a rolling window has a length: leave it out' }
  return isZone(String(zone))
    ? undefined
    : { field: 'zone', message: 'expected the name of a time zone such as UTC or Europe/Berlin' }
}

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return !/^[+-]/.test(name) // newer engines take offsets, others do not
  } catch {
    return false // that is how it says so
  }
}

function conflictOf(entry: Entry<Quota>, other: Entry<Quota>): string | undefined {
  const { record } = other
  if (windowKey(entry.record) !== windowKey(record) || !overlap(entry, other)) return undefined
  return `there is a quota for the same from ${record.valid_from} to ${record.valid_to ?? 'no known end'} already: change ${record.id} instead`
}
