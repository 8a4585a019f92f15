/**
 * `POST /intake/v1/batches`: a batch in, answered when it is stored.
 *
 *     200  stored                       409  {"need":[…]}: describe these series and send it again
 *     400  changed on the way           422  unreadable, kept aside: go on
 *     426  of a newer version           503  no room: later
 *
 * `POST /intake/v1/events`: a batch of events, answered in the same way, but that nothing has to be described.
 * `POST /intake/v1/owner-events`: those of them that only the owner of the log takes, from another aggregator (events/forwarded-events.ts).
 * `POST /intake/v1/owner-samples`: what the owner has to know of samples that came to another aggregator (owner/sample-news.ts).
 * `POST /intake/v1/leases`: slices of quotas, see lease-intake.ts.
 * `POST /intake/v1/flush`: store at once what is here; the collector is stopping and waits.
 *
 * Batches say whose their samples are: only who may write for every tenant may send them (403).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { LEASES_PATH } from '../../proto/quotas/lease-round.ts'
import type { Access } from '../../proto/runtime/access.ts'
import { lacks } from '../../proto/runtime/access.ts'
import { sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import { readBody } from '../../proto/runtime/request-body.ts'
import type { EventsAnswer, EventsIntake } from '../events/events-intake.ts'
import type { ForwardedAnswer } from '../events/forwarded-events.ts'
import { OWNER_EVENTS_PATH, OWNER_SAMPLES_PATH } from '../owner/peers.ts'
import type { SampleNews } from '../owner/sample-news.ts'
import { readSampleNews } from '../owner/sample-news.ts'
import type { IntakeAnswer } from './intake.ts'
import type { IntakeService } from './intake-service.ts'
import type { LeaseDesk } from './lease-intake.ts'
import { answerLeases } from './lease-intake.ts'

/** A collector's largest batch: one write of many bodies may go over its usual half megabyte. */
const BATCH_BYTES_MAX = 256 * 1024 * 1024
/** Of events: read in one turn of the event loop, so far less. */
const EVENTS_BYTES_MAX = 32 * 1024 * 1024
/** The same, written anew. */
const FORWARDED_BYTES_MAX = 64 * 1024 * 1024

export interface IntakeRoutes {
  readonly access: Access
  readonly intake: IntakeService
  readonly events: EventsIntake
  readonly leases: LeaseDesk
  readonly flush: () => void
  /** Takes what another aggregator forwards. */
  readonly forwarded: (bytes: Uint8Array) => Promise<ForwardedAnswer>
  /** What another aggregator tells of samples. @returns false: this is not the owner */
  readonly told: (news: SampleNews) => boolean
}

export function isIntakePath(path: string): boolean {
  return path.startsWith('/intake/v1/')
}

export async function handleIntake(
  { access, intake, events, leases, flush, forwarded, told }: IntakeRoutes,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const caller = access.caller(request.headers.authorization)
  if (caller.kind !== 'known') {
    request.resume()
    sendError(response, 401, 'UNAUTHORIZED', 'Unauthorized')
  } else if (!caller.credential.may.includes('forward')) {
    request.resume()
    sendError(response, 403, 'FORBIDDEN', lacks(caller.credential, 'forward'))
  } else if (request.method !== 'POST') {
    request.resume()
    sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected POST`, {
      Allow: 'POST',
    })
  } else if (path === '/intake/v1/flush') {
    request.resume()
    flush()
    sendJson(response, 200, { flushing: true })
  } else if (path === '/intake/v1/batches') {
    answerBatch(response, await intake.receive(await readBody(request, BATCH_BYTES_MAX)))
  } else if (path === '/intake/v1/events') {
    answerBatch(response, await events.receive(await readBody(request, EVENTS_BYTES_MAX)))
  } else if (path === OWNER_EVENTS_PATH) {
    const answer = await forwarded(await readBody(request, FORWARDED_BYTES_MAX))
    if (answer.kind === 'taken') sendJson(response, 200, { outcomes: answer.outcomes })
    else if (answer.kind === 'later') sendLater(response, answer.reason)
    else sendError(response, 422, 'BAD_REQUEST', answer.reason)
  } else if (path === OWNER_SAMPLES_PATH) {
    const news = readSampleNews(Buffer.from(await readBody(request, FORWARDED_BYTES_MAX)).toString('utf8'))
    if (news === undefined) sendError(response, 422, 'BAD_REQUEST', 'This is no news of samples')
    else if (told(news)) sendJson(response, 200, {})
    else sendLater(response, 'This aggregator is not the owner')
  } else if (path === LEASES_PATH) {
    await answerLeases(leases, request, response)
  } else {
    request.resume()
    sendError(response, 404, 'NOT_FOUND', `There is nothing at ${path}`)
  }
}

/** What a batch is answered with, of samples or of events. */
function answerBatch(response: ServerResponse, answer: IntakeAnswer | EventsAnswer): void {
  switch (answer.kind) {
    case 'stored':
      sendJson(response, 200, { stored: true, expired: answer.expired })
      return
    case 'need':
      sendJson(response, 409, { need: answer.refs })
      return
    case 'damaged':
      sendError(response, 400, 'BAD_REQUEST', answer.reason)
      return
    case 'unreadable':
      sendError(response, 422, 'BAD_REQUEST', answer.reason)
      return
    case 'newer':
      sendError(response, 426, 'BAD_REQUEST', answer.reason)
      return
    case 'full':
      sendLater(response, 'ClickHouse does not take rows fast enough')
      return
    case 'later':
      sendLater(response, answer.reason)
      return
    default:
      answer satisfies never
  }
}

function sendLater(response: ServerResponse, reason: string): void {
  sendError(response, 503, 'SERVICE_UNAVAILABLE', `${reason}: send this again`, { 'Retry-After': '1' })
}
