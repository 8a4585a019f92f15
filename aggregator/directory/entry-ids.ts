/**
 * Ids of entries: UUIDs of version 7, so that the order of ids is that in which entries were made, also within a millisecond.
 * @see https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
 */
import { randomBytes } from 'node:crypto'

const COUNTER_MAX = 0xfff

export class EntryIds {
  #ms = 0
  #counter = 0

  /** @param now wall clock, ms; one that goes back is not followed */
  next(now: number): string {
    if (now > this.#ms) {
      this.#ms = now
      this.#counter = 0
    } else if (++this.#counter > COUNTER_MAX) {
      this.#ms++
      this.#counter = 0
    }
    const bytes = randomBytes(16)
    bytes.writeUIntBE(this.#ms, 0, 6)
    bytes.writeUInt16BE(0x7000 | this.#counter, 6)
    bytes[8] = 0x80 | (bytes[8]! & 0x3f)
    const hex = bytes.toString('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}
