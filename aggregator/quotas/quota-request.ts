/** Requests about quotas, read: what is wrong with them is said by field, all of it. */
import { createHash } from 'node:crypto'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { Fault } from '../directory/refusal.ts'
import { faulty, Refusal } from '../directory/refusal.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import { noSuchParameter, readPageQuery } from '../overview/cursor.ts'
import { slotOf } from '../tasks/shares.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { Demand } from './decision.ts'
import type { AdjustBody, Amount, TaskOfHold } from './quota-record.ts'
import type { ReserveRequest } from './quotas-fold.ts'
import { AMOUNT_MAX, scaleOf } from './resource.ts'

/** What requests are read by. */
export interface RequestContext {
  readonly tenant: string
  readonly directory: DirectorySnapshot
  /** ms. */
  readonly now: number
  /** Longest time that something is set aside for, ms. */
  readonly reservedMaxMs: number
  /** How long ids are remembered: an older request might be a retry of one that is forgotten, ms. */
  readonly rememberedMs: number
}

const HELD_PARAMETERS: readonly string[] = ['limit', 'cursor']
const RESOURCES_MAX = 16
const DEFAULT_SECONDS = 600
const RESOURCE = /^[a-z][a-z0-9_]{0,63}$/
const RESOURCE_EXPECTED = 'expected the name of a resource: a-z, 0-9, _'
const AMOUNT = /^(\d{1,16})(?:\.(\d{1,6}))?$/
const ID = /^[A-Za-z0-9._:@-]{1,200}$/
const ID_EXPECTED = 'expected 1 to 200 letters, digits, dots, hyphens, underscores, colons and @'
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u
const NAME_CHARACTERS_MAX = 256
/** Clocks of those who ask may be ahead. */
const SKEW_MS = 60_000

const WHO = ['user_id', 'project', 'department'] as const
const CHECK_FIELDS = [...WHO, 'amounts']
const ADJUST_FIELDS = [...WHO, 'id', 'resource', 'amount', 'at', 'reason']
const RESERVE_FIELDS = [...CHECK_FIELDS, 'id', 'task_id', 'attempt', 'expires_in_seconds', 'issued_at']

type Fields = Readonly<Record<string, unknown>>

/** @throws Refusal 400 */
export function readDemand(body: unknown, context: RequestContext): Demand {
  const faults: Fault[] = []
  const fields = readFields(body, CHECK_FIELDS, faults)
  const said = readWho(fields, faults)
  const amounts = readAmounts(fields['amounts'], faults)
  if (faults.length > 0) throw faulty(faults)
  return { tenant: context.tenant, owner: ownerOf(said, context), amounts }
}

/**
 * @param key of the header Idempotency-Key: the id, where the body has none
 * @throws Refusal 400; 409 when it was issued too long ago
 */
export function readReservation(body: unknown, key: string | undefined, context: RequestContext): ReserveRequest {
  const faults: Fault[] = []
  const fields = readFields(body, RESERVE_FIELDS, faults)
  const said = readWho(fields, faults)
  const amounts = readAmounts(fields['amounts'], faults)
  const id = readId(fields['id'], key, faults)
  const task = readTask(fields, faults)
  const seconds = readSeconds(fields['expires_in_seconds'], context, faults)
  const issuedAt = readPast(fields, 'issued_at', context, faults)
  if (faults.length > 0) throw faulty(faults)
  const { tenant, now, rememberedMs } = context
  if (issuedAt !== undefined && issuedAt < now - rememberedMs)
    throw new Refusal(
      409,
      'CONFLICT',
      `issued_at: it was issued over ${rememberedMs / 60_000} minutes ago: whether it was granted then is not known any more. Look it up by its id, and make a new request with a new one`,
      { faults: [{ field: 'issued_at', message: 'too long ago' }] },
    )
  return {
    tenant,
    id,
    owner: ownerOf(said, context),
    amounts,
    task,
    from: now,
    expires: now + seconds * 1000,
    // Of what was said, not of what the directory makes of it, which may change before a retry.
    hash: hashOf([said, amounts, task, seconds]),
  }
}

/** What was used. @returns undefined: as reserved @throws Refusal 400 */
export function readCommit(body: unknown): readonly Amount[] | undefined {
  const faults: Fault[] = []
  const fields = readFields(body ?? {}, ['amounts'], faults)
  const given = fields['amounts']
  const amounts = given === undefined ? undefined : readAmounts(given, faults)
  if (faults.length > 0) throw faulty(faults)
  return amounts
}

/** @returns until when, ms @throws Refusal 400 */
export function readExtension(body: unknown, context: RequestContext): number {
  const faults: Fault[] = []
  const fields = readFields(body, ['expires_in_seconds'], faults)
  if (faults.length === 0 && fields['expires_in_seconds'] === undefined)
    faults.push({ field: 'expires_in_seconds', message: 'required' })
  const seconds = readSeconds(fields['expires_in_seconds'], context, faults)
  if (faults.length > 0) throw faulty(faults)
  return context.now + seconds * 1000
}

/**
 * More or less than was counted. It is of those that are named, and of the tenant.
 * @param who asks, for the record
 * @throws Refusal 400
 */
