/**
 * Records with samples that are only in windows of rules: the journal must have them until what became of them is journalled
 * itself, as outputs.
 */
export class DroppedRecords {
  /** Oldest first; a record that is told of with one in front of it is not noted: that one holds it too. */
  readonly #records: { readonly position: number; readonly toldBy: number }[] = []

  /** @param toldBy an emission of this time or later tells of all its samples, ms */
  add(position: number, toldBy: number): void {
    const rounded = Math.ceil(toldBy / ROUND_MS) * ROUND_MS
    if (rounded > (this.#records.at(-1)?.toldBy ?? Number.NEGATIVE_INFINITY))
      this.#records.push({ position, toldBy: rounded })
  }

  /** What was emitted up to a time is journalled. @param time ms */
  settle(time: number): void {
    let n = 0
    while (n < this.#records.length && this.#records[n]!.toldBy <= time) n++
    if (n > 0) this.#records.splice(0, n)
  }

  /** Position that the journal has to be kept from; Infinity when there is none. */
  get first(): number {
    return this.#records[0]?.position ?? Number.POSITIVE_INFINITY
  }
}

/** One note a second at most. */
const ROUND_MS = 1000
