/**
 * Requests that only the owner of the log answers, where several aggregators share one:
 *
 *     owner:   decides ─▶ has the database said since the request came that it is the owner? ─▶ answer
 *                                     └── else it is asked: an owner that was replaced does not know it
 *     standby: the owner's answer; of what is stored, its own where there is no owner; else 503
 *
 * Look-ups of an owner that was not told for 3 s that it is one say so: `degraded`, and `as_of` when it was told last.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { utc } from '../overview/answers.ts'
import type { Peers } from './peers.ts'
import { notOwner } from './peers.ts'
import type { PostgresLog } from './postgres-log.ts'

/** Answers a request; `env` is the server's. */
export type Answer = (request: Request, env?: object) => Response | Promise<Response>

export interface OwnerDoorOptions {
  /** What this aggregator decides by, where it is the owner. */
  readonly current: () => { readonly log: PostgresLog; readonly decide: Answer } | undefined
  readonly peers: Pick<Peers, 'forward'>
  /** Everything else. */
  readonly rest: Answer
  readonly clock: Clock
}

const DECIDED = /^\/v1\/(quota|subjects)\//
/** Of these the owner alone knows what is logged and not stored yet. */
const STORED = /^\/v1\/(events|tasks|usage)(\/|$)/
const STALE_MS = 3000

export function ownerDoor({ current, peers, rest, clock }: OwnerDoorOptions): Answer {
  return async (request, env) => {
    const { pathname } = new URL(request.url)
    const isDecided = DECIDED.test(pathname)
    if (!isDecided && !STORED.test(pathname)) return rest(request, env)
    const term = current()
    if (term === undefined) {
      const answer = await peers.forward(request)
      return answer.status === 503 && !isDecided ? rest(request, env) : answer
    }
    if (!isDecided) return rest(request, env)
    const { log, decide } = term
    const came = clock.monotonic()
    const answer = await decide(request, env)
    if (answer.status === 404 && answer.headers.get('content-type')?.startsWith('text/plain')) return rest(request, env)
    if (request.method === 'GET') return markedWhenStale(answer, log)
    if (answer.status >= 500 || log.confirmedAt >= came) return answer
    try {
      await log.confirm()
      return answer
    } catch {
      return notOwner('This aggregator cannot know whether it is the owner')
    }
  }

  async function markedWhenStale(answer: Response, { confirmedAt }: PostgresLog): Promise<Response> {
    const age = clock.monotonic() - confirmedAt
    if (age < STALE_MS || answer.status !== 200) return answer
    const body = (await answer.json()) as object
    const headers = new Headers(answer.headers)
    headers.delete('content-length')
    return new Response(JSON.stringify({ ...body, degraded: true, as_of: utc(clock.now() - age) }), { headers })
  }
}
