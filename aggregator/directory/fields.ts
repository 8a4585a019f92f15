/**
 * The fields of a directory's entries, described once: what JSON and CSV may say, what is wrong with them by field, the columns of
 * a CSV file and the schema in /openapi.json all come from the same list.
 */
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'

export type Value = string | number | boolean | null | readonly string[] | readonly number[]
export type Values = Record<string, Value>

interface Base {
  readonly name: string
  /** One sentence, for /openapi.json. */
  readonly doc: string
  /** Absent: the field may be left out, or null. */
  readonly required?: true
}

export type Field =
  | (Base & {
      readonly kind: 'text'
      readonly form?: readonly [pattern: RegExp, expected: string]
      readonly fallback?: string
    })
  | (Base & { readonly kind: 'choice'; readonly of: readonly string[]; readonly fallback?: string })
  | (Base & { readonly kind: 'texts' })
  | (Base & { readonly kind: 'integer'; readonly min: number; readonly max: number; readonly fallback?: number })
  | (Base & { readonly kind: 'integers'; readonly min: number; readonly max: number })
  | (Base & { readonly kind: 'flag' })
  | (Base & { readonly kind: 'time' })

/** A field that is wrong, and why. */
export interface FieldProblem {
  readonly field: string
  readonly message: string
}

export const TEXT_CHARACTERS_MAX = 256
const TEXTS_MAX = 64
const INTEGERS_MAX = 16
/** Between the texts of a list in a cell of CSV. */
const SEPARATOR = ';'
/** Control characters and halves of characters: no name holds them, and PostgreSQL keeps no NUL. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u

/**
 * Reads the fields of an entry. What is left out is its fallback, else null, of a list empty, of a flag false.
 * @param problems what is wrong is added here, all of it
 */
export function readValues(fields: readonly Field[], input: unknown, problems: FieldProblem[]): Values {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    problems.push({ field: '', message: `expected an object with the fields ${namesOf(fields)}` })
    return {}
  }
  const given = input as Readonly<Record<string, unknown>>
  const values: Values = {}
  for (const name of Object.keys(given))
    if (!fields.some((field) => field.name === name))
      problems.push({ field: shown(name), message: `there is no such field; there are ${namesOf(fields)}` })
  for (const field of fields) {
    const value = Object.hasOwn(given, field.name) ? given[field.name] : undefined
    const read = readValue(field, value ?? null)
    if (typeof read === 'object' && read !== null && 'wrong' in read)
      problems.push({ field: field.name, message: read.wrong })
    else values[field.name] = read
  }
  return values
}

/** A cell of CSV as JSON would have it: '' is what is not given. What cannot be read stays text, and is found wrong as such. */
export function valueOfCell(field: Field, cell: string): unknown {
  if (cell === '') return null
  if (field.kind === 'integer') return numberOfCell(cell)
  if (field.kind === 'integers') return cell.split(SEPARATOR).map(numberOfCell)
  if (field.kind === 'flag') return cell === 'true' ? true : cell === 'false' ? false : cell
  if (field.kind === 'texts') return cell.split(SEPARATOR)
  return cell
}

function numberOfCell(cell: string): number | string {
  return /^-?\d{1,17}$/.test(cell) ? Number(cell) : cell
}

/** The other way. */
export function cellOf(value: Value | undefined): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'object' ? value.join(SEPARATOR) : String(value)
}

/** JSON Schema of a field. @see https://json-schema.org/draft/2020-12 */
export function schemaOf(field: Field): Record<string, unknown> {
  const { doc: description } = field
  const orNull = (type: string): unknown => (field.required ? type : [type, 'null'])
  switch (field.kind) {
    case 'text':
      return {
        description,
        type: field.fallback === undefined ? orNull('string') : 'string',
        minLength: 1,
        maxLength: TEXT_CHARACTERS_MAX,
        ...(field.fallback === undefined ? {} : { default: field.fallback }),
      }
    case 'choice':
      return { description, enum: field.of, ...(field.fallback === undefined ? {} : { default: field.fallback }) }
    case 'integers':
      return {
        description,
        type: 'array',
        items: { type: 'integer', minimum: field.min, maximum: field.max },
        maxItems: INTEGERS_MAX,
      }
    case 'texts':
      return { description, type: 'array', items: { type: 'string', minLength: 1 }, maxItems: TEXTS_MAX }
    case 'integer':
      return {
        description,
        type: field.fallback === undefined ? orNull('integer') : 'integer',
        minimum: field.min,
        maximum: field.max,
        ...(field.fallback === undefined ? {} : { default: field.fallback }),
      }
    case 'flag':
      return { description, type: 'boolean', default: false }
    case 'time':
      return { description, type: orNull('string'), format: 'date-time' }
    default:
      return field satisfies never
  }
}

