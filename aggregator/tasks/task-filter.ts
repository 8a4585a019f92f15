/** The parameters of `GET /v1/tasks`. */
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { FieldError } from '../overview/cursor.ts'
import { noSuchParameter } from '../overview/cursor.ts'

const STATES = ['queued', 'loading', 'running', 'completed', 'failed', 'cancelled', 'lost'] as const
const OPEN_STATES: readonly string[] = ['queued', 'loading', 'running']
/** What a record says, by parameter. '' asks for those that do not say it. */
const COLUMNS: Readonly<Record<string, string>> = {
  user_id: 'user_id',
  project: 'project',
  department: 'department',
  model: 'model',
}
const PAGE: readonly string[] = ['limit', 'cursor']
const PARAMETERS: readonly string[] = [
  ...Object.keys(COLUMNS),
  'node',
  'state',
  'error_category',
  'result',
  'open',
  'from',
  'to',
]
const VALUE_CHARACTERS_MAX = 1024

export interface TaskFilter {
  readonly equal: readonly (readonly [column: string, value: string])[]
  /** Any of the machine's names; '': no event named one. */
  readonly node: string | undefined
  /** Any of these; undefined: whatever it is. */
  readonly states: readonly string[] | undefined
  /** A category, or the beginning of some with a dot at the end. */
  readonly errorCategory: string | undefined
  readonly result: boolean | undefined
  /** Those that were there at some time in [from, to), ms. */
  readonly from: number | undefined
  readonly to: number | undefined
}

/** Names every parameter that cannot be understood. */
export function readTaskFilter(parameters: URLSearchParams): TaskFilter | { readonly errors: readonly FieldError[] } {
  const errors = [...unknownParameters(parameters, [...PARAMETERS, ...PAGE])]
  const [from, to] = [readTime(parameters, 'from', errors), readTime(parameters, 'to', errors)]
  if (from !== undefined && to !== undefined && from >= to)
    errors.push({ field: 'from', message: 'expected a time before "to"' })
  const state = parameters.get('state') ?? undefined
  if (state !== undefined && !STATES.some((one) => one === state))
    errors.push({ field: 'state', message: `expected one of ${STATES.join(', ')}` })
  const errorCategory = parameters.get('error_category') ?? undefined
  if (errorCategory !== undefined && !/^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$/.test(errorCategory))
    errors.push({ field: 'error_category', message: 'expected one such as resource.oom_gpu, or resource.*' })
  const open = readBoolean(parameters, 'open', errors)
  const result = readBoolean(parameters, 'result', errors)
  if (errors.length > 0) return { errors }
  return {
    equal: Object.entries(COLUMNS).flatMap(([name, column]) => {
      const value = parameters.get(name)
      return value === null ? [] : [[column, value] as const]
    }),
    node: parameters.get('node') ?? undefined,
    states: statesOf(state, open),
    errorCategory: errorCategory?.replace(/\*$/, ''),
    result,
    from,
    to,
  }
}

function statesOf(state: string | undefined, open: boolean | undefined): readonly string[] | undefined {
  if (state === undefined && open === undefined) return undefined
  return STATES.filter(
    (one) => (state === undefined || one === state) && (open === undefined || OPEN_STATES.includes(one) === open),
  )
}

/** Those that there are not, that stand there twice, or that are too long. */
export function unknownParameters(parameters: URLSearchParams, known: readonly string[]): FieldError[] {
  const names = [...new Set(parameters.keys())]
  return names.flatMap((name) => {
    const field = name.slice(0, 64)
    if (!known.includes(name)) return [noSuchParameter(name, known)]
    const values = parameters.getAll(name)
    if (values.length > 1) return [{ field, message: 'given more than once' }]
    if (name !== 'cursor' && values[0]!.length > VALUE_CHARACTERS_MAX)
      return [{ field, message: `longer than ${VALUE_CHARACTERS_MAX} characters` }]
    if (values[0]!.includes('\0')) return [{ field, message: 'has a character of code zero' }]
    return []
  })
}

/** @param errors one more where it is there and is no time */
export function readTime(parameters: URLSearchParams, field: string, errors: FieldError[]): number | undefined {
  const text = parameters.get(field)
  if (text === null) return undefined
  const ms = parseRfc3339(text.replace(' ', '+')) // a plus that nobody escaped
  if (ms !== undefined && ms >= 0) return ms
  errors.push({ field, message: 'expected an RFC 3339 time such as 2026-11-21T10:00:00Z' })
  return undefined
}

function readBoolean(parameters: URLSearchParams, field: string, errors: FieldError[]): boolean | undefined {
  const text = parameters.get(field)
  if (text === null) return undefined
  if (text !== 'true' && text !== 'false') errors.push({ field, message: 'expected true or false' })
  return text === 'true'
}
