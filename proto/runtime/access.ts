/**
 * Who may do what: the admin's bearer token and Basic pair, the keys of tenants, and networks that need no token for some
 * doors.
 *
 *     Authorization ──▶ caller() ──▶ credential ──▶ permit() ──▶ tenant, or why not
 *                                     X-Scope-OrgID ─┘
 *
 * A secret is looked up by its SHA-256: how long that takes depends on nothing that a guess could be steered by, nor on how many
 * keys there are. Headers that were valid are remembered by the hash of a map, which is another in every process: a guess that is wrong
 * is compared with none of them.
 */
import crypto, { randomBytes } from 'node:crypto'
import { BlockList, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import { readOrCreate } from './atomic-file.ts'
import { FleetmeterError } from './errors.ts'
import type { Key, Right } from './keys.ts'
import { RIGHTS, SENDABLE } from './keys.ts'
import type { TenantGrant, TenantRefusal } from './tenants.ts'
import { ANY_TENANT, chooseTenant } from './tenants.ts'

export interface AccessOptions {
  readonly token: string
  readonly publicKey: string
  readonly secretKey: string
  /** Of the admin, and of writes without a token. */
  readonly tenant: string
  readonly keys: readonly Key[]
  /** Others that writes without a token may choose. */
  readonly openWriteTenants: readonly string[]
}

/** Something that may do something. */
export interface Credential extends TenantGrant {
  /** Names it without showing it, for limits and metrics; '' without a token. */
  readonly id: string
  /** May read what this process says of itself, and of others. */
  readonly admin: boolean
  readonly may: readonly Right[]
}

/** One secret may come in several headers: scheme words in any case, blanks around it. */
const KNOWN_MAX = 1000
const KNOWN_LENGTH_MAX = 1000

/** Who is asking. */
export type Caller =
  | { readonly kind: 'known'; readonly credential: Credential }
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'refused' }

export class Access {
  #open: Credential
  /** By scheme and digest. */
  #credentials = new Map<string, Credential>()
  /** Valid ones, by header. */
  #known = new Map<string, Caller>()

  /** @throws FleetmeterError `FM_CONFIG` when a key has the admin's token */
  constructor(options: AccessOptions) {
    const { tenant, token, publicKey, secretKey, keys, openWriteTenants } = options
    const admin = { who: 'the admin token', tenant, tenants: [ANY_TENANT], allowedBy: '', admin: true, may: RIGHTS }
    this.#add('bearer', digest(token), admin)
    if (publicKey !== '' && secretKey !== '')
      this.#add('basic', digest(`${publicKey}:${secretKey}`), { ...admin, who: 'the Basic pair' })
    for (const { name, tokenSha256, tenant: own, tenants, may } of keys) {
      if (this.#credentials.has(`bearer:${tokenSha256}`))
        throw new FleetmeterError('FM_CONFIG', `keys: the key "${name}" has the admin's token: give it one of its own`)
      const who = `the key "${name}"`
      const allowedBy = `its list "tenants" in the configuration`
      const key = { id: `key:${name}`, who, tenant: own, tenants, allowedBy, admin: false, may }
      this.#credentials.set(`bearer:${tokenSha256}`, key)
    }
    this.#open = {
      id: '',
      who: 'a write without a token',
      tenant,
      tenants: openWriteTenants,
      allowedBy: 'the setting open_write_tenants',
      admin: false,
      may: ['write'],
    }
  }

  /** What writes without a token may do, where they are allowed at all. */
  get open(): Credential {
    return this.#open
  }

  /** From now on this knows who the other one knows, and nobody else. */
  become(other: Access): void {
    this.#open = other.#open
    this.#credentials = other.#credentials
    this.#known = new Map()
  }

