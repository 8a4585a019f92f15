/** What a shard cannot do with its disk at the moment, and why: each over when the same work succeeds again. */

/** In the order of what matters most. `remove`: of what is stored and needed no more. */
const WORKS = ['append', 'read', 'sync', 'cursor', 'remove'] as const
export type DiskWork = (typeof WORKS)[number]

export class DiskTroubles {
  readonly #reasons = new Map<DiskWork, string>()

  begin(work: DiskWork, reason: string): void {
    this.#reasons.set(work, reason)
  }

  over(work: DiskWork): void {
    this.#reasons.delete(work)
  }

  has(work: DiskWork): boolean {
    return this.#reasons.has(work)
  }

  /** The worst one, for a person; undefined when there is none. */
  get worst(): string | undefined {
    const work = WORKS.find((w) => this.#reasons.has(w))
    return work === undefined ? undefined : this.#reasons.get(work)
  }
}
