/**
 * `/v1/host/sampling`: how often this host's own figures are read, and a lease on reading them fast.
 *
 *     GET                    200  `{"interval_ms":10000,"leases":[],"gpus":8,"sources":[{"name":"nvidia-smi","state":"answering","detail":""}]}`
 *     POST {"seconds":60}    200  the same, at the fast interval for so long; asked again it lasts as long as the longest; 0 ends what
 *                                 this caller asked for, and not what others did; the admin's ends everybody's
 *     400  no number of seconds from 0 to 3600     401, 403  a token that may write is needed, wherever the request comes from
 *     404  this collector does not sample its host     405  another method     413  body over 1 KiB
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access, Credential } from '../../proto/runtime/access.ts'
import { lacks } from '../../proto/runtime/access.ts'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { sendError, sendJson } from '../../proto/runtime/http-answers.ts'
import { readBody } from '../../proto/runtime/request-body.ts'
import type { HostSampler } from '../host/host-sampler.ts'

export const HOST_SAMPLING_PATH = '/v1/host/sampling'

const LEASE = 'asked for'
const SECONDS_MAX = 3600
const BODY_BYTES_MAX = 1024

export class HostSampling {
  readonly #access: Access
  readonly #host: HostSampler | undefined

  constructor(access: Access, host: HostSampler | undefined) {
    this.#access = access
    this.#host = host
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (
      ...why: [status: number, code: 'UNAUTHORIZED' | 'FORBIDDEN' | 'NOT_FOUND' | 'BAD_REQUEST', message: string]
    ) => {
      sendError(response, ...why, why[0] === 405 ? { Allow: 'GET, HEAD, POST' } : {})
      discardRest(request)
    }
    const caller = this.#access.caller(request.headers.authorization)
    if (caller.kind !== 'known') return refuse(401, 'UNAUTHORIZED', 'Unauthorized')
    if (!caller.credential.may.includes('write')) return refuse(403, 'FORBIDDEN', lacks(caller.credential, 'write'))
    if (this.#host === undefined)
      return refuse(404, 'NOT_FOUND', 'This collector does not sample its host: collector.host is false')
    const { method } = request
    if (method === 'POST') {
      const body = await readBody(request, BODY_BYTES_MAX)
      const seconds = secondsIn(new TextDecoder().decode(body))
      if (seconds === undefined)
        return refuse(400, 'BAD_REQUEST', `Expected {"seconds": N} with a number from 0 to ${SECONDS_MAX}`)
      lease(this.#host, caller.credential, seconds)
    } else if (method === 'GET' || method === 'HEAD') request.resume()
    else return refuse(405, 'BAD_REQUEST', `${method} is not allowed on ${HOST_SAMPLING_PATH}: expected GET or POST`)
    sendJson(response, 200, stateOf(this.#host))
  }
}

function lease({ pace }: HostSampler, { id, admin }: Credential, seconds: number): void {
  const own = `${LEASE}:${id}`
  const asked = pace.leases().filter(({ reason }) => reason === own || (admin && reasonOf(reason) === LEASE))
  if (seconds === 0) for (const { reason } of asked) pace.release(reason)
  else pace.hold(own, Math.max(seconds * 1000, ...asked.filter((l) => l.reason === own).map((l) => l.leftMs)))
}

/** Who asked is nobody else's business. */
function reasonOf(reason: string): string {
  return reason.startsWith(`${LEASE}:`) ? LEASE : reason
}

function stateOf({ pace, gpuCount, tools, unansweredFileSystems }: HostSampler): unknown {
  return {
    interval_ms: pace.intervalMs,
    leases: pace
      .leases()
      .map(({ reason, leftMs }) => ({ reason: reasonOf(reason), seconds_left: Math.ceil(leftMs / 1000) })),
    gpus: gpuCount,
    sources: tools.map(({ name, state, detail }) => ({ name, state, detail })),
    file_systems_unanswered: unansweredFileSystems,
  }
}

function secondsIn(text: string): number | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined // answered 400, with what is expected
  }
  const seconds = typeof parsed === 'object' && parsed !== null && 'seconds' in parsed ? parsed.seconds : undefined
  return typeof seconds === 'number' && seconds >= 0 && seconds <= SECONDS_MAX ? seconds : undefined
}
