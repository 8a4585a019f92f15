/**
 * Where a shard had got to, as a hint for the next start: without it more is sent again, which changes nothing.
 *
 *     file = slot slot      slot = line of JSON, its CRC32C in hex, blanks up to SLOT_BYTES
 *
 * Written in place, one slot and then the other: it needs no room on a disk that the journal has filled, and a write that is
 * cut short leaves the other slot. A slot that was damaged is no hint: what it says would have samples passed over.
 */
import { crc32c } from '../../proto/wire/crc32c.ts'
import type { Files } from '../journal/files.ts'

export interface Cursor {
  /** Everything up to here is stored. */
  readonly position: number
  /** No arrival was given out after this one, µs. */
  readonly at: number
  /** Arrival of the newest record ever journalled, µs: the journal itself may hold none any more. */
  readonly lastAt: number
  /** Nothing that arrived up to here is in a window of a rule, µs. */
  readonly windowsFrom: number
  /** What rules gave out up to then is journalled, ms. */
  readonly kept: number
}

const SLOT_BYTES = 192
const CRC_DIGITS = 8

export class CursorFile {
  readonly #files: Files
  readonly #path: string
  #writes = 0

  constructor(files: Files, path: string) {
    this.#files = files
    this.#path = path
  }

  get path(): string {
    return this.#path
  }

  /** The newest sound slot; undefined when there is none. */
  read(): Cursor | undefined {
    const bytes = this.#files.readBytes(this.#path) ?? new Uint8Array(0)
    const slots = [readSlot(bytes.subarray(0, SLOT_BYTES)), readSlot(bytes.subarray(SLOT_BYTES))]
    const [first, second] = slots
    const newest = (first?.write ?? 0) > (second?.write ?? 0) ? first : second
    if (newest === undefined) return undefined
    this.#writes = newest.write
    // An older file does not say all of it.
    const { position, at, lastAt = 0, windowsFrom = 0, kept = 0 } = newest
    return { position, at, lastAt, windowsFrom, kept }
  }

  /** Takes the room that later writes need. Throws when there is none. */
  reserve(): void {
    if ((this.#files.readBytes(this.#path)?.length ?? 0) < 2 * SLOT_BYTES)
      this.#files.overwrite(this.#path, 0, new Uint8Array(2 * SLOT_BYTES).fill(BLANK))
  }

  /** Throws what the file system throws. */
  write(cursor: Cursor): void {
    const write = this.#writes + 1
    const line = Buffer.from(JSON.stringify({ ...cursor, write }))
    const slot = new Uint8Array(SLOT_BYTES).fill(BLANK)
    slot.set(line)
    slot.set(Buffer.from(checksum(line)), SLOT_BYTES - CRC_DIGITS)
    this.#files.overwrite(this.#path, (write % 2) * SLOT_BYTES, slot)
    this.#writes = write
  }
}

const BLANK = 0x20

function checksum(line: Uint8Array): string {
  return crc32c(line).toString(16).padStart(CRC_DIGITS, '0')
}

function readSlot(slot: Uint8Array): (Cursor & { readonly write: number }) | undefined {
  const text = Buffer.from(slot).toString('latin1')
  const line = text.slice(0, SLOT_BYTES - CRC_DIGITS).trimEnd()
  if (line === '' || text.slice(SLOT_BYTES - CRC_DIGITS) !== checksum(Buffer.from(line))) return undefined
  return JSON.parse(line) as Cursor & { write: number }
}
