/** The parameters of `GET /v1/usage`. */
import type { FieldError } from '../overview/cursor.ts'
import { readFormat, readGroups, readPeriod, wholeSlots } from './sums-filter.ts'
import type { UsageGroupAnswer } from './task-answers.ts'
import { unknownParameters } from './task-filter.ts'

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
const FILTERS = ['user_id', 'project', 'department', 'resource'] as const
const PARAMETERS: readonly string[] = [...FILTERS, 'group_by', 'from', 'to', 'format', 'limit', 'cursor']
const FORMATS = ['json', 'csv', 'focus'] as const

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
  const groups = readGroups(parameters, USAGE_GROUPS, 'resource', errors)
  const { from, to } = readPeriod(parameters, now, errors)
  const format = readFormat(parameters, FORMATS, errors)
  if (errors.length > 0) return { errors }
  return {
    // The order of the list: what a line is of does not depend on how it was asked.
    groups: USAGE_GROUPS.filter((one) => groups.includes(one)),
    ...wholeSlots({ from, to }),
    equal: FILTERS.flatMap((name) => {
      const value = parameters.get(name)
      return value === null ? [] : [[name, value] as const]
    }),
    format,
  }
}
