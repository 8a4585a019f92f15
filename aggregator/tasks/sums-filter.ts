/** Parameters that questions for sums have in common: `group_by`, the time, `format`. */
import type { FieldError } from '../overview/cursor.ts'
import { SLOT_MS } from './shares.ts'
import { readTime } from './task-filter.ts'

const PERIODS: readonly string[] = ['slot', 'hour', 'day', 'month']

/** @param errors gets what cannot be understood @returns in the order in which they were asked for */
export function readGroups(
  parameters: URLSearchParams,
  known: readonly string[],
  byDefault: string,
  errors: FieldError[],
): readonly string[] {
  const asked = (parameters.get('group_by') ?? byDefault).split(',').filter((name) => name !== '')
  for (const name of asked)
    if (!known.includes(name))
      errors.push({ field: 'group_by', message: `expected some of ${known.join(', ')}, with commas` })
  if (new Set(asked).size < asked.length) errors.push({ field: 'group_by', message: 'names one twice' })
  if (asked.filter((name) => PERIODS.includes(name)).length > 1)
    errors.push({ field: 'group_by', message: `expected one of ${PERIODS.join(', ')} at most` })
  return asked
}

/** [from, to), ms: without times it is the month so far, UTC. @param errors gets what cannot be understood */
export function readPeriod(
  parameters: URLSearchParams,
  now: number,
  errors: FieldError[],
): { readonly from: number; readonly to: number } {
  const to = readTime(parameters, 'to', errors) ?? now
  const from = readTime(parameters, 'from', errors) ?? monthOf(to)
  if (from >= to) errors.push({ field: 'from', message: 'expected a time before "to"' })
  return { from, to }
}

/** The whole quarters of an hour, in which usage is counted, that a period touches. */
export function wholeSlots({ from, to }: { readonly from: number; readonly to: number }): { from: number; to: number } {
  return { from: Math.floor(from / SLOT_MS) * SLOT_MS, to: Math.ceil(to / SLOT_MS) * SLOT_MS }
}

/** @param errors gets what cannot be understood */
export function readFormat<T extends string>(
  parameters: URLSearchParams,
  formats: readonly T[],
  errors: FieldError[],
): T | undefined {
  const format = formats.find((one) => one === parameters.get('format'))
  if (parameters.has('format') && format === undefined)
    errors.push({ field: 'format', message: `expected one of ${formats.join(', ')}` })
  return format
}

/** The beginning of the month that a moment before `ms` is in. */
function monthOf(ms: number): number {
  const date = new Date(Math.max(0, ms - 1))
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
}