  #add(scheme: string, hash: string, credential: Omit<Credential, 'id'>): void {
    this.#credentials.set(`${scheme}:${hash}`, { ...credential, id: `${scheme}:${hash.slice(0, 12)}` })
  }

  /**
   * Reads an Authorization header. The scheme word is case-insensitive; blanks around the token are cut off.
   * @returns anonymous when there is no header, refused when there is one that is not valid
   */
  caller(authorization: string | undefined): Caller {
    if (authorization === undefined) return { kind: 'anonymous' }
    return this.#known.get(authorization) ?? this.#read(authorization)
  }

  #read(authorization: string): Caller {
    const space = authorization.indexOf(' ')
    const scheme = (space < 0 ? authorization : authorization.slice(0, space)).toLowerCase()
    const sent = space < 0 ? '' : authorization.slice(space + 1).trim()
    const secret = scheme === 'basic' ? Buffer.from(sent, 'base64').toString('utf8') : sent
    const credential = secret === '' ? undefined : this.#credentials.get(`${scheme}:${digest(secret)}`)
    if (credential === undefined) return { kind: 'refused' }
    const caller: Caller = { kind: 'known', credential }
    if (authorization.length > KNOWN_LENGTH_MAX) return caller
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(authorization, caller)
    return caller
  }
}

/** Whether a credential may do that, and for which tenant. @param tenantHeader value of X-Scope-OrgID */
export function permit(
  credential: Credential,
  right: Exclude<Right, 'forward'>,
  tenantHeader: string | undefined,
): { readonly tenant: string } | TenantRefusal {
  if (!credential.may.includes(right)) return { status: 403, reason: lacks(credential, right) }
  return chooseTenant(credential, tenantHeader)
}

/** Why a credential may not do that, and what to do. */
export function lacks(credential: Credential, right: Right): string {
  return `This needs the right "${right}", which ${credential.who} does not have: add it to the list "may" of a key in the configuration, or use another key`
}

/** In one call where the runtime has it (Node 20.12): a third of the time, and this is done for every request. */
const digest: (secret: string) => string =
  typeof crypto.hash === 'function'
    ? (secret) => crypto.hash('sha256', secret, 'hex')
    : (secret) => crypto.createHash('sha256').update(secret).digest('hex')

const ADDRESSES_KNOWN_MAX = 1024

/** Networks in CIDR notation. */
export class Networks {
  #list = new BlockList()
  /** Of those that were asked for last: to read an address takes as long as all else of letting in. */
  readonly #known = new LRUCache<string, boolean>({ max: ADDRESSES_KNOWN_MAX })

  /** @throws FleetmeterError `FM_CONFIG` naming the entry that is not a network */
  constructor(cidrs: readonly string[], setting: string) {
    for (const cidr of cidrs) {
      const [address = '', prefix] = cidr.split('/')
      const family = isIPv6(address) ? 'ipv6' : 'ipv4'
      try {
        this.#list.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family)
      } catch {
        throw new FleetmeterError('FM_CONFIG', `${setting}: "${cidr}" is not a network such as 10.0.0.0/8 or fd00::/8`)
      }
    }
  }

  /** From now on these are the other ones. */
  become(other: Networks): void {
    this.#list = other.#list
    this.#known.clear()
  }

  has(address: string | undefined): boolean {
    if (address === undefined) return false
    const known = this.#known.get(address)
    if (known !== undefined) return known
    const isIn = this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
    this.#known.set(address, isIn)
    return isIn
  }
}

/** Where the token comes from, for the start-up lines. */
export interface TokenSource {
  readonly token: string
  /** The file that holds it, absent when it was configured. */
  readonly file: string | undefined
  readonly created: boolean
}

/** The configured token, or the one in the data directory, which is made when there is none. */
export function findToken(configured: string, dataDir: string): TokenSource {
  if (configured.trim() !== '') {
    const token = configured.trim()
    if (!SENDABLE.test(token))
      throw new FleetmeterError(
        'FM_CONFIG',
        'The token holds blanks or characters outside of ASCII: no client can send it',
      )
    return { token, file: undefined, created: false }
  }
  const file = join(dataDir, 'token')
  const { content, created } = readOrCreate(file, () => randomBytes(24).toString('base64url'), 0o600)
  if (!SENDABLE.test(content))
    throw new FleetmeterError(
      'FM_CONFIG',
      `The token file "${file}" holds no token that a client could send: remove it, and a new one is made`,
    )
  return { token: content, file, created }
}
