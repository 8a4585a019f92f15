/**
 * The keys of a deployment, as they stand in the configuration:
 *
 *     keys:
 *       - name: team-a
 *         token_sha256: 9f86d0…          # printf %s "$TOKEN" | sha256sum; or token: …
 *         tenant: team-a                 # of everything that comes with this key
 *         tenants: [team-a-test]         # others that X-Scope-OrgID may name; "*": all
 *         may: [write, read]
 *
 * Only digests are kept: neither `--print-config` nor a dump of this process shows a token that was configured here.
 */
import { createHash } from 'node:crypto'
import * as v from 'valibot'
import type { Setting } from './config.ts'
import { ANY_TENANT, TENANT_FORM } from './tenants.ts'

/**
 * `write` samples, `read` what is stored, `forward` batches as a collector does: of any tenant; `manage` directories; `reserve` what
 * quotas allow.
 */
export const RIGHTS = ['write', 'read', 'forward', 'manage', 'reserve'] as const
export type Right = (typeof RIGHTS)[number]

export interface Key {
  readonly name: string
  /** SHA-256 of its token, lower-case hex. */
  readonly tokenSha256: string
  /** Absent where the key may only forward. */
  readonly tenant: string | undefined
  readonly tenants: readonly string[]
  readonly may: readonly Right[]
}

/** What can stand in a header as a token. */
export const SENDABLE: RegExp = /^[\x21-\x7e]+$/

const FIELDS: readonly string[] = ['name', 'token', 'token_sha256', 'tenant', 'tenants', 'may']
const NAME = /^[A-Za-z0-9_.-]{1,64}$/
const KEYS_MAX = 10_000
/** What `sha256sum` says of an unset variable. */
const DIGEST_OF_NOTHING = createHash('sha256').update('').digest('hex')

/** A list of keys; JSON in the environment. */
export function keys(doc: string): Setting<readonly Key[]> {
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform<unknown, readonly Key[]>(({ dataset, addIssue, NEVER }) => {
      const problems: string[] = []
      const read = readKeys(dataset.value, problems)
      for (const message of problems) addIssue({ message })
      return problems.length === 0 ? read : NEVER
    }),
  )
  return { schema, fallback: [], fallbackText: 'none', doc, aliases: [], secret: true, show: shown }
}

/** @param problems what is wrong, all of it, without any token */
function readKeys(value: unknown, problems: string[]): Key[] {
  const list = typeof value === 'string' ? parseJson(value) : value
  if (!Array.isArray(list)) {
    problems.push('expected a list of keys; in the environment as JSON, such as [{"name":"team-a",…}]')
    return []
  }
  if (list.length > KEYS_MAX) problems.push(`expected at most ${KEYS_MAX} keys, got ${list.length}`)
  const read: Key[] = []
  const names = new Set<string>()
  const digests = new Map<string, string>()
  for (const [i, entry] of list.entries()) {
    const own: string[] = []
    const key = readKey(entry, own)
    if (names.has(key.name)) own.push('name: another key has it too')
    if (key.name !== '') names.add(key.name)
    const other = digests.get(key.tokenSha256)
    if (key.tokenSha256 !== '' && other !== undefined) own.push(`token: ${other} has the same`)
    const label = key.name === '' ? `key ${i + 1}` : `key ${i + 1} ("${key.name}")`
    digests.set(key.tokenSha256, label)
    problems.push(...own.map((problem) => `${label}: ${problem}`))
    read.push(key)
  }
  return read
}

/** The error of JSON.parse would quote the text, and a token with it. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readKey(entry: unknown, problems: string[]): Key {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    problems.push(`expected the fields ${FIELDS.join(', ')}`)
    return { name: '', tokenSha256: '', tenant: undefined, tenants: [], may: [] }
  }
  const fields = entry as Readonly<Record<string, unknown>>
  for (const field of Object.keys(fields))
    if (!FIELDS.includes(field)) problems.push(`${field}: there is no such field; there are ${FIELDS.join(', ')}`)
  const name = readName(fields['name'], problems)
  const tokenSha256 = readDigest(fields['token'], fields['token_sha256'], problems)
  const may = readRights(fields['may'], problems)
  const tenants = readTenants(fields['tenants'], problems)
  const tenant = readTenant(fields['tenant'], problems)
  const onlyForwards = may.length > 0 && may.every((right) => right === 'forward')
  if (fields['tenant'] === undefined && !onlyForwards)
    problems.push('tenant: missing; it is the tenant of everything that comes with this key')
  if (onlyForwards && (fields['tenant'] !== undefined || tenants.length > 0))
    problems.push('tenant: a key that may only forward has none, since batches say whose their samples are')
  return { name, tokenSha256, tenant, tenants, may }
}

function readName(value: unknown, problems: string[]): string {
  if (typeof value === 'string' && NAME.test(value)) return value
  problems.push(
    value === undefined
      ? 'name: missing'
      : `name: ${JSON.stringify(value)} is not allowed: expected 1 to 64 letters, digits, hyphens, underscores and dots, as text`,
  )
  return ''
}

function readDigest(token: unknown, sha256: unknown, problems: string[]): string {
  if ((token === undefined) === (sha256 === undefined)) {
    problems.push(`${token === undefined ? 'token: missing; expected' : 'token:'} either token or token_sha256`)
    return ''
  }
  if (token !== undefined) {
    if (typeof token === 'string' && SENDABLE.test(token)) return createHash('sha256').update(token).digest('hex')
    problems.push('token: expected text without blanks, in ASCII; a number needs quotes')
    return ''
  }
  const digest = typeof sha256 === 'string' ? sha256.toLowerCase() : ''
  if (digest === DIGEST_OF_NOTHING) problems.push('token_sha256: this is the digest of an empty token')
  else if (/^[0-9a-f]{64}$/.test(digest)) return digest
  else problems.push('token_sha256: expected 64 hexadecimal digits')
  return ''
}

function readRights(value: unknown, problems: string[]): Right[] {
  const list = Array.isArray(value) ? value : []
  const rights = RIGHTS.filter((right) => list.includes(right))
  if (list.length === 0 || rights.length !== new Set(list).size)
    problems.push(`may: expected a list of some of ${RIGHTS.join(', ')}`)
  return rights
}

function readTenant(value: unknown, problems: string[]): string | undefined {
  if (value === undefined) return undefined
  const [pattern, expected] = TENANT_FORM
  if (typeof value === 'string' && pattern.test(value)) return value
  problems.push(`tenant: ${JSON.stringify(value)} is not allowed: ${expected}, as text`)
  return undefined
}

function readTenants(value: unknown, problems: string[]): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) {
    problems.push('tenants: expected a list')
    return []
  }
  const [pattern, expected] = TENANT_FORM
  for (const tenant of value) {
    if (tenant !== ANY_TENANT && !(typeof tenant === 'string' && pattern.test(tenant)))
      problems.push(`tenants: ${JSON.stringify(tenant)} is not allowed: ${expected}, as text, or "${ANY_TENANT}"`)
  }
  return value as string[]
}

/** As --print-config has them. */
function shown(all: readonly Key[]): unknown {
  return all.map(({ name, tenant, tenants, may }) => ({ name, token: '(hidden)', tenant, tenants, may }))
}
