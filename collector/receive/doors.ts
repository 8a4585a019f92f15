/**
 * What the doors have in common: who may enter and for which tenant, which shard a sender meets, and how an outcome is answered.
 *
 *     token (401) ─▶ right and tenant (403, 400) ─▶ limits (429) ─▶ the door's own checks ─▶ body ─▶ shard ─▶ charge, count
 *
 * Everything before the body is decided without it.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Access, Credential, Networks } from '../../proto/runtime/access.ts'
import { permit } from '../../proto/runtime/access.ts'
import type { BufferPool } from '../../proto/runtime/buffer-pool.ts'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import type { Outcome, RejectCode, RetryCode } from '../../proto/runtime/outcome.ts'
import type { ReceivingBudget } from '../../proto/runtime/request-body.ts'
import { readBody, readSmallBody } from '../../proto/runtime/request-body.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { formatRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { Door } from '../journal/record.ts'
import type { OverflowingMetric } from '../shard/overflow.ts'
import type { Taken } from '../shard/reception.ts'
import type { TakeService } from '../shard/take-service.ts'
import type { Excess, Limits } from './limits.ts'
import type { ReceivedTenants } from './received-tenants.ts'
import type { Origin, ReadSamples, Senders } from './senders.ts'
import { namedOrigin } from './senders.ts'

export interface DoorContext {
  readonly access: Access
  readonly openWrites: Networks
  readonly places: SenderPlaces
  readonly limits: Limits
  readonly tenants: ReceivedTenants
  readonly bodyBytesMax: number
  readonly receiving: ReceivingBudget
  readonly buffers: BufferPool
  readonly counts: DoorRequests
  readonly senders: Senders
  /** Of requests without a valid token: those are told to it. */
  readonly tenant: string
}

const SENDERS_KNOWN_MAX = 10_000
/** Bodies up to this are taken as they come: to read one into memory of its own costs more. */
const SMALL_BYTES_MAX = 16 * 1024

/** How a request is told that it is not let in. */
export type Refuse = typeof sendError

/** Where samples come from, and whose they are. */
export interface Sender {
  /** Credential and address without port, as a short hash. */
  readonly key: string
  readonly tenant: string
  readonly origin: Origin
  readonly grant: Credential
  readonly shard: TakeService
}

type DoorOutcome = 'ok' | 'unauthorized' | 'forbidden' | 'bad_tenant' | 'limited' | RejectCode | RetryCode

/** Requests by door and outcome: `ok`, why it was not let in, or the code of a rejection or retry. */
export class DoorRequests {
  readonly #counts = new Map<Door, Map<DoorOutcome, number>>()

  add(door: Door, outcome: DoorOutcome): void {
    let ofDoor = this.#counts.get(door)
    if (ofDoor === undefined) {
      ofDoor = new Map()
      this.#counts.set(door, ofDoor)
    }
    ofDoor.set(outcome, (ofDoor.get(outcome) ?? 0) + 1)
  }

  readings(): { labels: { door: string; outcome: string }; value: number }[] {
    return [...this.#counts].flatMap(([door, ofDoor]) =>
      [...ofDoor].map(([outcome, value]) => ({ labels: { door, outcome }, value })),
    )
  }
}

/**
 * Who sends, and for which tenant. Answered and undefined unless the caller has a token that may write, or has none and comes
 * from where none is needed, and names no tenant that it may not.
 */
export function admitted(
  context: DoorContext,
  door: Door,
  open: boolean,
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse = sendError,
): Sender | undefined {
  const { access, openWrites } = context
  const address = request.socket.remoteAddress ?? ''
  const caller = access.caller(request.headers.authorization)
  if (caller.kind === 'refused' || (caller.kind === 'anonymous' && !(open && openWrites.has(address)))) {
    const credential = caller.kind === 'refused' ? 'invalid' : 'missing'
    count(context, door, { tenant: context.tenant, address, credential }, 'unauthorized')
    refuse(response, 401, 'UNAUTHORIZED', 'Unauthorized')
    discardRest(request)
    return undefined
  }
  const credential = caller.kind === 'known' ? caller.credential : access.open
  const permitted = permit(credential, 'write', tenantHeader(request))
  if ('status' in permitted) {
    const origin = { tenant: credential.tenant ?? context.tenant, address, credential: shownName(credential) }
    count(context, door, origin, permitted.status === 403 ? 'forbidden' : 'bad_tenant')
    refuse(response, permitted.status, permitted.status === 403 ? 'FORBIDDEN' : 'BAD_REQUEST', permitted.reason)
    discardRest(request)
    return undefined
  }
  return context.places.of(credential, request.socket, permitted.tenant)
}

