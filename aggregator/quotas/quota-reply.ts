/** Replies about quotas before they are written, by Hono or without it: a check that was decided, what was refused, what failed. */
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { Refusal } from '../directory/refusal.ts'
import { utc } from '../overview/answers.ts'
import type { Problem } from '../overview/problem.ts'
import { problemOf } from '../overview/problem.ts'
import type { Demand, Figure, Refused } from './decision.ts'
import { grantedText } from './granted-text.ts'
import { rateLimitHeaders, refusalAnswer, retryAfter, saidOf, standingOf } from './quota-answers.ts'
import type { RequestContext } from './quota-request.ts'
import { readDemand } from './quota-request.ts'
import type { Checked, QuotaService } from './quota-service.ts'
import { isDegraded, QuotasUnavailable } from './quota-service.ts'

export interface QuotaReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON. */
  readonly body: string
}

/** Would it fit? At once, where that is known in memory. @throws Refusal, QuotasUnavailable */
export function checkReply(
  service: QuotaService,
  body: unknown,
  context: RequestContext,
): QuotaReply | Promise<QuotaReply> {
  const demand = readDemand(body, context)
  const { now } = context
  const known = service.checkInMemory(demand)
  return known === undefined
    ? service.check(demand).then((checked) => checkedReply(checked, demand, now))
    : checkedReply(known, demand, now)
}

function checkedReply({ decision, figures }: Checked, demand: Demand, now: number): QuotaReply {
  if (decision.outcome === 'refused') return refusedReply(decision, demand, figures, now)
  const standings = figures.map(standingOf)
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json', ...rateLimitHeaders(figures, now, standings) },
    body: grantedText(saidOf(decision), figures, standings, textOf(now)),
  }
}

let lately = { ms: Number.NaN, text: '' }

/** Of a moment: in one millisecond many are asked. */
function textOf(ms: number): string {
  if (ms !== lately.ms) lately = { ms, text: utc(ms) }
  return lately.text
}

/** @param figures of all quotas that were asked @param now ms */
export function refusedReply(
  decision: Refused,
  { amounts }: Pick<Demand, 'amounts'>,
  figures: readonly Figure[],
  now: number,
): QuotaReply {
  const { detail, ...more } = refusalAnswer(decision.by, amounts)
  const after = retryAfter(decision.by, amounts, now)
  const limits = rateLimitHeaders(figures, now)
  const headers = after === undefined ? limits : { 'Retry-After': after, ...limits }
  // Where nobody knows whether it would fit, it may be asked again at once: that is no matter of its limit.
  const isOver = !isDegraded(decision) || decision.by.some(({ counted }) => counted !== undefined)
  const [status, code] = isOver ? ([429, 'QUOTA_EXCEEDED'] as const) : ([503, 'SERVICE_UNAVAILABLE'] as const)
  return problemReply({ status, code, detail }, headers, { ...more, as_of: utc(now) })
}

export function failureReply(error: unknown, log: Logger): QuotaReply {
  if (error instanceof Refusal) {
    const { status, code, message: detail, faults, headers } = error
    return problemReply({ status, code, detail, ...(faults.length === 0 ? {} : { errors: faults }) }, headers)
  }
  if (error instanceof QuotasUnavailable) {
    const detail = `Quotas cannot decide at the moment: ${error.message}. Send it again as it was: it is done once`
    return problemReply({ status: 503, code: 'SERVICE_UNAVAILABLE', detail }, { 'Retry-After': '1' })
  }
  const stack = error instanceof Error ? error.stack : undefined
  log.error({ error: messageOf(error), stack }, 'request about quotas failed')
  return problemReply({ status: 500, code: 'INTERNAL_ERROR', detail: 'Internal Error' })
}

/** @param more members of that problem's own */
export function problemReply(
  given: Omit<Problem, 'type' | 'title'>,
  headers: QuotaReply['headers'] = {},
  more: object = {},
): QuotaReply {
  return {
    status: given.status,
    headers: { 'Content-Type': 'application/problem+json', ...headers },
    body: JSON.stringify({ ...problemOf(given), ...more }),
  }
}
