/**
 * Requests about quotas, read field by field: by the aggregator, which says what is wrong with them, and by a collector, which passes on
 * what is. Both must read the same: what one granted the other may be asked again.
 */
import { createHash } from 'node:crypto'
import { parseRfc3339 } from '../wire/rfc3339.ts'
import { AMOUNT_MAX, scaleOf } from './amount.ts'

export interface Fault {
  readonly field: string
  readonly message: string
}

export interface RequestLimits {
  /** ms. */
  readonly now: number
  /** Longest time that something is set aside for, ms. */
  readonly reservedMaxMs: number
}

/** In the smallest unit of the resource. */
export interface AskedAmount {
  readonly resource: string
  readonly amount: number
}

/** The attempt of a task. */
export interface AskedTask {
  readonly taskId: string
  readonly attempt: number
}

/** Who it is for; '' where it is not said. */
type SaidNames = readonly [user: string, project: string, department: string]

export interface AskedCheck {
  readonly said: SaidNames
  readonly amounts: readonly AskedAmount[]
}

export interface AskedReservation extends AskedCheck {
  readonly id: string
  readonly task: AskedTask | null
  readonly seconds: number
  /** ms; undefined: it does not say. */
  readonly issuedAt: number | undefined
  /** Two with one id are the same where this is. */
  readonly hash: string
}

const RESOURCES_MAX = 16
const DEFAULT_SECONDS = 600
export const RESOURCE: RegExp = /^[a-z][a-z0-9_]{0,63}$/
export const RESOURCE_EXPECTED = 'expected the name of a resource: a-z, 0-9, _'
const AMOUNT = /^(\d{1,16})(?:\.(\d{1,6}))?$/
const ID = /^[A-Za-z0-9._:@-]{1,200}$/
const ID_EXPECTED = 'expected 1 to 200 letters, digits, dots, hyphens, underscores, colons and @'
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u
const NAME_CHARACTERS_MAX = 256
/** Clocks of those who ask may be ahead. */
const SKEW_MS = 60_000

export const WHO = ['user_id', 'project', 'department'] as const
const CHECK_FIELDS = [...WHO, 'amounts']
const RESERVE_FIELDS = [...CHECK_FIELDS, 'id', 'task_id', 'attempt', 'expires_in_seconds', 'issued_at']

type Fields = Readonly<Record<string, unknown>>

/** @param faults gets what is wrong with it: then what is returned says nothing */
export function readAskedCheck(body: unknown, faults: Fault[]): AskedCheck {
  const fields = readFields(body, CHECK_FIELDS, faults)
  return { said: readWho(fields, faults), amounts: readAmounts(fields['amounts'], faults) }
}

/** @param key of the header Idempotency-Key: the id, where the body has none @param faults as of {@link readAskedCheck} */
export function readAskedReservation(
  body: unknown,
  key: string | undefined,
  limits: RequestLimits,
  faults: Fault[],
): AskedReservation {
  const fields = readFields(body, RESERVE_FIELDS, faults)
  const said = readWho(fields, faults)
  const amounts = readAmounts(fields['amounts'], faults)
  const id = readId(fields['id'], key, faults)
  const task = readTask(fields, faults)
  const seconds = readSeconds(fields['expires_in_seconds'], limits, faults)
  const issuedAt = readPast(fields, 'issued_at', limits, faults)
  // Of what was said, not of what a directory makes of it, which may change before a retry.
  return { said, amounts, id, task, seconds, issuedAt, hash: hashOf([said, amounts, task, seconds]) }
}

/** Two requests with one id are the same where this is. */
export function hashOf(said: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(said)).digest('base64url')
}

export function readFields(body: unknown, known: readonly string[], faults: Fault[]): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    faults.push({ field: '', message: `expected an object with the fields ${known.join(', ')}` })
    return {}
  }
  const expected = known.length === 0 ? 'there are none' : `there are ${known.join(', ')}`
  for (const name of Object.keys(body))
    if (!known.includes(name)) faults.push({ field: name.slice(0, 64), message: `there is no such field; ${expected}` })
  return body as Fields
}

export function readWho(fields: Fields, faults: Fault[]): SaidNames {
  const [user, project, department] = WHO.map((name) => readName(fields, name, faults))
  return [user!, project!, department!]
}