/** As {@link admitted}, within the limits of the sender and its tenant: from here on the request is charged. */
export function entered(
  context: DoorContext,
  door: Door,
  open: boolean,
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse = sendError,
): Sender | undefined {
  const sender = admitted(context, door, open, request, response, refuse)
  if (sender === undefined) return undefined
  const excess = context.limits.admit(sender)
  if (excess !== undefined) {
    count(context, door, toldOf(context, sender), 'limited')
    answerLimited(response, excess, refuse)
    discardRest(request)
    return undefined
  }
  if (!context.tenants.admit(sender.tenant)) {
    count(context, door, toldOf(context, sender), 'busy')
    const reason = `"${sender.tenant}" would be one tenant more than this collector takes: raise collector.tenants_max`
    refuse(response, 503, 'SERVICE_UNAVAILABLE', reason, { 'Retry-After': '60' })
    discardRest(request)
    return undefined
  }
  return sender
}

/** Who is told of a refusal. A tenant that is not taken is told nothing: its samples would be of one tenant more. */
function toldOf({ tenants, tenant }: DoorContext, { origin }: Sender): Origin {
  const { address, credential } = origin
  return tenants.knows(origin.tenant) ? origin : { tenant, address, credential }
}

/** Reads the body, has its sender's shard take it, and charges and counts what it held. */
export async function takeBody(
  context: DoorContext,
  door: Door,
  sender: Sender,
  request: IncomingMessage,
): Promise<Outcome<Taken>> {
  const { bodyBytesMax, receiving, buffers } = context
  const stated = Number(request.headers['content-length'] ?? 0)
  // What is too large is told so: sending it again later would not help.
  const busy = stated > bodyBytesMax ? undefined : sender.shard.refuses(sender.key, stated)
  if (busy !== undefined) {
    count(context, door, sender.origin, 'busy')
    discardRest(request)
    return busy
  }
  const budget = receiving.of(sender.key)
  const body =
    stated > 0 && stated <= Math.min(SMALL_BYTES_MAX, bodyBytesMax)
      ? await readSmallBody(request, stated, budget)
      : await readBody(request, bodyBytesMax, budget, (length) => buffers.take(length))
  const bytes = body.length // its memory is used again
  const outcome = await sender.shard.take({ door, tenant: sender.tenant, sender: sender.key, body })
  const samples = outcome.kind === 'ok' ? costOf(outcome.value) : 0
  // What we could not take is sent again, and costs then.
  if (outcome.kind !== 'retry') context.limits.settle(sender, samples, bytes)
  context.tenants.add(sender.tenant, samples)
  count(context, door, sender.origin, outcome.kind === 'ok' ? 'ok' : outcome.code, readSamples(outcome))
  return outcome
}

/** Counts a request, for this collector and for its sender. */
export function count(
  { counts, senders }: DoorContext,
  door: Door,
  origin: Origin,
  outcome: DoorOutcome,
  samples?: ReadSamples,
): void {
  counts.add(door, outcome)
  senders.add(origin, door, outcome, samples)
}

/** How a credential is named to its tenant. */
function shownName({ id, admin }: Credential): string {
  if (admin) return 'admin'
  return id === '' ? 'none' : id
}

function readSamples(outcome: Outcome<Taken>): ReadSamples | undefined {
  if (outcome.kind !== 'ok') return undefined
  const { items, refused } = outcome.value
  const ofSamples = refused.filter(({ kind }) => kind === 'sample' || kind === 'histogram')
  return { received: items.sample + items.histogram, refused: ofSamples.map((r) => [r.reason, r.count]) }
}

