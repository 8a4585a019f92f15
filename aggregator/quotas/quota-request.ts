/** Requests about quotas, read: what is wrong with them is said by field, all of it. */
import type { Fault, RequestLimits } from '../../proto/quotas/request.ts'
import {
  amountOf,
  hashOf,
  RESOURCE,
  RESOURCE_EXPECTED,
  readAmounts,
  readAskedCheck,
  readAskedReservation,
  readFields,
  readId,
  readName,
  readPast,
  readSeconds,
  readWho,
  WHO,
} from '../../proto/quotas/request.ts'
import { faulty, Refusal } from '../directory/refusal.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import { noSuchParameter, readPageQuery } from '../overview/cursor.ts'
import { slotOf } from '../tasks/shares.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { Demand } from './decision.ts'
import type { AdjustBody, Amount } from './quota-record.ts'
import type { ReserveRequest } from './quotas-fold.ts'

/** What requests are read by. */
export interface RequestContext extends RequestLimits {
  readonly tenant: string
  readonly directory: DirectorySnapshot
  /** How long ids are remembered: an older request might be a retry of one that is forgotten, ms. */
  readonly rememberedMs: number
}

const HELD_PARAMETERS: readonly string[] = ['limit', 'cursor']
const ADJUST_FIELDS = [...WHO, 'id', 'resource', 'amount', 'at', 'reason']

/** @throws Refusal 400 */
export function readDemand(body: unknown, context: RequestContext): Demand {
  const faults: Fault[] = []
  const { said, amounts } = readAskedCheck(body, faults)
  if (faults.length > 0) throw faulty(faults)
  return { tenant: context.tenant, owner: ownerOf(said, context), amounts }
}

/**
 * @param key of the header Idempotency-Key: the id, where the body has none
 * @throws Refusal 400; 409 when it was issued too long ago
 */
export function readReservation(body: unknown, key: string | undefined, context: RequestContext): ReserveRequest {
  const faults: Fault[] = []
  const { said, amounts, id, task, seconds, issuedAt, hash } = readAskedReservation(body, key, context, faults)
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
    hash,
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

/** A project that is not named is that of the user's membership, as for usage. */
function ownerOf(
  [userId, project, department]: readonly [string, string, string],
  { tenant, directory, now }: RequestContext,
): UsageOwner {
  if (project !== '' && department !== '') return { userId, project, department }
  const tags = { project, department } // empty ones say nothing
  const known = directory.attribute({ tenant, userId: userId === '' ? undefined : userId, at: now, tags })
  return { userId, project: known.project ?? '', department: known.department ?? '' }
}
