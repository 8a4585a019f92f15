/** What quotas are answered with: figures, reservations, refusals, and the headers of rate limits. */
import { utc } from '../overview/answers.ts'
import type {
  AdjustmentAnswer,
  FigureAnswer,
  GrantedAnswer,
  OpenReservationAnswer,
  RefusalAnswer,
  ReservationAnswer,
} from './api.ts'
import type { Figure, Granted } from './decision.ts'
import { ExactSum } from './exact-sum.ts'
import type { OpenReservation, Reservation } from './hold.ts'
import type { Quota } from './quota.ts'
import type { AdjustBody, Amount, Said } from './quota-record.ts'
import { decimalOfSum } from './resource.ts'
import type { QuotaWindow } from './window.ts'

const NEAR_PERCENT = 80
/** A collector that decides says `collector NAME`. */
export const DECIDED_BY = 'aggregator'
const TIME_MAX_MS = Date.UTC(9999, 11, 31)

/** What of a figure changes from one answer to the next, as it is answered. */
export interface Standing {
  /** Null: it could not be counted. */
  readonly used: string | null
  readonly held: string
  readonly leased: string
  readonly inDoubt: string
  /** Never below nothing. Null: it could not be counted. */
  readonly left: string | null
  readonly periodFrom: string | null
  readonly resetsAt: string | null
  readonly state: FigureAnswer['state']
}

export function standingOf(figure: Figure): Standing {
  const { quota, period, counted, held, leased, inDoubt, resetsAt } = figure
  const { resource, window } = quota
  const left = leftOf(figure)
  return {
    used: counted === undefined ? null : decimalOfSum(resource, counted),
    held: decimalOfSum(resource, leased.sign === 0 ? held : held.copy().minusSum(leased)),
    leased: decimalOfSum(resource, leased),
    inDoubt: decimalOfSum(resource, inDoubt),
    left: left === undefined ? null : decimalOfSum(resource, left),
    periodFrom: window.kind === 'lifetime' ? null : bound(period.from),
    resetsAt: resetsAt === null || resetsAt > TIME_MAX_MS ? null : bound(resetsAt),
    state: stateOf(figure, left),
  }
}

export function figureAnswer(figure: Figure): FigureAnswer {
  const { quota, subject } = figure
  const { id, level, resource, window, enforcement, shadow } = quota
  const { used, held, leased, inDoubt, left, periodFrom, resetsAt, state } = standingOf(figure)
  return {
    quota: id,
    level,
    subject,
    resource,
    window: window.kind,
    limit: limitText(quota),
    used,
    held,
    leased,
    in_doubt: inDoubt,
    left,
    period_from: periodFrom,
    resets_at: resetsAt,
    enforcement,
    shadow,
    state,
  }
}

const limits = new WeakMap<Quota, string>()

/** Of a definition, as text: it is in every answer about it. */
export function limitText(quota: Quota): string {
  let text = limits.get(quota)
  if (text === undefined) {
    text = decimalOfSum(quota.resource, quota.limit)
    limits.set(quota, text)
  }
  return text
}

const BOUNDS_MAX = 1000
const bounds = new Map<number, string>()

/** Of a period, as text: there are few of them, and each is in every answer. */
function bound(ms: number): string {
  let text = bounds.get(ms)
  if (text !== undefined) return text
  if (bounds.size >= BOUNDS_MAX) bounds.clear() // rolling windows have one for every moment
  text = utc(ms)
  bounds.set(ms, text)
  return text
}

/** What still fits, never below nothing. Undefined: it could not be counted. */
function leftOf({ quota, counted, held }: Figure): ExactSum | undefined {
  if (counted === undefined) return undefined
  const left = quota.limit.copy().minusSum(counted).minusSum(held)
  return left.sign < 0 ? ExactSum.of(0) : left
}

function stateOf({ quota }: Figure, left: ExactSum | undefined): FigureAnswer['state'] {
  if (left === undefined) return 'unknown'
  if (left.sign === 0) return 'over'
  return left.toNumber() * 100 <= quota.limit.toNumber() * (100 - NEAR_PERCENT) ? 'near' : 'ok'
}

export function grantedAnswer(said: Said, figures: readonly Figure[], now: number): GrantedAnswer {
  return {
    granted: true,
    ...said,
    degraded: said.unknown.length > 0,
    quotas: figures.map(figureAnswer),
    decided_by: DECIDED_BY,
    as_of: utc(now),
  }
}

export function saidOf({ over, shadow, unknown }: Granted): Said {
  const ids = (figures: readonly Figure[]): string[] => figures.map(({ quota }) => quota.id)
  return { over: ids(over), shadow: ids(shadow), unknown: ids(unknown) }
}

export function reservationAnswer(of: Reservation): ReservationAnswer {
  const { id, state, owner, task, amounts, committed, from, expires, closedAt, late, overrun } = of
  return {
    id,
    state,
    user_id: owner.userId || null,
    project: owner.project || null,
    department: owner.department || null,
    task_id: task?.taskId ?? null,
    attempt: task?.attempt ?? null,
    amounts: amountsAnswer(amounts),
    committed: committed === null ? null : amountsAnswer(committed),
    reserved_at: utc(from),
    expires_at: utc(expires),
    closed_at: closedAt === null ? null : utc(closedAt),
    late,
    overrun,
  }
}

export function openReservationAnswer(of: OpenReservation): OpenReservationAnswer {
  return { ...reservationAnswer(of), held: amountsAnswer(of.held) }
}

export function adjustmentAnswer({ id, owner, resource, amount, slot, reason }: AdjustBody): AdjustmentAnswer {
  return {
    id,
    user_id: owner.userId || null,
    project: owner.project || null,
    department: owner.department || null,
    resource,
    amount: decimalOfSum(resource, ExactSum.of(amount)),
    slot: utc(slot),
    reason,
  }
}

