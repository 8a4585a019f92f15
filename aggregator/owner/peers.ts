/**
 * What a standby does with what only the owner decides: it asks the owner, once, and answers what that answers. A request that was
 * forwarded already is not forwarded again: two that each think the other is the owner answer 503.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import type { LeaseAnswer, LeaseRound } from '../../proto/quotas/lease-round.ts'
import { LEASES_PATH } from '../../proto/quotas/lease-round.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { EVENT_BATCH_CONTENT_TYPE, encodeEventBatch } from '../../proto/wire/event-batch.ts'
import { problem } from '../overview/problem.ts'
import type { Admitted } from './admission.ts'
import type { OwnerRow } from './owner-table.ts'
import type { SampleNews } from './sample-news.ts'

export interface PeersOptions {
  /** Of this process. */
  readonly holder: string
  /** Another aggregator that is the owner, as far as is known. */
  readonly other: () => OwnerRow | undefined
  /** What aggregators know each other by. */
  readonly token: () => string
  /** Whether this aggregator knows who is asking. @param authorization the header */
  readonly knows: (authorization: string | undefined) => boolean
  /** ms. */
  readonly monotonic: () => number
  readonly log: Logger
}

/** Where a standby sends events to the owner. */
export const OWNER_EVENTS_PATH = '/intake/v1/owner-events'
/** Where it tells the owner of samples. */
export const OWNER_SAMPLES_PATH = '/intake/v1/owner-samples'
/** Who has forwarded a request. */
export const FORWARDED_HEADER = 'fleetmeter-forwarded-by'
const TIMEOUT_MS = 10_000
const EVENTS_TIMEOUT_MS = 30_000
/** Requests that wait for the owner's answer, each with a connection of its own: more are told to come again. */
const AT_ONCE_MAX = 500
const LOG_EVERY_MS = 10_000
const SAME_FOR_ALL = 'the token and the keys have to be the same for all aggregators'
/** Of requests about quotas. */
const BODY_BYTES_MAX = 64 * 1024
/** Of one connection, or of how the body came. */
const NOT_PASSED_ON = [
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'host',
  'expect',
  'te',
  'upgrade',
]

const LEADS_BACK =
  'The address that the owner gives (peer_url, or where it listens) leads back to this aggregator: each needs one of its own that the others reach'

export class Peers {
  readonly #options: PeersOptions
  readonly #often: RateLimitedLog
  readonly #counts = { forwarded: 0, failed: 0 }
  #underWay = 0

