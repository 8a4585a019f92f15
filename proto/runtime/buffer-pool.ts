/**
 * Buffers for bodies that go to a thread and come back: taken from the system anew, each would cost its pages being cleared and the
 * garbage collector's attention.
 */

/** Smaller ones are cheap. */
const BYTES_MIN = 16 * 1024
const BYTES_MAX = 1024 * 1024

export class BufferPool {
  readonly #keptMax: number
  /** By size, which is a power of two. */
  readonly #free = new Map<number, ArrayBuffer[]>()
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
    const buffer = this.#free.get(size)?.pop()
    if (buffer === undefined) return new Uint8Array(new ArrayBuffer(size), 0, length)
    this.#kept -= size
    return new Uint8Array(buffer, 0, length)
  }

  /** Gives back the buffer of something taken, which nobody uses any more; others are left to the garbage collector. */
  give(buffer: ArrayBuffer): void {
    const size = buffer.byteLength
    if (size < BYTES_MIN || size > BYTES_MAX || (size & (size - 1)) !== 0 || this.#kept + size > this.#keptMax) return
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [buffer])
    else free.push(buffer)
    this.#kept += size
  }
}
