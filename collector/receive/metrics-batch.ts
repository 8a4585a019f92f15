/**
 * `POST /v1/metrics/batch`: metric points as JSON, xtrace's door, and what nebula's nodes call each heartbeat.
 *
 *     200  written: `{"message":"Request Successful."}`; where points were not: `rejected_count`, and the first hundred as
 *          `rejected: [{index, reason}]`
 *     400, 422  nothing usable: not JSON; JSON of another shape     415  not JSON by its Content-Type
 *     413  body over the limit     503  try again     429  over a limit: Retry-After says when
 *     401  wrong or missing token  403  a token or tenant that may not
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { mediaType, sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import type { Taken } from '../shard/reception.ts'
import { REFUSALS } from '../shard/refusals.ts'
import type { DoorContext } from './doors.ts'
import { answerFailure, count, entered, overflowText, takeBody } from './doors.ts'

const DOOR = 'metrics_batch'
const REJECTED_MAX = 100
const SUCCESS = JSON.stringify({ message: 'Request Successful.' })
const SUCCESS_HEADERS = { 'Content-Type': 'application/json', 'Content-Length': String(SUCCESS.length) }

export async function receiveMetricsBatch(
  context: DoorContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const sender = entered(context, DOOR, false, request, response)
  if (sender === undefined) return
  const { type } = mediaType(request.headers['content-type'])
  if (type !== 'application/json' && !type.endsWith('+json')) {
    count(context, DOOR, sender.origin, 'unsupported')
    request.resume()
    sendError(response, 415, 'BAD_REQUEST', `Content-Type "${type}" is not supported: expected application/json`)
    return
  }
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding !== 'identity') {
    count(context, DOOR, sender.origin, 'unsupported')
    request.resume()
    sendError(response, 400, 'BAD_REQUEST', `Content-Encoding "${encoding}" is not supported here: send plain JSON`)
    return
  }
  answer(response, await takeBody(context, DOOR, sender, request))
}

function answer(response: ServerResponse, outcome: Outcome<Taken>): void {
  if (outcome.kind !== 'ok') {
    answerFailure(response, outcome, outcome.kind === 'reject' && outcome.code === 'invalid' ? 422 : 400)
    return
  }
  const { items, refused, overflow, badPoints } = outcome.value
  if (overflow.length > 0) response.setHeader('X-Fleetmeter-Overflow', overflowText(overflow))
  const refusedCount = refused.reduce((n, r) => n + r.count, 0)
  if (refusedCount === 0) {
    response.writeHead(200, SUCCESS_HEADERS).end(SUCCESS)
    return
  }
  const others = refused
    .filter(({ reason }) => reason !== 'bad_point')
    .flatMap(({ reason, items }) => items.map((index) => ({ index, reason: `${reason}: ${REFUSALS[reason]}` })))
  const rejected = [...badPoints, ...others].sort((a, b) => a.index - b.index).slice(0, REJECTED_MAX)
  const details = { rejected_count: refusedCount, rejected }
  if (refusedCount < items.sample) sendJson(response, 200, { message: 'Request Successful.', ...details })
  else {
    // Nothing is usable: of the wrong shape is 422, as the original answers; outside of limits is 400.
    const { index, reason } = rejected[0]!
    const message = `metrics[${index}]: ${reason}`
    sendJson(response, badPoints.length > 0 ? 422 : 400, { message, code: 'BAD_REQUEST', ...details })
  }
}