/** '' where it is not said. */
export function readName(fields: Fields, name: string, faults: Fault[]): string {
  const value = fields[name] ?? null
  if (value === null) return ''
  if (typeof value === 'string' && value.length > 0 && value.length <= NAME_CHARACTERS_MAX && !UNPRINTABLE.test(value))
    return value
  faults.push({
    field: name,
    message: `expected text of 1 to ${NAME_CHARACTERS_MAX} characters, without control characters`,
  })
  return ''
}

export function readAmounts(value: unknown, faults: Fault[]): AskedAmount[] {
  const given = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
  if (given.length === 0 || given.length > RESOURCES_MAX) {
    faults.push({
      field: 'amounts',
      message: `expected an object with 1 to ${RESOURCES_MAX} resources, such as {"gpu_seconds": 3600}`,
    })
    return []
  }
  const amounts: AskedAmount[] = []
  for (const [resource, amount] of given) {
    const read = RESOURCE.test(resource) ? amountOf(resource, amount) : RESOURCE_EXPECTED
    if (typeof read === 'string') faults.push({ field: `amounts.${resource.slice(0, 64)}`, message: read })
    else amounts.push({ resource, amount: read })
  }
  return amounts.sort((a, b) => (a.resource < b.resource ? -1 : 1))
}

/** In the smallest unit; what is wrong with it as text. @param value a number, or a decimal number as text */
export function amountOf(resource: string, value: unknown): number | string {
  const scale = scaleOf(resource)
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= AMOUNT_MAX / scale)
    return (value as number) * scale // the usual, and exact
  const whole = `expected a ${scale === 1 ? 'whole number' : 'number with at most six digits behind the point'}, not negative`
  const text = typeof value === 'number' ? String(value) : value
  const match = typeof text === 'string' ? AMOUNT.exec(text) : null
  if (match === null) return whole
  const [, units = '', fraction = ''] = match
  if (scale === 1 && !/^0*$/.test(fraction)) return whole
  const amount = BigInt(units) * BigInt(scale) + (scale === 1 ? 0n : BigInt(fraction.padEnd(6, '0')))
  return amount <= BigInt(AMOUNT_MAX)
    ? Number(amount)
    : `expected at most ${(BigInt(AMOUNT_MAX) / BigInt(scale)).toString()} at once`
}

export function readId(value: unknown, key: string | undefined, faults: Fault[]): string {
  const given = value ?? key
  if (typeof given !== 'string' || !ID.test(given)) {
    const field = value === undefined && key !== undefined ? 'Idempotency-Key' : 'id'
    faults.push({ field, message: given === undefined ? `required: ${ID_EXPECTED}` : ID_EXPECTED })
    return ''
  }
  if (key !== undefined && key !== given)
    faults.push({ field: 'Idempotency-Key', message: 'expected the same as the id: a request has one' })
  return given
}

function readTask(fields: Fields, faults: Fault[]): AskedTask | null {
  const taskId = readName(fields, 'task_id', faults)
  const attempt = fields['attempt'] ?? null
  if (taskId === '') {
    if (attempt !== null) faults.push({ field: 'attempt', message: 'expected with task_id only' })
    return null
  }
  if (attempt === null) return { taskId, attempt: 1 }
  if (Number.isSafeInteger(attempt) && (attempt as number) >= 1 && (attempt as number) <= 1e9)
    return { taskId, attempt: attempt as number }
  faults.push({ field: 'attempt', message: 'expected a whole number from 1 on' })
  return null
}

export function readSeconds(value: unknown, { reservedMaxMs }: RequestLimits, faults: Fault[]): number {
  const given = value ?? DEFAULT_SECONDS
  const max = reservedMaxMs / 1000
  if (Number.isSafeInteger(given) && (given as number) >= 1 && (given as number) <= max) return given as number
  faults.push({ field: 'expires_in_seconds', message: `expected a whole number from 1 to ${max}` })
  return 0
}

export function readPast(fields: Fields, field: string, { now }: RequestLimits, faults: Fault[]): number | undefined {
  const value = fields[field] ?? null
  if (value === null) return undefined
  const ms = typeof value === 'string' ? parseRfc3339(value) : undefined
  if (ms !== undefined && ms >= 0 && ms <= now + SKEW_MS) return ms
  faults.push({ field, message: 'expected a time such as 2026-01-31T00:00:00Z that is not to come' })
  return undefined
}
