/**
 * What is kept of personal fields, by tenant: all, length and SHA-256, or nothing. Applied where events come in, before anything is
 * on a disk.
 *
 *     "*:prompt=digest"      of every tenant; what names a tenant goes before
 */
import crypto from 'node:crypto'
import { canonicalJson } from './canonical.ts'
import type { PersonalField } from './catalogue.ts'
import { PERSONAL_FIELDS, SPELLINGS } from './catalogue.ts'

export const KEEPS = ['whole', 'digest', 'drop'] as const
export type Keep = (typeof KEEPS)[number]

/** What a personal text is replaced by. */
interface Digest {
  /** Of the text in UTF-8, bytes. */
  readonly length: number
  /** Hex. */
  readonly sha256: string
}

const ANY = '*'

/** What a line looks like, and that in words. */
export const PERSONAL_FORM: readonly [pattern: RegExp, expected: string] = [
  new RegExp(`^(\\*|[A-Za-z0-9_.-]{1,150}):(${PERSONAL_FIELDS.join('|')})=(${KEEPS.join('|')})$`),
  `expected TENANT:FIELD=KEEP, with * for every tenant, a field of ${PERSONAL_FIELDS.join(', ')}, and ${KEEPS.join(', ')}`,
]

export class PersonalPolicy {
  readonly #common: ReadonlyMap<string, Keep>
  readonly #tenants: ReadonlyMap<string, ReadonlyMap<string, Keep>>

  /** @param lines as {@link PERSONAL_FORM} has them; what none is about is kept whole */
  constructor(lines: readonly string[]) {
    const read = lines.map((line) => /^(.+):(.+)=(.+)$/.exec(line)!.slice(1) as [string, PersonalField, Keep])
    const of = (tenant: string): [string, Keep][] => read.filter(([of]) => of === tenant).map(([, ...rule]) => rule)
    this.#common = new Map(of(ANY))
    const named = new Set(read.map(([tenant]) => tenant))
    this.#tenants = new Map([...named].map((tenant) => [tenant, new Map([...this.#common, ...of(tenant)])]))
  }

  /** Of a tenant, by field; what is not there is kept whole. */
  of(tenant: string): ReadonlyMap<string, Keep> {
    return this.#tenants.get(tenant) ?? this.#common
  }
}

/** Length and digest of a text, or of a JSON value; one that is this already stays. */
export function digestOf(value: unknown): Digest {
  if (isDigest(value)) return value
  const text = typeof value === 'string' ? value : canonicalJson(value)
  return { length: Buffer.byteLength(text), sha256: sha256Hex(text) }
}

/** In one call where the runtime has it (Node 20.12): a third of the time. */
const sha256Hex: (text: string) => string =
  typeof crypto.hash === 'function'
    ? (text) => crypto.hash('sha256', text, 'hex')
    : (text) => crypto.createHash('sha256').update(text, 'utf8').digest('hex')

export function isDigest(value: unknown): value is Digest {
  if (typeof value !== 'object' || value === null) return false
  const { length, sha256, ...others } = value as Record<string, unknown>
  const whole = typeof length === 'number' && typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256)
  return whole && Object.keys(others).length === 0
}

/**
 * What is no event as it came, without what its tenant does not want to be kept: of what is no object, all or nothing.
 * @param raw parsed; undefined where it cannot be. @param bytes as it came
 */
export function keptRaw(raw: unknown, bytes: Buffer, policy: ReadonlyMap<string, Keep>): Buffer {
  if (typeof raw === 'object' && raw !== null && !Array.isArray(raw))
    return Buffer.from(JSON.stringify(withoutPersonal(raw as Record<string, unknown>, policy)))
  const told = bytes.toString('latin1')
  const personal = [...policy].some(([field, keep]) => keep !== 'whole' && told.includes(field))
  return personal ? Buffer.from(JSON.stringify(digestOf(bytes.toString('base64')))) : bytes
}

/** An object as it came, with what is personal in it replaced or left out. */
function withoutPersonal(raw: Readonly<Record<string, unknown>>, policy: ReadonlyMap<string, Keep>): unknown {
  return Object.fromEntries(
    Object.entries(raw).flatMap(([name, value]) => {
      const keep = policy.get(SPELLINGS.get(name) ?? name) ?? 'whole'
      if (keep === 'drop') return []
      return [[name, keep === 'digest' && value !== null ? digestOf(value) : value]]
    }),
  )
}
