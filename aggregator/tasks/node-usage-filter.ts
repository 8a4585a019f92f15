/** The parameters of `GET /v1/usage/nodes`. */
import type { FieldError } from '../overview/cursor.ts'
import type { NodeUsageGroupAnswer } from './node-usage-answers.ts'
import { readFormat, readGroups, readPeriod, wholeSlots } from './sums-filter.ts'
import { unknownParameters } from './task-filter.ts'

export type NodeUsageGroup = NodeUsageGroupAnswer

export const NODE_USAGE_GROUPS: readonly NodeUsageGroup[] = [
  'node',
  'gpu',
  'gpu_model',
  'vm_type',
  'slot',
  'hour',
  'day',
  'month',
]
export const NODE_USAGE_FILTERS = ['node', 'gpu', 'gpu_model', 'vm_type'] as const
const PARAMETERS: readonly string[] = [...NODE_USAGE_FILTERS, 'group_by', 'from', 'to', 'format', 'limit', 'cursor']
const FORMATS = ['json', 'csv'] as const
const PERIOD_DAYS_MAX = 400
const DAY_MS = 86_400_000

export interface NodeUsageFilter {
  readonly groups: readonly NodeUsageGroup[]
  /** [from, to), ms, at beginnings of quarters of an hour. */
  readonly from: number
  readonly to: number
  readonly equal: Readonly<Partial<Record<(typeof NODE_USAGE_FILTERS)[number], string>>>
  readonly format: (typeof FORMATS)[number] | undefined
}

/** Names every parameter that cannot be understood. @param now ms: without times it is the month so far, UTC */
export function readNodeUsageFilter(
  parameters: URLSearchParams,
  now: number,
): NodeUsageFilter | { readonly errors: readonly FieldError[] } {
  const errors = unknownParameters(parameters, PARAMETERS)
  const asked = readGroups(parameters, NODE_USAGE_GROUPS, 'node', errors)
  const { from, to } = readPeriod(parameters, now, errors)
  if (from < to && to - from > PERIOD_DAYS_MAX * DAY_MS)
    errors.push({ field: 'from', message: `expected at most ${PERIOD_DAYS_MAX} days before "to"` })
  const format = readFormat(parameters, FORMATS, errors)
  if (errors.length > 0) return { errors }
  return {
    // A GPU may be no more than an index: it is one of a node.
    groups: NODE_USAGE_GROUPS.filter((one) => asked.includes(one) || (one === 'node' && asked.includes('gpu'))),
    ...wholeSlots({ from, to }),
    equal: Object.fromEntries(
      NODE_USAGE_FILTERS.flatMap((name) => [[name, parameters.get(name)] as const].filter(([, v]) => v !== null)),
    ),
    format,
  }
}
