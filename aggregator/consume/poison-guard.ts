/**
 * Tells some bad messages from a topic that is not what it should be. The first are dead letters, one by one. The second is a wrong
 * release of a producer or of ours: to make dead letters of a whole topic would only move the trouble.
 */

/** Of the last so many messages of a partition. */
const REMEMBERED = 200
/** Fewer say nothing about a share. */
const ENOUGH = 50

export class PoisonGuard {
  readonly #percentMax: number
  /** Whether each was bad, oldest first. */
  readonly #last: boolean[] = []

  /** @param percentMax most that may be bad; 100: whatever comes */
  constructor(percentMax: number) {
    this.#percentMax = percentMax
  }

  /**
   * Looks at the next messages before anything is done with them.
   * @returns how many percent are bad with them, where that is too much: then they are not counted, and are to be left where they are
   */
  look(bad: readonly boolean[]): number | undefined {
    const seen = [...this.#last, ...bad].slice(-Math.max(REMEMBERED, bad.length))
    const percent = (100 * seen.filter((is) => is).length) / seen.length
    if (this.#percentMax < 100 && seen.length >= ENOUGH && percent > this.#percentMax) return percent
    this.#last.splice(0, this.#last.length, ...seen.slice(-REMEMBERED))
    return undefined
  }
}
