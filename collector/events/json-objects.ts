/**
 * JSON objects one after the other, as Kafka REST v3 has records: cut apart without being parsed, over chunks of any size.
 *
 *     {"value":…}{"value":…} {"va ─▶ two whole ones; the rest waits
 */
const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d
const BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d])

export class JsonObjects {
  readonly #bytesMax: number
  #parts: Uint8Array[] = []
  #bytes = 0
  #depth = 0
  #inText = false
  #escaped = false
  #problem: string | undefined

  /** @param bytesMax of one object */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Whether an object has begun and not ended. */
  get unfinished(): boolean {
    return this.#depth > 0
  }

  /** What is wrong; nothing behind it is read. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** @returns the objects that end in this chunk */
  push(chunk: Uint8Array): Uint8Array[] {
    const whole: Uint8Array[] = []
    let from = 0
    for (let at = 0; at < chunk.length && this.#problem === undefined; at++) {
      const byte = chunk[at]!
      if (this.#depth === 0) {
        if (BLANKS.has(byte)) continue
        if (byte !== OPEN) {
          this.#problem = 'expected JSON objects one after the other, each a record'
          return whole
        }
        from = at
        this.#depth = 1
      } else if (this.#inText) this.#text(byte)
      else if (byte === QUOTE) this.#inText = true
      else if (byte === OPEN) this.#depth++
      else if (byte === CLOSE && --this.#depth === 0) {
        this.#keep(chunk.subarray(from, at + 1))
        whole.push(this.#joined())
      }
    }
    if (this.#depth > 0 && this.#problem === undefined) this.#keep(chunk.subarray(from))
    return whole
  }

  #text(byte: number): void {
    if (this.#escaped) this.#escaped = false
    else if (byte === BACKSLASH) this.#escaped = true
    else if (byte === QUOTE) this.#inText = false
  }

  #keep(part: Uint8Array): void {
    this.#bytes += part.length
    if (this.#bytes > this.#bytesMax) this.#problem = `a record is longer than ${this.#bytesMax} bytes`
    this.#parts.push(part)
  }

  #joined(): Uint8Array {
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    return parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts))
  }
}
