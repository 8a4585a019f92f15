/** What becomes of a request to change a directory: pure, decided on one snapshot. Refused by throwing a {@link Refusal}. */
import type { Asking, Stamp } from './draft.ts'
import { Draft, isFault, isSuperseded } from './draft.ts'
import type { Directory, EntryRecord } from './entry.ts'
import { ALL_TENANTS } from './entry.ts'
import type { FieldProblem, Values } from './fields.ts'
import { readValues, utcOf } from './fields.ts'
import type { Fault } from './refusal.ts'
import { faulty, Refusal } from './refusal.ts'
import type { DirectorySnapshot, KindRecord } from './snapshot.ts'

/** What a change is answered with; kept for whoever asks again with the same Idempotency-Key. */
export interface ChangeAnswer {
  readonly status: 200 | 201
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export interface Decision {
  readonly answer: ChangeAnswer
  readonly changes: readonly KindRecord[]
}

export type Decide = (snapshot: DirectorySnapshot, stamp: Stamp) => Decision | Promise<Decision>

export function create(directory: Directory, asking: Asking, body: unknown): Decide {
  const values = checked(directory, asking, body)
  return (snapshot, stamp) => {
    const draft = new Draft(directory, snapshot, stamp)
    const made = draft.add(values)
    if (isFault(made)) throw faulty([made], 409)
    return { answer: answerOf(201, directory, made), changes: draft.changes }
  }
}

/** @param ifMatch value of If-Match */
export function replace(
  directory: Directory,
  asking: Asking,
  id: string,
  ifMatch: string | undefined,
  body: unknown,
): Decide {
  return (snapshot, stamp) => {
    const before = editable(snapshot, directory, asking, id, ifMatch)
    const values = checked(directory, { ...asking, tenant: before.tenant }, body)
    if (values['tenant'] !== before.tenant)
      throw faulty([{ field: 'tenant', message: `it is of ${before.tenant}, and stays so` }])
    const draft = new Draft(directory, snapshot, stamp)
    const made = draft.replace(before, values)
    if (isFault(made)) throw faulty([made], 409)
    return { answer: answerOf(made.id === id ? 200 : 201, directory, made), changes: draft.changes }
  }
}

/** @param at until when it holds, ms; undefined: now */
export function end(
  directory: Directory,
  asking: Asking,
  id: string,
  ifMatch: string | undefined,
  at: number | undefined,
): Decide {
  return (snapshot, stamp) => {
    const before = editable(snapshot, directory, asking, id, ifMatch)
    const until = utcOf(at ?? stamp.now)
    if (until < before.valid_from)
      throw faulty([{ field: 'at', message: `it holds from ${before.valid_from} on: it cannot end before` }])
    const draft = new Draft(directory, snapshot, stamp)
    const ended = draft.end(before, until)
    if (isFault(ended)) throw faulty([ended], 409)
    return { answer: answerOf(200, directory, ended), changes: draft.changes }
  }
}

/** The entry, when whoever asks may see it. @throws Refusal 404 */
export function visible(snapshot: DirectorySnapshot, directory: Directory, asking: Asking, id: string): EntryRecord {
  const record = snapshot.table(directory.kind).get(id)?.record
  if (record !== undefined && (record.tenant === asking.tenant || record.tenant === ALL_TENANTS)) return record
  throw new Refusal(
    404,
    'NOT_FOUND',
    `There is no ${directory.kind} "${id.slice(0, 64)}" of the tenant "${asking.tenant}"`,
  )
}

export function etagOf({ version }: EntryRecord): string {
  return `"${version}"`
}

/** Values of an entry that somebody gives. @throws Refusal */
function checked(directory: Directory, asking: Asking, body: unknown): Values {
  const faults: Fault[] = []
  const values = checkedValues(directory, asking, body, faults)
  if (faults.length > 0) throw faulty(faults)
  return values
}

/** The same, with what is wrong in a list. */
export function checkedValues(directory: Directory, asking: Asking, body: unknown, faults: FieldProblem[]): Values {
  const before = faults.length
  const values = readValues(directory.fields, body, faults)
  if (faults.length > before) return values
  const { valid_from, valid_to } = values
  if (typeof valid_to === 'string' && valid_to < String(valid_from))
    faults.push({ field: 'valid_to', message: `expected a time that is not before valid_from, ${valid_from}` })
  values['tenant'] ??= asking.tenant
  const { tenant } = values
  if (tenant !== asking.tenant && !asking.admin)
    faults.push({
      field: 'tenant',
      message:
        tenant === ALL_TENANTS
          ? 'only the admin token may say what is of all tenants'
          : `expected "${asking.tenant}", the tenant of the request: X-Scope-OrgID chooses another`,
    })
  const wrong = directory.wrong(values)
  if (wrong !== undefined) faults.push(wrong)
  return values
}

/** The entry that is to be changed. @throws Refusal 404, 403, 409, 412, 428 */
function editable(
  snapshot: DirectorySnapshot,
  directory: Directory,
  asking: Asking,
  id: string,
  ifMatch: string | undefined,
): EntryRecord {
  const record = visible(snapshot, directory, asking, id)
  if (record.tenant === ALL_TENANTS && !asking.admin)
    throw new Refusal(403, 'FORBIDDEN', `This ${directory.kind} is of all tenants: only the admin token may change it`)
  const etag = etagOf(record)
  if (ifMatch === undefined)
    throw new Refusal(
      428,
      'PRECONDITION_REQUIRED',
      'Send If-Match with the ETag that you have seen, so that no change of somebody else is lost',
    )
  const given = ifMatch.split(',').map((tag) => tag.trim())
  if (!given.includes(etag) && !given.includes('*'))
    throw new Refusal(
      412,
      'PRECONDITION_FAILED',
      `It was changed meanwhile, at ${record.changed_at}: it is ${etag} now. Read it again, and decide anew`,
      { headers: { ETag: etag } },
    )
  if (isSuperseded(record))
    throw new Refusal(409, 'CONFLICT', `This ${directory.kind} was superseded, and holds no more: change its successor`)
  return record
}

function answerOf(status: 200 | 201, directory: Directory, record: EntryRecord): ChangeAnswer {
  const location = status === 201 ? { Location: `/v1/${directory.plural}/${record.id}` } : {}
  return { status, headers: { ETag: etagOf(record), ...location }, body: record }
}