export function amountsAnswer(amounts: readonly Amount[]): Record<string, string> {
  return Object.fromEntries(
    amounts.map(({ resource, amount }) => [resource, decimalOfSum(resource, ExactSum.of(amount))]),
  )
}

/** @param by narrowest first, at least one */
export function refusalAnswer(by: readonly Figure[], amounts: readonly Amount[]): RefusalAnswer & { detail: string } {
  const first = by[0]!
  const answer = figureAnswer(first)
  const { level, subject, resource, window, limit, used, held, leased, left } = answer
  const asked = amountsAnswer(amounts)[resource] ?? '0'
  const whose = `the ${level} ${JSON.stringify(subject.slice(0, 100))}`
  const known =
    used === null
      ? 'what was used could not be counted'
      : `${used} used, ${held} reserved, ${leased === '0' ? '' : `${leased} lent to collectors, `}${left} left`
  return {
    detail: `${asked} ${resource} do not fit the quota of ${whose} for ${WINDOW_WORDS[window]}: ${limit} at most, ${known}`,
    refused_by: answer,
    all_refused_by: by.map(figureAnswer),
    what_to_do: whatToDo(first, answer, asked),
    degraded: by.some(({ counted }) => counted === undefined),
    decided_by: DECIDED_BY,
  }
}

const WINDOW_WORDS: Readonly<Record<QuotaWindow['kind'], string>> = {
  day: 'the day',
  week: 'the week',
  month: 'the month',
  rolling: 'its rolling window',
  lifetime: 'ever',
}

function whatToDo({ quota }: Figure, { left, resets_at }: FigureAnswer, asked: string): string {
  if (left === null)
    return 'Ask again in a second: what was used could not be counted, and this quota is closed until it can be'
  const raise = `have the quota raised (PUT /v1/quotas/${quota.id})`
  if (Number(asked) > Number(limitText(quota))) return `Ask for less: it is more than the limit itself; or ${raise}`
  const less = left === '0' ? '' : `Ask for at most ${left}; or `
  const wait = resets_at === null ? '' : `ask again after ${resets_at}; or `
  const text = `${less}${wait}have what is reserved released; or ${raise}`
  return text[0]!.toUpperCase() + text.slice(1)
}

const HEADER_ITEMS_MAX = 16
/** Most that a number in a header may be. @see https://www.rfc-editor.org/rfc/rfc9651#section-3.3.1 */
const HEADER_NUMBER_MAX = '999999999999999'

/**
 * What quotas allow and what is left of them, as whole units.
 * @param standings of the figures, in their order
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (draft 10)
 */
export function rateLimitHeaders(
  figures: readonly Figure[],
  now: number,
  standings: readonly Pick<Standing, 'left'>[] = figures.map(standingOf),
): Record<string, string> {
  let allowed = ''
  let limits = ''
  let shown = 0
  for (const [i, figure] of figures.entries()) {
    const { quota, resetsAt } = figure
    if (quota.shadow) continue
    if (++shown > HEADER_ITEMS_MAX) break
    allowed += `${allowed === '' ? '' : ', '}${policyText(figure)}`
    const { left } = standings[i]!
    if (left === null) continue
    const t = resetsAt === null ? '' : `;t=${Math.max(0, Math.ceil((resetsAt - now) / 1000))}`
    limits += `${limits === '' ? '' : ', '}"${quota.id}";r=${wholeOf(left)}${t}`
  }
  if (allowed === '') return {}
  return limits === '' ? { 'RateLimit-Policy': allowed } : { 'RateLimit-Policy': allowed, RateLimit: limits }
}

const policies = new WeakMap<Quota, { readonly seconds: number; readonly text: string }>()

/** The same from one answer to the next, as long as no month is longer. */
function policyText({ quota, period }: Figure): string {
  const { id, resource, window } = quota
  const seconds = window.kind === 'rolling' ? window.seconds : (period.to - period.from) / 1000
  let policy = policies.get(quota)
  if (policy?.seconds !== seconds) {
    const w = window.kind === 'lifetime' ? '' : `;w=${seconds}`
    policy = { seconds, text: `"${id}";q=${wholeOf(limitText(quota))};qu="${resource}"${w}` }
    policies.set(quota, policy)
  }
  return policy.text
}

/** Units, rounded down. @param decimal not negative */
function wholeOf(decimal: string): string {
  const point = decimal.indexOf('.')
  const whole = point < 0 ? decimal : decimal.slice(0, point)
  return whole.length <= HEADER_NUMBER_MAX.length ? whole : HEADER_NUMBER_MAX
}

/** Seconds until a refused request may fit: where time gives back enough at every quota that refused, or collectors do. */
export function retryAfter(by: readonly Figure[], amounts: readonly Amount[], now: number): string | undefined {
  let latest = 0
  for (const figure of by) {
    const { quota, counted, resetsAt } = figure
    const asked = amounts.find(({ resource }) => resource === quota.resource)?.amount ?? 0
    if (counted === undefined || fitsWithLeases(figure, asked)) latest = Math.max(latest, now + 1000)
    else if (resetsAt === null || quota.limit.copy().minusSum(ExactSum.of(asked)).sign < 0) return undefined
    else latest = Math.max(latest, resetsAt)
  }
  return String(Math.max(1, Math.ceil((latest - now) / 1000)))
}

/** Near a limit what is lent is asked back. */
function fitsWithLeases({ quota, counted, held, leased, inDoubt }: Figure, asked: number): boolean {
  const others = held.copy().minusSum(leased).addSum(inDoubt)
  return leased.sign > 0 && counted !== undefined && ExactSum.fits(counted, others, asked, quota.limit)
}
