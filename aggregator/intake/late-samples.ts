/** Samples that came long after their time, as far as tasks have to know of them. */

/** Samples of a node that came to their collector long after their time. */
export interface LateSamples {
  readonly tenant: string
  readonly node: string
  /** Time of the oldest, ms. */
  readonly oldest: number
}

const NODES_MAX = 100_000

/** Late samples that somebody has still to be told of, at most of so many nodes. */
export class LateNotes {
  readonly #notes = new Map<string, LateSamples>()

  note(samples: LateSamples): void {
    const key = JSON.stringify([samples.tenant, samples.node])
    const known = this.#notes.get(key)
    if (known === undefined && this.#notes.size >= NODES_MAX) return
    if (known === undefined || samples.oldest < known.oldest) this.#notes.set(key, samples)
  }

  /** Those that have waited longest, at most so many. */
  take(max: number = NODES_MAX): LateSamples[] {
    const taken: LateSamples[] = []
    for (const [key, note] of this.#notes) {
      if (taken.length >= max) break
      taken.push(note)
      this.#notes.delete(key)
    }
    return taken
  }
}
