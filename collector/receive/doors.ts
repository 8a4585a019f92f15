/**
 * What the doors have in common: who may enter, which shard a sender meets, and how an outcome is answered.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access, Caller, Networks } from '../../proto/runtime/access.ts'
import type { ReceivingBudget } from '../../proto/runtime/http-server.ts'
import { sendError } from '../../proto/runtime/http-server.ts'
import type { Outcome, RejectCode, RetryCode } from '../../proto/runtime/outcome.ts'
import type { Door } from '../journal/record.ts'
import type { Taken } from '../shard/reception.ts'
import type { TakeService } from '../shard/take-service.ts'

export interface DoorContext {
  readonly access: Access
  readonly openWrites: Networks
  readonly shards: readonly TakeService[]
  readonly tenant: string
  readonly bodyBytesMax: number
  readonly receiving: ReceivingBudget
  readonly counts: DoorRequests
}

/** Requests by door and outcome: `ok`, or the code of a rejection or retry. */
export class DoorRequests {
  readonly #counts = new Map<string, number>()

  add(door: Door, outcome: 'ok' | 'unauthorized' | RejectCode | RetryCode): void {
    const key = `${door} ${outcome}`
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  readings(): { labels: { door: string; outcome: string }; value: number }[] {
    return [...this.#counts].map(([key, value]) => {
      const [door, outcome] = key.split(' ') as [string, string]
      return { labels: { door, outcome }, value }
    })
  }
}

/** Answers 401 and false unless the caller has a valid token, or has none and comes from where none is needed. */
export function admitted(
  context: DoorContext,
  door: Door,
  open: boolean,
  request: IncomingMessage,
  response: ServerResponse,
): Caller | undefined {
  const caller = context.access.caller(request.headers.authorization)
  if (caller.kind === 'known') return caller
  if (caller.kind === 'anonymous' && open && context.openWrites.has(request.socket.remoteAddress)) return caller
  context.counts.add(door, 'unauthorized')
  sendError(response, 401, 'UNAUTHORIZED', 'Unauthorized')
  request.resume()
  return undefined
}

/** The same sender always meets the same shard, so that the samples of one series meet in one place. */
export function shardOf(context: DoorContext, caller: Caller, request: IncomingMessage): TakeService {
  const { shards } = context
  if (shards.length === 1) return shards[0]!
  const sender = `${caller.kind === 'known' ? caller.id : ''} ${request.socket.remoteAddress}`
  return shards[createHash('sha256').update(sender).digest().readUInt32LE() % shards.length]!
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
