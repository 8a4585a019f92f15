/**
 * One window of a lane: its points, by series in pieces that are sorted and folded one at a time, so that nothing takes long.
 */
import { Points } from './points.ts'

/** Neighbouring series, by their references, share a piece. */
const PIECE_BITS = 10
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
  #piece: Points | undefined
  #number = -1

  constructor(end: number) {
    this.end = end
  }

  push(ref: number, membership: number, before: number, low: number, high: number, at: number): void {
    const number = ref >>> PIECE_BITS
    let piece = this.#piece
    if (piece === undefined || number !== this.#number) {
      piece = this.#pieceOf(number)
      this.#piece = piece
      this.#number = number
    }
    piece.push(ref, membership, before, low, high, at)
    this.count++
    this.fresh++
  }

  /** Points that are not stored, by what counts them. */
  countDropped(source: number, points: number): void {
    this.dropped ??= new Uint32Array(SOURCES)
    this.dropped[source]! += points
  }

  #pieceOf(number: number): Points {
    let piece = this.pieces.get(number)
    if (piece === undefined) {
      piece = new Points(this.#piece?.count ?? 0) // series come one after the other, and alike
      this.pieces.set(number, piece)
    }
    return piece
  }
}
