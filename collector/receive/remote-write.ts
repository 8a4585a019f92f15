/**
 * `POST /api/v1/write`: Prometheus remote write 1.0 and 2.0, told apart by the Content-Type alone.
 *
 *     204  everything is written (duplicates count: they are)
 *     400  undecodable, or some samples are refused; the others are written, the body says how many and why
 *     415  another media type, encoding or message; decided before the body is touched
 *     413  body over the limit     503  try again     429  over a limit: Retry-After says when
 *     401  wrong or missing token  403  a token or tenant that may not
 *
 * 2.0 is also told in headers how much was written; 1.0 senders must not be.
 * @see https://prometheus.io/docs/specs/prw/remote_write_spec/
 * @see https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { mediaType, sendError } from '../../proto/runtime/http-answers.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import type { ItemKind } from '../../proto/wire/batch-extras.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import type { Taken } from '../shard/reception.ts'
import { REFUSALS } from '../shard/refusals.ts'
import type { DoorContext } from './doors.ts'
import { answerFailure, count, entered, overflowText, REJECT_STATUS, takeBody } from './doors.ts'

/** The messages and the doors that they come through. */
const MESSAGES: ReadonlyMap<string, 'remote_write' | 'remote_write_2'> = new Map([
  ['prometheus.WriteRequest', 'remote_write'],
  ['io.prometheus.write.v2.Request', 'remote_write_2'],
])

export async function receiveRemoteWrite(
  context: DoorContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const sender = entered(context, 'remote_write', true, request, response)
  if (sender === undefined) return
  const door = doorOf(request)
  if (typeof door === 'object') {
    count(context, 'remote_write', sender.origin, 'unsupported')
    request.resume()
    sendError(response, 415, 'BAD_REQUEST', door.unsupported)
    return
  }
  const outcome = await takeBody(context, door, sender, request)
  if (door === 'remote_write_2') setWritten(response, outcome)
  answer(response, outcome)
}

/** Which message the headers announce, or why none that is read here. */
function doorOf(request: IncomingMessage): 'remote_write' | 'remote_write_2' | { readonly unsupported: string } {
  const encoding = (request.headers['content-encoding'] ?? 'snappy').trim().toLowerCase()
  if (encoding !== 'snappy')
    return {
      unsupported: `Content-Encoding "${encoding}" is not supported: remote write bodies are snappy (block format)`,
    }
  const { type, parameters } = mediaType(request.headers['content-type'] ?? 'application/x-protobuf')
  if (type !== 'application/x-protobuf')
    return { unsupported: `Content-Type "${type}" is not supported: expected application/x-protobuf` }
  const parameter = parameters.find((p) => p.toLowerCase().startsWith('proto='))
  const message = parameter?.slice('proto='.length).replace(/^"(.*)"$/, '$1') ?? 'prometheus.WriteRequest'
  return (
    MESSAGES.get(message) ?? {
      unsupported: `The message "${message}" is not supported: expected one of ${[...MESSAGES.keys()].join(', ')}`,
    }
  )
}

/** How much of a 2.0 request is written, in the headers that its sender compares with what it sent. */
function setWritten(response: ServerResponse, outcome: Outcome<Taken>): void {
  const written = (kind: ItemKind): number => {
    if (outcome.kind !== 'ok') return 0
    const { items, refused } = outcome.value
    return items[kind] - refused.reduce((n, r) => n + (r.kind === kind ? r.count : 0), 0)
  }
  response.setHeader('X-Prometheus-Remote-Write-Samples-Written', written('sample'))
  response.setHeader('X-Prometheus-Remote-Write-Histograms-Written', written('histogram'))
  response.setHeader('X-Prometheus-Remote-Write-Exemplars-Written', written('exemplar'))
}

function answer(response: ServerResponse, outcome: Outcome<Taken>): void {
  if (outcome.kind !== 'ok') {
    answerFailure(response, outcome, outcome.kind === 'reject' ? REJECT_STATUS[outcome.code] : 503)
    return
  }
  // They are written, if not one by one: no failure, and yet somebody should know.
  const { overflow } = outcome.value
  if (overflow.length > 0) response.setHeader('X-Fleetmeter-Overflow', overflowText(overflow))
  const problems = notWritten(outcome.value)
  if (problems.length === 0) response.writeHead(204).end()
  else sendError(response, 400, 'BAD_REQUEST', problems.join('; '))
}

/** What of the request is not written, in sentences. Metadata that is refused is counted and no reason for a 400: every sample is written. */
function notWritten({ items, refused: all }: Taken): string[] {
  const problems: string[] = []
  const refused = all.filter((r) => r.kind !== 'metadata')
  for (const kind of ITEM_KINDS) {
    const count = refused.reduce((n, r) => n + (r.kind === kind ? r.count : 0), 0)
    if (count > 0) problems.push(`${count} of ${items[kind]} ${PLURALS[kind]} not written, the others are`)
  }
  for (const { reason, count, example } of refused)
    problems.push(`${count} × ${reason}: ${REFUSALS[reason]}${example === '' ? '' : ` (first: ${example})`}`)
  return problems
}

const PLURALS: Readonly<Record<ItemKind, string>> = {
  sample: 'samples',
  histogram: 'native histograms',
  exemplar: 'exemplars',
  metadata: 'metadata entries',
}
