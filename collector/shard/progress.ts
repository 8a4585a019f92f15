/**
 * How far a journal is stored. Batches are answered in any order and some twice; the cursor is the lowest position that
 * is not stored yet.
 *
 *     0 ────────── cursor ──▓▓▓▓──────▓▓───── end
 *        all stored        stored out of order: islands
 */
interface Range {
  readonly from: number
  readonly to: number
}

export class Progress {
  #cursor: number
  /** Stored ranges beyond the cursor, ascending, apart from each other. */
  #islands: Range[] = []

  /** @param cursor everything up to here was stored by an earlier process, or is lost */
  constructor(cursor: number) {
    this.#cursor = cursor
  }

  get cursor(): number {
    return this.#cursor
  }

  /** Whether all of (from, to] is stored. */
  has(from: number, to: number): boolean {
    return to <= this.#cursor || this.#islands.some((island) => island.from <= from && to <= island.to)
  }

  /** The samples (from, to] are stored. */
  stored(from: number, to: number): void {
    if (to <= this.#cursor) return
    const apart: Range[] = []
    let merged: Range = { from, to }
    for (const island of this.#islands) {
      if (island.to < merged.from || island.from > merged.to) apart.push(island)
      else merged = { from: Math.min(merged.from, island.from), to: Math.max(merged.to, island.to) }
    }
    if (merged.from <= this.#cursor) this.#cursor = merged.to
    else apart.push(merged)
    this.#islands = apart.sort((a, b) => a.from - b.from)
  }
}
