/** What paths of quotas in Hono have in common: who may ask, bodies, and replies as they are written. */
import type { Context, MiddlewareHandler } from 'hono'
import type { Access } from '../../proto/runtime/access.ts'
import type { Right } from '../../proto/runtime/keys.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { Refusal } from '../directory/refusal.ts'
import { jsonOf, readBody } from '../directory/request-body.ts'
import { BODY_BYTES_MAX, permitted } from './gate.ts'
import type { QuotaReply } from './quota-reply.ts'

/** Of a request that may ask. */
export type Env = { Variables: { tenant: string; credential: string } }

export function written({ status, headers, body }: QuotaReply): Response {
  return new Response(body, { status, headers })
}

export function authorized(access: Access, right: Exclude<Right, 'forward'>): MiddlewareHandler<Env> {
  return async (c, next) => {
    const { tenant, credential } = permitted(access, right, c.req.header('authorization'), c.req.header(TENANT_HEADER))
    c.set('tenant', tenant)
    c.set('credential', credential)
    return next()
  }
}

export async function jsonBody(c: Context): Promise<unknown> {
  return jsonOf(c, await readBody(c, BODY_BYTES_MAX))
}

export function notAllowed(c: Context, allow: string): Response {
  throw new Refusal(405, 'BAD_REQUEST', `${c.req.method} is not allowed on ${c.req.path}: expected ${allow}`, {
    headers: { Allow: allow },
  })
}
