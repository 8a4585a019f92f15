/** The parameters of `GET /v1/usage/nodes`. */
import type { FieldError } from '../overview/cursor.ts'
import type { NodeUsageGroupAnswer } from './node-usage-answers.ts'
import { SLOT_MS } from './shares.ts'
import { readTime, unknownParameters } from './task-filter.ts'
import { monthOf } from './usage-filter.ts'

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
const PERIODS: readonly NodeUsageGroup[] = ['slot', 'hour', 'day', 'month']
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
  const asked = (parameters.get('group_by') ?? 'node').split(',').filter((name) => name !== '')
  for (const name of asked)
    if (!NODE_USAGE_GROUPS.some((one) => one === name))
      errors.push({ field: 'group_by', message: `expected some of ${NODE_USAGE_GROUPS.join(', ')}, with commas` })
  if (new Set(asked).size < asked.length) errors.push({ field: 'group_by', message: 'names one twice' })
  if (asked.filter((name) => PERIODS.some((one) => one === name)).length > 1)
    errors.push({ field: 'group_by', message: `expected one of ${PERIODS.join(', ')} at most` })
  const to = readTime(parameters, 'to', errors) ?? now
  const from = readTime(parameters, 'from', errors) ?? monthOf(to)
  if (from >= to) errors.push({ field: 'from', message: 'expected a time before "to"' })
  else if (to - from > PERIOD_DAYS_MAX * DAY_MS)
    errors.push({ field: 'from', message: `expected at most ${PERIOD_DAYS_MAX} days before "to"` })
  const format = FORMATS.find((one) => one === parameters.get('format'))
  if (parameters.has('format') && format === undefined)
    errors.push({ field: 'format', message: `expected one of ${FORMATS.join(', ')}` })
  if (errors.length > 0) return { errors }
  return {
    // A GPU may be no more than an index: it is one of a node.
    groups: NODE_USAGE_GROUPS.filter((one) => asked.includes(one) || (one === 'node' && asked.includes('gpu'))),
    from: Math.floor(from / SLOT_MS) * SLOT_MS,
    to: Math.ceil(to / SLOT_MS) * SLOT_MS,
    equal: Object.fromEntries(
      NODE_USAGE_FILTERS.flatMap((name) => [[name, parameters.get(name)] as const].filter(([, v]) => v !== null)),
    ),
    format,
  }
}
