/** Pieces of bytes of some hundred owners share a chunk of memory, which goes with the last of them. */

const CHUNK_BYTES = 1 << 16
const NONE = -1

interface Chunk {
  readonly bytes: Uint8Array
  readonly view: DataView
  used: number
  owners: number
}

export class SharedChunks {
  readonly #chunks: (Chunk | undefined)[] = []
  #filling = NONE
  /** Where the piece begins that {@link reserve} gave last. */
  start = 0

  /** Room for a piece. @returns the number of its chunk */
  reserve(bytes: number): number {
    let chunk = this.#chunks[this.#filling]
    if (chunk === undefined || chunk.used + bytes > chunk.bytes.length) {
      if (chunk?.owners === 0) this.#chunks[this.#filling] = undefined
      const memory = new Uint8Array(Math.max(CHUNK_BYTES, bytes))
      chunk = { bytes: memory, view: new DataView(memory.buffer), used: 0, owners: 0 }
      const free = this.#chunks.indexOf(undefined)
      this.#filling = free >= 0 ? free : this.#chunks.length
      this.#chunks[this.#filling] = chunk
    }
    this.start = chunk.used
    chunk.used += bytes
    chunk.owners++
    return this.#filling
  }

  /** Of a chunk that somebody still has a piece of. */
  bytesOf(chunk: number): Uint8Array {
    return this.#chunks[chunk]!.bytes
  }

  viewOf(chunk: number): DataView {
    return this.#chunks[chunk]!.view
  }

  /** One of its owners no longer needs its piece. */
  release(chunk: number): void {
    if (--this.#chunks[chunk]!.owners === 0 && chunk !== this.#filling) this.#chunks[chunk] = undefined
  }
}
