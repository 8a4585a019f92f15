/** Values of fields by their types: read as they are, or as what they plainly stand for. */
import { parseRfc3339 } from '../wire/rfc3339.ts'
import { isTooDeep } from './canonical.ts'
import type { FieldType } from './catalogue.ts'
import { readUuid } from './uuid.ts'

/** Not of its type. */
export class Wrong {
  readonly expected: string
  readonly code: 'wrong_type' | 'too_deep'

  constructor(expected: string, code: 'wrong_type' | 'too_deep' = 'wrong_type') {
    this.expected = expected
    this.code = code
  }
}

const ID_CHARS_MAX = 128
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/
const ZONED = /(?:[zZ]|[+-]\d\d:?\d\d| UTC)$/

const WRONG = {
  string: new Wrong('text'),
  uuid: new Wrong('a UUID'),
  id: new Wrong(`text of 1 to ${ID_CHARS_MAX} characters`),
  number: new Wrong('a number'),
  bool: new Wrong('true or false'),
  time: new Wrong('a time such as "2026-01-31T12:00:00.000Z"'),
  json: new Wrong('a JSON object, or text'),
  object: new Wrong('a JSON object'),
  tags: new Wrong('an object of texts'),
  deep: new Wrong('something less deeply nested', 'too_deep'),
}

/** A time with a zone or in UTC, ms since the epoch; undefined for what is none. */
export function readTime(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined
  return parseRfc3339(ZONED.test(value) ? value : `${value}Z`)
}

/** @param value not null. @returns undefined for an empty text where no text is expected: nothing was given */
export function readValue(type: FieldType, value: unknown): unknown {
  switch (type) {
    case 'string':
      return typeof value === 'string' ? value : numberAsText(value, WRONG.string)
    case 'uuid':
      if (value === '') return undefined
      return (typeof value === 'string' ? readUuid(value) : undefined) ?? WRONG.uuid
    case 'id':
      return readId(value)
    case 'number':
      return readNumber(value)
    case 'bool':
      return readBool(value)
    case 'time':
      return readTimeText(value)
    case 'json':
      return readJson(value)
    case 'object':
      return readObject(value)
    case 'tags':
      return readTags(value)
    case 'any':
      return isTooDeep(value) ? WRONG.deep : value
    default:
      return type satisfies never
  }
}

function numberAsText(value: unknown, wrong: Wrong): string | Wrong {
  return typeof value === 'number' ? String(value) : wrong
}

function readId(value: unknown): unknown {
  if (value === '') return undefined
  const text = typeof value === 'string' ? value : numberAsText(value, WRONG.id)
  if (text instanceof Wrong || text.length > ID_CHARS_MAX) return WRONG.id
  return readUuid(text) ?? text
}

function readNumber(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : WRONG.number
  if (value === '') return undefined
  const read = typeof value === 'string' && NUMBER.test(value.trim()) ? Number(value) : Number.NaN
  return Number.isFinite(read) ? read : WRONG.number
}

function readBool(value: unknown): unknown {
  if (typeof value === 'boolean') return value
  if (value === '') return undefined
  const word = typeof value === 'string' ? value.trim().toLowerCase() : ''
  return word === 'true' ? true : word === 'false' ? false : WRONG.bool
}

function readTimeText(value: unknown): unknown {
  if (value === '') return undefined
  const ms = readTime(value)
  if (ms === undefined) return WRONG.time
  return isoTime(value, ms)
}

/** In UTC with milliseconds: as it came where it came so, which is usual and saves writing it anew. */
export function isoTime(given: unknown, ms: number): string {
  return typeof given === 'string' && ISO.test(given) ? given : new Date(ms).toISOString()
}

/** Of a text that is a time; second 60 is written as the next one. */
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d\.\d{3}Z$/

function readJson(value: unknown): unknown {
  if (typeof value === 'string') return parsed(value)
  if (typeof value !== 'object') return WRONG.json
  return isTooDeep(value) ? WRONG.deep : value
}

/** The object that a text holds; any other text as it is. */
function parsed(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return text
  try {
    const value: unknown = JSON.parse(text)
    return isTooDeep(value) ? WRONG.deep : value
  } catch {
    return text // a name that begins with a bracket
  }
}

function readObject(value: unknown): unknown {
  const read = typeof value === 'string' ? (value === '' ? {} : parsed(value)) : value
  if (read instanceof Wrong) return read
  if (typeof read !== 'object' || read === null || Array.isArray(read)) return WRONG.object
  return isTooDeep(read) ? WRONG.deep : read
}

/** Texts, and what is plainly written as one. */
function readTags(value: unknown): unknown {
  const tags = readObject(value)
  if (tags instanceof Wrong) return tags.code === 'too_deep' ? tags : WRONG.tags
  const entries = Object.entries(tags as object).filter(([, tag]) => tag !== null)
  if (entries.every(([, tag]) => typeof tag === 'string'))
    return entries.length === Object.keys(tags as object).length ? tags : Object.fromEntries(entries)
  if (!entries.every(([, tag]) => ['string', 'number', 'boolean'].includes(typeof tag))) return WRONG.tags
  return Object.fromEntries(entries.map(([name, tag]) => [name, String(tag)]))
}
