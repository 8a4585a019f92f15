/**
 * `POST /api/v1/write`: Prometheus remote write 1.0.
 *
 *     204  everything is written (duplicates count: they are)
 *     400  undecodable, or some samples are refused; the others are written, the body says how many and why
 *     415  another media type, encoding or message; decided before the body is touched
 *     413  body over the limit     503  try again     401  wrong or missing token
 *
 * @see https://prometheus.io/docs/specs/prw/remote_write_spec/
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { mediaType, readBody, sendError } from '../../proto/runtime/http-server.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { REFUSALS } from '../shard/refusals.ts'
import type { Taken } from '../shard/shard-core.ts'
import type { DoorContext } from './doors.ts'
import { admitted, answerFailure, REJECT_STATUS, shardOf } from './doors.ts'

const DOOR = 'remote_write'

export async function receiveRemoteWrite(
  context: DoorContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const caller = admitted(context, DOOR, true, request, response)
  if (caller === undefined) return
  const unsupported = unsupportedReason(request)
  if (unsupported !== undefined) {
    context.counts.add(DOOR, 'unsupported')
    request.resume()
    sendError(response, 415, 'BAD_REQUEST', unsupported)
    return
  }
  const body = await readBody(request, context.bodyBytesMax, context.receiving)
  const outcome = await shardOf(context, caller, request).take({ door: DOOR, tenant: context.tenant, body })
  context.counts.add(DOOR, outcome.kind === 'ok' ? 'ok' : outcome.code)
  answer(response, outcome)
}

/** Why the headers rule the message out; undefined for snappy and a 1.0 WriteRequest. */
function unsupportedReason(request: IncomingMessage): string | undefined {
  const encoding = (request.headers['content-encoding'] ?? 'snappy').trim().toLowerCase()
  if (encoding !== 'snappy')
    return `Content-Encoding "${encoding}" is not supported: remote write bodies are snappy (block format)`
  const { type, parameters } = mediaType(request.headers['content-type'] ?? 'application/x-protobuf')
  if (type !== 'application/x-protobuf')
    return `Content-Type "${type}" is not supported: expected application/x-protobuf`
  const proto = parameters
    .find((p) => p.toLowerCase().startsWith('proto='))
    ?.slice('proto='.length)
    .replace(/^"(.*)"$/, '$1')
  if (proto !== undefined && proto !== 'prometheus.WriteRequest')
    return `The message "${proto}" is not supported: expected prometheus.WriteRequest (remote write 1.0)`
  return undefined
}

function answer(response: ServerResponse, outcome: Outcome<Taken>): void {
  if (outcome.kind !== 'ok') {
    answerFailure(response, outcome, outcome.kind === 'reject' ? REJECT_STATUS[outcome.code] : 503)
    return
  }
  const problems = notWritten(outcome.value)
  if (problems.length === 0) response.writeHead(204).end()
  else sendError(response, 400, 'BAD_REQUEST', problems.join('; '))
}

/** What of the request is not written, in sentences. Metadata is outside of 1.0 and passed over silently. */
function notWritten({ samples, refused, extras }: Taken): string[] {
  const problems: string[] = []
  const count = refused.reduce((n, r) => n + r.count, 0)
  if (count > 0) problems.push(`${count} of ${samples} samples not written, the others are`)
  for (const { reason, count: n, example } of refused)
    problems.push(`${n} × ${reason}: ${REFUSALS[reason]} (first: ${example})`)
  if (extras.histogram > 0) problems.push(`${extras.histogram} native histograms not written: not supported yet`)
  if (extras.exemplar > 0) problems.push(`${extras.exemplar} exemplars not written: not supported yet`)
  return problems
}
