/** SHA-256 of the runtime: twenty times as fast as one in JavaScript, for the ids of new series. */
import crypto from 'node:crypto'

const BYTES = 32

/** In one call where the runtime has it (Node 20.12), whose answer as a string is three times as fast as one as a buffer. */
export const sha256: (data: Uint8Array) => Uint8Array =
  typeof crypto.hash === 'function'
    ? (data) => fromLatin1(crypto.hash('sha256', data, 'binary'))
    : (data) => crypto.createHash('sha256').update(data).digest()

function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(BYTES)
  for (let i = 0; i < BYTES; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}