/** A time as it is kept and answered: UTC with milliseconds. */
export function utcOf(ms: number): string {
  return new Date(ms).toISOString()
}

function readValue(field: Field, value: unknown): Value | { readonly wrong: string } {
  if (value === null) {
    if (field.required) return { wrong: 'required' }
    if ('fallback' in field) return field.fallback ?? null
    return field.kind === 'texts' || field.kind === 'integers' ? [] : field.kind === 'flag' ? false : null
  }
  switch (field.kind) {
    case 'text': {
      const wrong = wrongText(value) ?? (field.form?.[0].test(value as string) === false ? field.form[1] : undefined)
      return wrong === undefined ? (value as string) : { wrong }
    }
    case 'choice':
      return field.of.includes(value as string)
        ? (value as string)
        : { wrong: `expected one of ${field.of.join(', ')}` }
    case 'texts':
      return readTexts(value)
    case 'integers':
      return readIntegers(value, field.min, field.max)
    case 'integer': {
      const { min, max } = field
      return isWithin(value, min, max) ? value : { wrong: `expected a whole number from ${min} to ${max}` }
    }
    case 'flag':
      return typeof value === 'boolean' ? value : { wrong: 'expected true or false' }
    case 'time': {
      const ms = typeof value === 'string' ? parseRfc3339(value) : undefined
      // Before 1970 and beyond 9999 nothing is valid, and PostgreSQL writes such years in other ways.
      if (ms === undefined || ms < 0 || ms >= 253_402_300_800_000)
        return { wrong: 'expected a time such as 2026-01-31T00:00:00Z, of the years 1970 to 9999' }
      return utcOf(ms)
    }
    default:
      return field satisfies never
  }
}

function readTexts(value: unknown): readonly string[] | { readonly wrong: string } {
  if (!Array.isArray(value) || value.length > TEXTS_MAX)
    return { wrong: `expected a list of at most ${TEXTS_MAX} texts` }
  for (const text of value) {
    const wrong = wrongText(text)
    if (wrong !== undefined) return { wrong }
    if ((text as string).includes(SEPARATOR)) return { wrong: `expected texts without "${SEPARATOR}"` }
  }
  return [...new Set(value as string[])]
}

/** In their order, each once. */
function readIntegers(value: unknown, min: number, max: number): readonly number[] | { readonly wrong: string } {
  const all = Array.isArray(value) ? value : []
  if (!Array.isArray(value) || all.length > INTEGERS_MAX || !all.every((one) => isWithin(one, min, max)))
    return { wrong: `expected a list of at most ${INTEGERS_MAX} whole numbers from ${min} to ${max}` }
  return [...new Set(all as number[])].sort((a, b) => a - b)
}

function isWithin(value: unknown, min: number, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}

function wrongText(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'expected text'
  if (value.length === 0 || value.length > TEXT_CHARACTERS_MAX)
    return `expected text of 1 to ${TEXT_CHARACTERS_MAX} characters`
  if (UNPRINTABLE.test(value)) return 'expected text without control characters and line breaks'
  return value.trim() === value ? undefined : 'expected text without blanks at its ends'
}

function namesOf(fields: readonly Field[]): string {
  return fields.map(({ name }) => name).join(', ')
}

/** What a stranger named a field, in an answer: bounded. */
function shown(name: string): string {
  return name.length > 64 ? `${name.slice(0, 64)}…` : name
}
