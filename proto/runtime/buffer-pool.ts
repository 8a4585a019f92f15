/** Buffers for bodies: taken from the system anew, each would cost its pages being cleared and the garbage collector's attention. */

/** Smaller ones are cheap. */
const BYTES_MIN = 16 * 1024
const BYTES_MAX = 1024 * 1024

/** Which pool has it out. */
const LENT = Symbol('lent')
type Lendable = ArrayBuffer & { [LENT]?: BufferPool | undefined }

export class BufferPool {
  readonly #keptMax: number
  /** By size, which is a power of two. */
  readonly #free = new Map<number, Lendable[]>()
  #kept = 0

  /** @param keptMax bytes that may lie here unused */
  constructor(keptMax: number) {
    this.#keptMax = keptMax
  }

  /** Bytes that lie here unused. */
  get kept(): number {
    return this.#kept
  }

  /** So many bytes, of any content, at the beginning of a buffer that may be larger. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (length < BYTES_MIN || length > BYTES_MAX) return new Uint8Array(length)
    const size = 2 ** Math.ceil(Math.log2(length))
    let buffer: Lendable | undefined = this.#free.get(size)?.pop()
    if (buffer === undefined) buffer = new ArrayBuffer(size)
    else this.#kept -= size
    buffer[LENT] = this
    return new Uint8Array(buffer, 0, length)
  }

  /** Gives back what was taken here and nobody uses any more; of anything else nothing is kept. */
  give({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || (buffer as Lendable)[LENT] !== this) return
    ;(buffer as Lendable)[LENT] = undefined
    const size = buffer.byteLength
    if (this.#kept + size > this.#keptMax) return
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [buffer])
    else free.push(buffer)
    this.#kept += size
  }
}
