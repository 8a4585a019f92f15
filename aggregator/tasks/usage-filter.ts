/** The parameters of `GET /v1/usage`. */
import type { FieldError } from '../overview/cursor.ts'
import type { UsageGroupAnswer } from './task-answers.ts'
import { readTime, unknownParameters } from './task-filter.ts'

export type UsageGroup = UsageGroupAnswer

export const USAGE_GROUPS: readonly UsageGroup[] = [
  'tenant',
  'user',
  'project',
  'department',
  'model',
  'node',
  'resource',
  'slot',
  'hour',
  'day',
  'month',
]
const PERIODS: readonly UsageGroup[] = ['slot', 'hour', 'day', 'month']
const FILTERS = ['user_id', 'project', 'department', 'resource'] as const
const PARAMETERS: readonly string[] = [...FILTERS, 'group_by', 'from', 'to', 'format', 'limit', 'cursor']
const FORMATS = ['json', 'csv', 'focus'] as const
/** Usage is counted in these. */
const SLOT_MS = 900_000

export interface UsageFilter {
  readonly groups: readonly UsageGroup[]
  /** [from, to), ms, at beginnings of quarters of an hour. */
  readonly from: number
  readonly to: number
  readonly equal: readonly (readonly [column: (typeof FILTERS)[number], value: string])[]
  readonly format: (typeof FORMATS)[number] | undefined
}

/** Names every parameter that cannot be understood. @param now ms: without times it is the month so far, UTC */
export function readUsageFilter(
  parameters: URLSearchParams,
  now: number,
): UsageFilter | { readonly errors: readonly FieldError[] } {
  const errors = unknownParameters(parameters, PARAMETERS)
  const groups = (parameters.get('group_by') ?? 'resource').split(',').filter((name) => name !== '')
  for (const name of groups)
    if (!USAGE_GROUPS.some((one) => one === name))
      errors.push({ field: 'group_by', message: `expected some of ${USAGE_GROUPS.join(', ')}, with commas` })
  if (new Set(groups).size < groups.length) errors.push({ field: 'group_by', message: 'names one twice' })
  if (groups.filter((name) => PERIODS.some((one) => one === name)).length > 1)
    errors.push({ field: 'group_by', message: `expected one of ${PERIODS.join(', ')} at most` })
  const to = readTime(parameters, 'to', errors) ?? now
  const from = readTime(parameters, 'from', errors) ?? monthOf(to)
  if (from >= to) errors.push({ field: 'from', message: 'expected a time before "to"' })
  const format = FORMATS.find((one) => one === parameters.get('format'))
  if (parameters.has('format') && format === undefined)
    errors.push({ field: 'format', message: `expected one of ${FORMATS.join(', ')}` })
  if (errors.length > 0) return { errors }
  return {
    // The order of the list: what a line is of does not depend on how it was asked.
    groups: USAGE_GROUPS.filter((one) => groups.includes(one)),
    from: Math.floor(from / SLOT_MS) * SLOT_MS,
    to: Math.ceil(to / SLOT_MS) * SLOT_MS,
    equal: FILTERS.flatMap((name) => {
      const value = parameters.get(name)
      return value === null ? [] : [[name, value] as const]
    }),
    format,
  }
}

/** The beginning of the month that a moment before `ms` is in. */
export function monthOf(ms: number): number {
  const date = new Date(Math.max(0, ms - 1))
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
}
