/**
 * One window of a lane: its points, by series in pieces that are sorted and folded one at a time, so that nothing takes long.
 */
import type { PointMemory } from './point-columns.ts'
import { PIECE_BITS, PIECE_SERIES, Points } from './points.ts'

const SOURCES = 256

export class Window {
  /** It holds (end - interval, end], ms. */
  readonly end: number
  /** Of all pieces. */
  count = 0
  readonly pieces: Map<number, Points> = new Map()
  /** When it was last given out, ms of the arrival clock; undefined: never. */
  emittedAt: number | undefined = undefined
  /** Memberships with points that came, here or in the window before, after it was given out. */
  stirred: Set<number> = new Set()
  /** Points of rules that drop their input, by source, not reported yet. */
  dropped: Uint32Array | undefined = undefined
  /** Points that are not settled. */
  fresh = 0
  readonly #memory: PointMemory
  /** Points of a piece, by its number, as far as another window tells. */
  readonly #expected: ReadonlyMap<number, number>
  #piece: Points | undefined
  #number = -1

  /** @param like a window that may have had as many points of each series */
  constructor(end: number, memory: PointMemory, like: Window | undefined) {
    this.end = end
    this.#memory = memory
    this.#expected = new Map([...(like?.pieces ?? [])].map(([number, { count }]) => [number, count]))
  }

  push(ref: number, membership: number, before: number, low: number, high: number, at: number): void {
    const number = ref >>> PIECE_BITS
    let piece = this.#piece
    if (piece === undefined || number !== this.#number) {
      piece = this.#pieceOf(number)
      this.#piece = piece
      this.#number = number
    }
    piece.push(ref & (PIECE_SERIES - 1), membership, before, low, high, at)
    this.count++
    this.fresh++
  }

  /** Points that are not stored, by what counts them. */
  countDropped(source: number, points: number): void {
    this.dropped ??= new Uint32Array(SOURCES)
    this.dropped[source]! += points
  }

  /** Gives its memory back. It is not to be used any more. */
  close(): void {
    for (const piece of this.pieces.values()) piece.close()
    this.pieces.clear()
    this.#piece = undefined
  }

  #pieceOf(number: number): Points {
    let piece = this.pieces.get(number)
    if (piece === undefined) {
      piece = new Points(this.#memory, this.#expected.get(number) ?? 0)
      this.pieces.set(number, piece)
    }
    return piece
  }
}