  constructor(options: PeersOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, options.monotonic)
  }

  /** Requests that the owner has answered; those that it did not. */
  get counts(): Readonly<Record<'forwarded' | 'failed', number>> {
    return this.#counts
  }

  /** @returns the owner's answer, or 503 `NOT_OWNER` where there is none to be had */
  async forward(request: Request): Promise<Response> {
    const { holder, other } = this.#options
    const owner = other()
    const by = request.headers.get(FORWARDED_HEADER)
    if (by === holder) return this.#failed(LEADS_BACK)
    if (by !== null) return notOwner('This aggregator is not the owner either')
    if (owner === undefined) return notOwner('Nobody is the owner at the moment')
    const body = await bodyOf(request)
    if (body === undefined)
      return problem(
        { status: 413, code: 'BAD_REQUEST', detail: `The body is longer than ${BODY_BYTES_MAX} bytes` },
        new Headers(),
      )
    // Not before the body is here: who sends it slowly holds up nobody.
    if (this.#underWay >= AT_ONCE_MAX) return this.#failed('Too many requests wait for the owner')
    this.#underWay++
    try {
      return await this.#ask(owner, request, body)
    } finally {
      this.#underWay--
    }
  }

  async #ask({ address }: OwnerRow, request: Request, body: Uint8Array<ArrayBuffer>): Promise<Response> {
    const { holder, knows } = this.#options
    const { pathname, search } = new URL(request.url)
    const headers = passedOn(request.headers)
    headers.set(FORWARDED_HEADER, holder)
    headers.set('accept-encoding', 'identity')
    try {
      const answer = await fetch(`${address}${pathname}${search}`, {
        method: request.method,
        headers,
        body: body.length === 0 ? null : body,
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      const content = await answer.arrayBuffer()
      if (answer.status === 401 && knows(request.headers.get('authorization') ?? undefined))
        return this.#failed(
          `The owner at ${address} does not know this token, and this aggregator does: ${SAME_FOR_ALL}`,
        )
      this.#counts.forwarded++
      const isEmpty = content.byteLength === 0
      return new Response(isEmpty ? null : content, { status: answer.status, headers: passedOn(answer.headers) })
    } catch (error) {
      return this.#failed(`The owner at ${address} does not answer: ${messageOf(error)}`)
    }
  }

  #failed(detail: string): Response {
    this.#counts.failed++
    this.#often.once(detail, (held) =>
      this.#options.log.warn({ detail, held }, 'a request cannot be passed on to the owner'),
    )
    return notOwner(detail)
  }

  /** @throws FleetmeterError `FM_OWNER_LOG` where nobody is the owner; whatever fetch throws */
  async tell(news: SampleNews): Promise<void> {
    await this.#say(OWNER_SAMPLES_PATH, news)
  }

  /** A collector's round about slices of quotas. @throws as {@link tell} */
  async round(round: LeaseRound): Promise<LeaseAnswer> {
    return (await this.#say(LEASES_PATH, round)) as LeaseAnswer
  }

  /** Has the owner log events. @returns what became of each, in their order */
  async take(events: readonly ReceivedEvent[]): Promise<Admitted[]> {
    const { holder, other, token } = this.#options
    const owner = other()
    try {
      if (owner === undefined) throw new FleetmeterError('FM_OWNER_LOG', 'Nobody is the owner at the moment')
      const header = { collector: holder, session: holder, lane: 'owner', from: 0, to: events.length, urgent: false }
      const answer = await fetch(`${owner.address}${OWNER_EVENTS_PATH}`, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${token()}`,
          'Content-Type': EVENT_BATCH_CONTENT_TYPE,
          [FORWARDED_HEADER]: holder,
        },
        body: encodeEventBatch(header, events),
        signal: AbortSignal.timeout(EVENTS_TIMEOUT_MS),
      })
      const { outcomes, message } = (await answer.json()) as { outcomes?: unknown; message?: string }
      if (answer.status !== 200 || !isAdmitted(outcomes, events.length)) throw refused(answer.status, message)
      this.#counts.forwarded++
      return outcomes.map((outcome) =>
        outcome === 'refused' ? refusal(new Error('the owner could not log it')) : outcome,
      )
    } catch (error) {
      this.#counts.failed++
      return events.map(() => refusal(error))
    }
  }

  async #say(path: string, body: object): Promise<unknown> {
    const { holder, other, token } = this.#options
    const owner = other()
    if (owner === undefined) throw new FleetmeterError('FM_OWNER_LOG', 'Nobody is the owner at the moment')
    const headers = {
      Authorization: `Bearer ${token()}`,
      'Content-Type': 'application/json',
      [FORWARDED_HEADER]: holder,
    }
    const answer = await fetch(`${owner.address}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const said: unknown = await answer.json()
    if (answer.status !== 200) throw refused(answer.status, (said as { message?: string } | null)?.message)
    return said
  }
}

/** 503: somebody else decides. */
export function notOwner(detail: string): Response {
  return problem(
    { status: 503, code: 'NOT_OWNER', detail: `${detail}. Send it again as it was: it is done once` },
    new Headers({ 'Retry-After': '1' }),
  )
}

function refused(status: number, message: string | undefined): FleetmeterError {
  const hint = status === 401 ? ` (${SAME_FOR_ALL})` : ''
  return new FleetmeterError('FM_OWNER_LOG', `The owner answers ${status}: ${message ?? 'nothing'}${hint}`)
}

function refusal(error: unknown): Admitted {
  return { refused: 'log', error }
}

function isAdmitted(outcomes: unknown, count: number): outcomes is ('logged' | 'duplicate' | 'refused')[] {
  return (
    Array.isArray(outcomes) &&
    outcomes.length === count &&
    outcomes.every((outcome) => ['logged', 'duplicate', 'refused'].includes(outcome as string))
  )
}

function passedOn(headers: Headers): Headers {
  const kept = new Headers(headers)
  for (const name of NOT_PASSED_ON) kept.delete(name)
  return kept
}

/** Undefined: it is too long. */
async function bodyOf(request: Request): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.length
    if (length > BODY_BYTES_MAX) return undefined
    parts.push(part)
  }
  const body = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    body.set(part, at)
    at += part.length
  }
  return body
}
