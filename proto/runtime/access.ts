/**
 * Who may do what: one bearer token, one Basic pair, and networks that need neither for some doors.
 *
 * Every secret is compared by its SHA-256 in constant time, so that neither content nor length leaks.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { BlockList, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { readOrCreate } from './atomic-file.ts'
import { FleetmeterError } from './errors.ts'

export interface AccessOptions {
  readonly token: string
  readonly publicKey: string
  readonly secretKey: string
}

/** Who is asking: `id` names the credential without showing it, for limits and metrics. */
export type Caller =
  | { readonly kind: 'known'; readonly id: string }
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'refused' }

export class Access {
  readonly #bearer: Buffer
  readonly #basic: Buffer | undefined

  constructor(options: AccessOptions) {
    this.#bearer = digest(options.token)
    this.#basic =
      options.publicKey === '' || options.secretKey === ''
        ? undefined
        : digest(`${options.publicKey}:${options.secretKey}`)
  }

  /**
   * Reads an Authorization header. The scheme word is case-insensitive; blanks around the token are cut off.
   * @returns anonymous when there is no header, refused when there is one that is not valid
   */
  caller(authorization: string | undefined): Caller {
    if (authorization === undefined) return { kind: 'anonymous' }
    const space = authorization.indexOf(' ')
    const scheme = (space < 0 ? authorization : authorization.slice(0, space)).toLowerCase()
    const credential = space < 0 ? '' : authorization.slice(space + 1).trim()
    if (scheme === 'bearer' && timingSafeEqual(digest(credential), this.#bearer)) return known('bearer', this.#bearer)
    if (scheme === 'basic' && this.#basic !== undefined) {
      const decoded = Buffer.from(credential, 'base64').toString('utf8')
      if (timingSafeEqual(digest(decoded), this.#basic)) return known('basic', this.#basic)
    }
    return { kind: 'refused' }
  }
}

function known(scheme: string, hash: Buffer): Caller {
  return { kind: 'known', id: `${scheme}:${hash.toString('hex', 0, 6)}` }
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Networks in CIDR notation. */
export class Networks {
  readonly #list = new BlockList()

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

  has(address: string | undefined): boolean {
    return address !== undefined && this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
}

/** What can stand in a header. */
const SENDABLE = /^[\x21-\x7e]+$/

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
