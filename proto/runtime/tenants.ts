/**
 * Whose samples: every sample and every question is of one tenant. A credential has its own; which others a request may
 * choose with the header `X-Scope-OrgID`, as senders and readers of Mimir, Cortex and Loki do, is decided here.
 */

/** As it is written, and as Node names it. */
const HEADER = 'X-Scope-OrgID'
export const TENANT_HEADER = 'x-scope-orgid'

/** Stands for all of them in a list of tenants. */
export const ANY_TENANT = '*'

/** What a name looks like, and that in words. Names stand in headers, labels and file names of exports: nothing to quote. */
export const TENANT_FORM: readonly [pattern: RegExp, expected: string] = [
  /^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,150}$/,
  'expected the name of a tenant: 1 to 150 letters, digits, hyphens, underscores and dots',
]

/** Which tenants a credential reaches. */
export interface TenantGrant {
  /** For texts: `the key "team-a"`. */
  readonly who: string
  /** Of every request that names none; undefined: this credential reaches no tenant. */
  readonly tenant: string | undefined
  /** Others that a request may name; {@link ANY_TENANT}: all. */
  readonly tenants: readonly string[]
  /** Where an operator allows more, for texts. */
  readonly allowedBy: string
}

/** 400: it means nothing. 403: this credential may not. */
export interface TenantRefusal {
  readonly status: 400 | 403
  readonly reason: string
}

/** @param header value of X-Scope-OrgID; several such headers arrive as one, with commas */
export function chooseTenant(
  grant: TenantGrant,
  header: string | undefined,
): { readonly tenant: string } | TenantRefusal {
  if (grant.tenant === undefined)
    return { status: 403, reason: `This needs a tenant, and ${grant.who} has none: it can only forward` }
  if (header === undefined) return { tenant: grant.tenant }
  const asked = header.trim()
  if (/[|,]/.test(asked))
    return {
      status: 400,
      reason: `${HEADER} names several tenants (${quote(asked)}): a request is of one tenant, send one for each`,
    }
  const [pattern, expected] = TENANT_FORM
  if (!pattern.test(asked)) return { status: 400, reason: `${HEADER}: ${quote(asked)} is not allowed: ${expected}` }
  if (asked === grant.tenant || grant.tenants.includes(asked) || grant.tenants.includes(ANY_TENANT))
    return { tenant: asked }
  return {
    status: 403,
    reason: `${HEADER} names the tenant ${quote(asked)}, which ${grant.who} does not reach: leave the header out, or have ${grant.allowedBy} allow it`,
  }
}

/** Shown in an answer: bounded. */
function quote(text: string): string {
  return text.length > 200 ? `"${text.slice(0, 200)}…"` : `"${text}"`
}
