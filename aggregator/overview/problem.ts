/** Failures of our own API as RFC 9457 has them. What other parts answer in the form of xtrace's API is turned into it on the way out. */
import { STATUS_CODES } from 'node:http'
import type { Context, MiddlewareHandler } from 'hono'
import type { ApiCode } from '../../proto/runtime/http-answers.ts'
import type { FieldError } from './cursor.ts'

/** @see https://www.rfc-editor.org/rfc/rfc9457 */
export interface Problem {
  readonly type: 'about:blank'
  readonly title: string
  readonly status: number
  readonly detail: string
  /** Stable: what clients switch on after the status. */
  readonly code: ApiCode
  /** The parameters or fields at fault; of a file with their lines. */
  readonly errors?: readonly (FieldError & { readonly line?: number })[]
}

/** 400 for parameters that cannot be understood. */
export function badParameters(errors: readonly FieldError[]): Response {
  const detail = errors.map(({ field, message }) => `${field}: ${message}`).join('; ')
  return problem({ status: 400, code: 'BAD_REQUEST', detail, errors }, new Headers())
}

/** Failures behind it leave as problems, with the headers that they had. */
export const asProblem: MiddlewareHandler = async (c: Context, next) => {
  await next()
  const { status, headers } = c.res
  if (status < 400 || headers.get('content-type') !== 'application/json') return
  const { message, code } = (await c.res.json()) as { message: string; code: ApiCode }
  c.res = problem({ status, code, detail: message }, headers)
}

export function problemOf(given: Omit<Problem, 'type' | 'title'>): Problem {
  return { type: 'about:blank', title: STATUS_CODES[given.status] ?? 'Error', ...given }
}

/** @param headers to be sent with it @param more members of that problem's own */
export function problem(given: Omit<Problem, 'type' | 'title'>, headers: Headers, more: object = {}): Response {
  const body = { ...problemOf(given), ...more }
  const kept = new Headers(headers)
  kept.delete('content-length')
  kept.set('content-type', 'application/problem+json')
  return new Response(JSON.stringify(body), { status: given.status, headers: kept })
}
