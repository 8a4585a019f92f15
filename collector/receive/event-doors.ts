/**
 * What the doors of events have in common: the same order of checks as the others (see doors.ts), and the lane instead of a shard.
 * Each contract has its own form of a failure.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import type { ApiCode, Headers } from '../../proto/runtime/http-answers.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { BodyError, readBody } from '../../proto/runtime/request-body.ts'
import { problem } from '../events/answers.ts'
import type { EventsThread } from '../events/events-thread.ts'
import type { Answered, IncomingEvents } from '../events/incoming.ts'
import type { EventDoor } from '../journal/record.ts'
import type { TakeService } from '../shard/take-service.ts'
import type { DoorContext, Refuse, Sender } from './doors.ts'
import { count, entered } from './doors.ts'

export interface EventDoorContext extends DoorContext {
  readonly lane: TakeService<IncomingEvents, Answered>
  readonly thread: Pick<EventsThread, 'snapshot' | 'health'>
  /** Whether an address is one of this machine. */
  readonly isOwn: (address: string, local: string) => boolean
  /** Tenants that events without a token may name. */
  readonly openTenants: readonly string[]
  /** Topics of Kafka REST. */
  readonly topics: ReadonlySet<string>
  /** Of a record on a stream. */
  readonly recordBytesMax: number
  /** In front of Kafka REST's paths; ''. */
  readonly basePath: string
}

/** What a request's head says of how its body is to be taken. */
export type Asked = Pick<IncomingEvents, 'door' | 'format' | 'topic' | 'partition' | 'attributes'>

/** Failures as RFC 9457 has them. */
export const refuseWithProblem: Refuse = (response, status, _code, message, headers = {}) => {
  sendAnswer(response, problem(status, message), headers)
}

/** As {@link entered}, for events. */
export function enteredForEvents(
  context: EventDoorContext,
  door: EventDoor,
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse,
): Sender | undefined {
  return entered(context, door, true, request, response, refuse)
}

/**
 * Reads the body and has the lane take it.
 * @returns the answer; undefined where there is nobody to answer, or that was answered
 */
export async function takeEvents(
  context: EventDoorContext,
  sender: Sender,
  asked: Asked,
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse,
): Promise<Answered | undefined> {
  const fail = (status: number, code: ApiCode, message: string, headers: Headers = {}): undefined => {
    refuse(response, status, code, message, headers)
    discardRest(request)
    return undefined
  }
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding !== 'identity' && encoding !== 'gzip') {
    count(context, asked.door, sender.origin, 'unsupported')
    return fail(415, 'BAD_REQUEST', `Content-Encoding "${encoding}" is not supported: expected gzip, or none`)
  }
  const stated = Number(request.headers['content-length'] ?? 0)
  // What is too large is told so: sending it again later would not help.
  const busy = stated > context.bodyBytesMax ? undefined : context.lane.refuses(sender.key, stated)
  if (busy !== undefined) {
    count(context, asked.door, sender.origin, 'busy')
    return failedWith(busy, fail)
  }
  let body: Uint8Array
  try {
    body = await readBody(request, context.bodyBytesMax, context.receiving.of(sender.key))
  } catch (error) {
    if (!(error instanceof BodyError)) throw error
    count(context, asked.door, sender.origin, error.status === 503 ? 'busy' : 'undecodable')
    if (error.status === undefined) request.destroy()
    else if (error.status === 503) fail(503, 'SERVICE_UNAVAILABLE', error.message, { 'Retry-After': '1' })
    else fail(error.status, 'BAD_REQUEST', error.message)
    return undefined
  }
  return taken(context, sender, asked, request, body, encoding === 'gzip', fail)
}

/** Has the lane take what was read. */
export async function taken(
  context: EventDoorContext,
  sender: Sender,
  asked: Asked,
  request: IncomingMessage,
  body: Uint8Array,
  gzip: boolean,
  fail: (status: number, code: ApiCode, message: string, headers?: Headers) => undefined,
): Promise<Answered | undefined> {
  const { length } = body // its memory is given away
  const { remoteAddress = '', localAddress = '' } = request.socket
  const outcome = await context.lane.take({
    ...asked,
    tenant: sender.tenant,
    grant: grantOf(context, sender),
    tenantsMax: context.tenants.max,
    sender: sender.key,
    local: context.isOwn(remoteAddress, localAddress),
    gzip,
    body,
  })
  if (outcome.kind !== 'ok') {
    count(context, asked.door, sender.origin, outcome.code)
    return failedWith(outcome, fail)
  }
  const { received, status } = outcome.value
  context.limits.settle(sender, received, length)
  context.tenants.add(sender.tenant, received)
  count(
    context,
    asked.door,
    sender.origin,
    status === 400 || status === 413 ? 'undecodable' : status < 400 ? 'ok' : 'invalid',
  )
  return outcome.value
}

export function sendAnswer(
  response: ServerResponse,
  { status, type, text }: Pick<Answered, 'status' | 'type' | 'text'>,
  headers: Headers = {},
): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), ...headers }).end(text)
}

/** Which tenants its events may name. */
function grantOf({ openTenants }: EventDoorContext, { grant }: Sender): IncomingEvents['grant'] {
  const { who, tenant, tenants, allowedBy, id } = grant
  if (id !== '') return { who, tenant, tenants, allowedBy }
  const both = tenants.length === 0 ? openTenants : [...tenants, ...openTenants]
  return { who, tenant, tenants: both, allowedBy: 'the setting collector.events_open_tenants' }
}

function failedWith(
  outcome: Outcome<never>,
  fail: (status: number, code: ApiCode, message: string, headers?: Headers) => undefined,
): undefined {
  if (outcome.kind === 'ok') return undefined
  if (outcome.kind === 'reject') return fail(400, 'BAD_REQUEST', outcome.reason)
  const seconds = outcome.code === 'disk_full' ? '10' : '1'
  return fail(503, 'SERVICE_UNAVAILABLE', outcome.reason, { 'Retry-After': seconds })
}