/** Metadata is free: senders of 2.0 repeat it for each series. */
function costOf({ items }: Taken): number {
  return items.sample + items.histogram + items.exemplar
}

/** The same sender always meets the same shard, so that the samples of one series meet in one place. */
export class SenderPlaces {
  readonly #shards: readonly TakeService[]
  /** Those that sent last. */
  readonly #known = new LRUCache<string, Sender>({ max: SENDERS_KNOWN_MAX })
  /** Who sent last over a connection: most likely who sends next. */
  readonly #last = new WeakMap<Socket, Sender>()

  constructor(shards: readonly TakeService[]) {
    this.#shards = shards
  }

  /** The tenant chooses no place: it is the credential's, or one that it names. */
  of(credential: Credential, socket: Socket, tenant: string): Sender {
    const last = this.#last.get(socket)
    // What a credential may do can be other than it was.
    if (last !== undefined && last.grant === credential && last.tenant === tenant) return last
    const sender = this.#at(credential, socket.remoteAddress ?? '', tenant)
    this.#last.set(socket, sender)
    return sender
  }

  #at(credential: Credential, address: string, tenant: string): Sender {
    const place = `${credential.id} ${address}`
    const name = `${place} ${tenant}`
    const known = this.#known.get(name)
    if (known !== undefined && known.grant === credential) return known
    const hash = createHash('sha256').update(place).digest()
    const sender: Sender = {
      key: hash.toString('hex', 0, 8),
      tenant,
      origin: namedOrigin({ tenant, address, credential: shownName(credential) }),
      grant: credential,
      shard: this.#shards[hash.readUInt32LE() % this.#shards.length]!,
    }
    this.#known.set(name, sender)
    return sender
  }
}

function tenantHeader(request: IncomingMessage): string | undefined {
  const value = request.headers[TENANT_HEADER]
  return Array.isArray(value) ? value.join(',') : value
}

/** In the form of the query limiter, which clients of xtrace know. */
function answerLimited(response: ServerResponse, excess: Excess, refuse: Refuse): void {
  const { reason, retryAfterSeconds, resetAt } = excess
  if (refuse !== sendError) {
    refuse(response, 429, 'TOO_MANY_REQUESTS', reason, { 'Retry-After': String(retryAfterSeconds) })
    return
  }
  const meta = { rate_limit: { remaining: 0, reset_at: formatRfc3339(Math.ceil(resetAt)) } }
  sendJson(
    response,
    429,
    { message: reason, code: 'TOO_MANY_REQUESTS', data: null, meta },
    { 'Retry-After': String(retryAfterSeconds) },
  )
}

/** Statuses by code; a door adds its own body. Prometheus drops what is answered 429, so what is our lack is 503. */
export const REJECT_STATUS: Readonly<Record<RejectCode, number>> = {
  undecodable: 400,
  invalid: 400,
  unsupported: 415,
  too_large: 400,
}

/** Answers what is not a success: JSON with a reason, `Retry-After` where a retry is right. */
export function answerFailure(
  response: ServerResponse,
  outcome: Outcome<Taken> & { kind: 'reject' | 'retry' },
  status: number,
): void {
  if (outcome.kind === 'reject') sendError(response, status, 'BAD_REQUEST', outcome.reason)
  else
    sendError(response, 503, 'SERVICE_UNAVAILABLE', outcome.reason, {
      'Retry-After': outcome.code === 'disk_full' ? '10' : '1',
    })
}

/** What went into aggregates, for a header: one line of ASCII. */
export function overflowText(overflow: readonly OverflowingMetric[]): string {
  return overflow
    .slice(0, OVERFLOW_TOLD)
    .map(
      ({ metric, label, bound, samples }) =>
        `${samples} samples of metric=${ascii(metric)} aggregated: ${bound}, label=${ascii(label)}`,
    )
    .join('; ')
}

const OVERFLOW_TOLD = 5
const TEXT_MAX = 200

function ascii(text: string): string {
  return JSON.stringify(text.slice(0, TEXT_MAX)).replace(
    /[^\x20-\x7e]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
