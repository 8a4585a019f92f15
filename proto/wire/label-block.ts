/**
 * The label fields of a series as nearly every sender writes them, read into canonical form without making a string.
 *
 *     0x0a length (0x0a length name 0x12 length value)   per label: in ASCII, sorted, no name twice, none empty
 *
 * What is written in any other way is left to the careful reader (`readLabels`, `sortLabels`): the two agree on what both read.
 */
import { ByteWriter } from './bytes.ts'

const FIELD_LABEL = 0x0a
const FIELD_NAME = 0x0a
const FIELD_VALUE = 0x12
const METRIC_NAME = new TextEncoder().encode('__name__')

/** Bounds, bytes. */
export interface LabelBounds {
  /** The metric's name counts as one. */
  readonly labelCountMax: number
  readonly labelNameBytesMax: number
  readonly labelValueBytesMax: number
}

/** Used again for each block. */
export class LabelBlock {
  /** Labels besides the metric's name. */
  count = 0
  readonly #canonical = new ByteWriter(1024)
  #bytes: Uint8Array = new Uint8Array(0)
  #nameAt = 0
  #nameLength = 0
  #pos = 0

  /** Labels in canonical order without `__name__`, encoded as `encodeLabels` does; valid until the next reading. */
  get canonical(): Uint8Array<ArrayBuffer> {
    return this.#canonical.view()
  }

  /** The metric's name; valid as long as what was read. */
  get name(): Uint8Array {
    return this.#bytes.subarray(this.#nameAt, this.#nameAt + this.#nameLength)
  }

  /** The metric's name as text: it is ASCII. */
  get nameText(): string {
    let text = ''
    for (let i = 0; i < this.#nameLength; i++) text += String.fromCharCode(this.#bytes[this.#nameAt + i]!)
    return text
  }

  /** @returns false for what the careful reader has to look at */
  read(bytes: Uint8Array, start: number, end: number, bounds: LabelBounds): boolean {
    this.#bytes = bytes
    this.#nameLength = 0
    this.#canonical.pos = 0
    this.#pos = start
    this.count = 0
    let beforeAt = 0
    let beforeLength = -1
    while (this.#pos < end) {
      if (bytes[this.#pos++] !== FIELD_LABEL) return false
      const close = this.#length(end)
      if (close < 0 || bytes[this.#pos++] !== FIELD_NAME) return false
      const nameEnd = this.#length(close)
      const nameAt = this.#pos
      if (nameEnd <= nameAt || nameEnd - nameAt > bounds.labelNameBytesMax) return false
      this.#pos = nameEnd + 1
      if (nameEnd >= close || bytes[nameEnd] !== FIELD_VALUE) return false
      const valueEnd = this.#length(close)
      const valueAt = this.#pos
      if (valueEnd !== close || valueEnd === valueAt || valueEnd - valueAt > bounds.labelValueBytesMax) return false
      if (beforeLength >= 0 && !this.#ascends(beforeAt, beforeLength, nameAt, nameEnd - nameAt)) return false
      beforeAt = nameAt
      beforeLength = nameEnd - nameAt
      if (this.#isMetricName(nameAt, nameEnd)) {
        if (!this.#copy(valueAt, valueEnd, false)) return false
        this.#nameAt = valueAt
        this.#nameLength = valueEnd - valueAt
      } else {
        if (!this.#copy(nameAt, nameEnd, true) || !this.#copy(valueAt, valueEnd, true)) return false
        this.count++
      }
      this.#pos = close
    }
    return this.#nameLength > 0 && this.count < bounds.labelCountMax
  }

  /** Reads a length of one or two bytes. @returns where what it measures ends; -1: beyond the limit */
  #length(limit: number): number {
    let length = this.#bytes[this.#pos++] ?? 0
    if (length > 127) {
      const high = this.#bytes[this.#pos++] ?? 0
      if (high > 127) return -1
      length = (length & 127) | (high << 7)
    }
    const end = this.#pos + length
    return end > limit ? -1 : end
  }

  #isMetricName(at: number, end: number): boolean {
    if (end - at !== METRIC_NAME.length) return false
    for (let i = 0; i < METRIC_NAME.length; i++) if (this.#bytes[at + i] !== METRIC_NAME[i]) return false
    return true
  }

  #ascends(a: number, aLength: number, b: number, bLength: number): boolean {
    const bytes = this.#bytes
    const n = Math.min(aLength, bLength)
    for (let i = 0; i < n; i++) {
      const difference = bytes[a + i]! - bytes[b + i]!
      if (difference !== 0) return difference < 0
    }
    return aLength < bLength
  }

  /** Length and bytes; false when they are not ASCII. */
  #copy(at: number, end: number, keep: boolean): boolean {
    const bytes = this.#bytes
    const out = this.#canonical
    if (keep) {
      out.varint(end - at)
      out.reserve(end - at)
    }
    const { buf } = out
    let to = out.pos
    for (let i = at; i < end; i++) {
      const byte = bytes[i]!
      if (byte > 127) return false
      if (keep) buf[to++] = byte
    }
    out.pos = to
    return true
  }
}
