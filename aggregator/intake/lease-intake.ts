/**
 * `POST /intake/v1/leases`: a round of a collector about slices of quotas.
 *
 *     200  what it holds          400  undecodable
 *     426  of a newer version     503  not now: send it again
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { LeaseAnswer, LeaseRound } from '../../proto/quotas/lease-round.ts'
import { LEASES_VERSION, readLeaseRound } from '../../proto/quotas/lease-round.ts'
import { sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import { readBody } from '../../proto/runtime/request-body.ts'
import { FORWARDED_HEADER } from '../owner/peers.ts'

/** What answers a round. */
export interface LeaseDesk {
  /**
   * @param forwarded by another aggregator, which took this one for the owner
   * @throws where nothing can be decided now
   */
  round(round: LeaseRound, forwarded: boolean): Promise<LeaseAnswer>
}

/** Some 300 bytes a decision. */
const ROUND_BYTES_MAX = 8 * 1024 * 1024

export async function answerLeases(desk: LeaseDesk, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bytes = await readBody(request, ROUND_BYTES_MAX)
  let body: unknown
  try {
    body = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    body = undefined
  }
  const version = (body as { version?: unknown } | undefined)?.version
  if (typeof version === 'number' && version > LEASES_VERSION) {
    const reason = `The round is of version ${version}, this aggregator knows ${LEASES_VERSION}: upgrade it first`
    return sendError(response, 426, 'BAD_REQUEST', reason)
  }
  const round = readLeaseRound(body)
  if (typeof round === 'string') return sendError(response, 400, 'BAD_REQUEST', `Not a round about leases: ${round}`)
  try {
    sendJson(response, 200, await desk.round(round, FORWARDED_HEADER in request.headers))
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'QuotasUnavailable') throw error
    sendError(response, 503, 'SERVICE_UNAVAILABLE', `${error.message}: send this again`, { 'Retry-After': '1' })
  }
}
