/** UUIDs as producers write them, and those that are made of what is named (version 5). */
import crypto from 'node:crypto'

const HYPHENATED = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const BARE = /^[0-9a-f]{32}$/

/** Lower case, with hyphens; undefined for what is no UUID. Without hyphens, in braces and as a URN it is one too. */
export function readUuid(text: string): string | undefined {
  if (text.length === 36 && HYPHENATED.test(text)) return text
  const bare = text
    .toLowerCase()
    .replace(/^urn:uuid:/, '')
    .replace(/^\{(.*)\}$/, '$1')
  if (HYPHENATED.test(bare)) return bare
  return BARE.test(bare) ? hyphenated(bare) : undefined
}

/**
 * @param namespace 32 hex digits
 * @see https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-5
 */
export function uuidV5(namespace: string, name: string): string {
  const hash = crypto.createHash('sha1').update(namespace, 'hex').update(name, 'utf8').digest()
  hash[6] = (hash[6]! & 0x0f) | 0x50
  hash[8] = (hash[8]! & 0x3f) | 0x80
  return hyphenated(hash.toString('hex', 0, 16))
}

function hyphenated(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