export function readAdjustment(
  body: unknown,
  key: string | undefined,
  who: string,
  context: RequestContext,
): AdjustBody {
  const faults: Fault[] = []
  const fields = readFields(body, ADJUST_FIELDS, faults)
  const said = readWho(fields, faults)
  const id = readId(fields['id'], key, faults)
  const reason = readName(fields, 'reason', faults)
  if (reason === '' && (fields['reason'] ?? null) === null) faults.push({ field: 'reason', message: 'required' })
  const resource = String(fields['resource'])
  if (!RESOURCE.test(resource)) faults.push({ field: 'resource', message: RESOURCE_EXPECTED })
  const given = typeof fields['amount'] === 'number' ? String(fields['amount']) : fields['amount']
  const isLess = typeof given === 'string' && given.startsWith('-')
  const amount = amountOf(resource, isLess ? given.slice(1) : given)
  if (typeof amount === 'string') faults.push({ field: 'amount', message: amount.replace(', not negative', '') })
  const at = readPast(fields, 'at', context, faults)
  if (faults.length > 0) throw faulty(faults)
  const [userId, project, department] = said
  const signed = isLess ? -Number(amount) : Number(amount)
  return {
    id,
    owner: { userId, project, department },
    resource,
    slot: slotOf(at ?? context.now),
    amount: signed,
    reason,
    who,
    // Without `at` a retry may come in another quarter of an hour, and under another key.
    hash: hashOf([said, resource, signed, at ?? null, reason]),
  }
}

/** @returns how many, and the position of the record of the last one before @throws Refusal 400 */
export function readHeldPage(parameters: URLSearchParams): { readonly limit: number; readonly after: number } {
  const unknown = [...new Set(parameters.keys())].filter((name) => !HELD_PARAMETERS.includes(name))
  const faults: Fault[] = unknown.map((name) => noSuchParameter(name, HELD_PARAMETERS))
  const page = readPageQuery(parameters)
  if ('field' in page) throw faulty([...faults, page])
  const { limit, after = '0' } = page
  if (!/^\d{1,15}$/.test(after))
    faults.push({ field: 'cursor', message: 'expected next_cursor of the page before, as it was' })
  if (faults.length > 0) throw faulty(faults)
  return { limit, after: Number(after) }
}

/** Why something is done. @throws Refusal 400 */
export function readReason(body: unknown): string {
  const faults: Fault[] = []
  const reason = readName(readFields(body, ['reason'], faults), 'reason', faults)
  if (reason === '' && faults.length === 0) faults.push({ field: 'reason', message: 'required' })
  if (faults.length > 0) throw faulty(faults)
  return reason
}

/** Nothing has to be said. @throws Refusal 400 */
export function readNothing(body: unknown): void {
  const faults: Fault[] = []
  readFields(body ?? {}, [], faults)
  if (faults.length > 0) throw faulty(faults)
}

/** Two requests with one id are the same where this is. */
function hashOf(said: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(said)).digest('base64url')
}

function readFields(body: unknown, known: readonly string[], faults: Fault[]): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    faults.push({ field: '', message: `expected an object with the fields ${known.join(', ')}` })
    return {}
  }
  const expected = known.length === 0 ? 'there are none' : `there are ${known.join(', ')}`
  for (const name of Object.keys(body))
    if (!known.includes(name)) faults.push({ field: name.slice(0, 64), message: `there is no such field; ${expected}` })
  return body as Fields
}

function readWho(fields: Fields, faults: Fault[]): readonly [user: string, project: string, department: string] {
  const [user, project, department] = WHO.map((name) => readName(fields, name, faults))
  return [user!, project!, department!]
}

/** '' where it is not said. */
function readName(fields: Fields, name: string, faults: Fault[]): string {
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

/** A project that is not named is that of the user's membership, as for usage. */
function ownerOf(
  [userId, project, department]: readonly [string, string, string],
  { tenant, directory, now }: RequestContext,
): UsageOwner {
  const tags = { project, department } // empty ones say nothing
  const known = directory.attribute({ tenant, userId: userId === '' ? undefined : userId, at: now, tags })
  return { userId, project: known.project ?? '', department: known.department ?? '' }
}

function readAmounts(value: unknown, faults: Fault[]): Amount[] {
  const given = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
  if (given.length === 0 || given.length > RESOURCES_MAX) {
    faults.push({
      field: 'amounts',
      message: `expected an object with 1 to ${RESOURCES_MAX} resources, such as {"gpu_seconds": 3600}`,
    })
    return []
  }
  const amounts: Amount[] = []
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

function readId(value: unknown, key: string | undefined, faults: Fault[]): string {
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

function readTask(fields: Fields, faults: Fault[]): TaskOfHold | null {
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

function readSeconds(value: unknown, { reservedMaxMs }: RequestContext, faults: Fault[]): number {
  const given = value ?? DEFAULT_SECONDS
  const max = reservedMaxMs / 1000
  if (Number.isSafeInteger(given) && (given as number) >= 1 && (given as number) <= max) return given as number
  faults.push({ field: 'expires_in_seconds', message: `expected a whole number from 1 to ${max}` })
  return 0
}

function readPast(fields: Fields, field: string, { now }: RequestContext, faults: Fault[]): number | undefined {
  const value = fields[field] ?? null
  if (value === null) return undefined
  const ms = typeof value === 'string' ? parseRfc3339(value) : undefined
  if (ms !== undefined && ms >= 0 && ms <= now + SKEW_MS) return ms
  faults.push({ field, message: 'expected a time such as 2026-01-31T00:00:00Z that is not to come' })
  return undefined
}
