/**
 * The tenants that samples came for since the start. There is a bound on how many: a shard numbers them, and a key that may
 * choose any tenant must not wear that out.
 */
const SHOWN_MAX = 1000
/** No tenant can have this name. */
const OTHER = '(other)'

export class ReceivedTenants {
  #max: number
  readonly #known: Set<string>
  readonly #samples: Map<string, number>

  /** @param named those in the configuration; each of them has a metric of its own, the others have one together */
  constructor(named: Iterable<string>, max: number) {
    this.#max = max
    this.#known = new Set(named)
    this.#samples = new Map([...this.#known].slice(0, SHOWN_MAX).map((tenant) => [tenant, 0]))
    this.#samples.set(OTHER, 0)
  }

  /** Other names and another bound from now on; tenants that samples came for stay. */
  change(named: Iterable<string>, max: number): void {
    this.#max = max
    for (const tenant of named) {
      this.#known.add(tenant)
      if (this.#samples.size <= SHOWN_MAX && !this.#samples.has(tenant)) this.#samples.set(tenant, 0)
    }
  }

  get max(): number {
    return this.#max
  }

  /** @returns false when the tenant is a new one, and one too many */
  admit(tenant: string): boolean {
    if (this.#known.has(tenant)) return true
    if (this.#known.size >= this.#max) return false
    this.#known.add(tenant)
    return true
  }

  /** Whether the tenant was let in before. */
  knows(tenant: string): boolean {
    return this.#known.has(tenant)
  }

  add(tenant: string, samples: number): void {
    const label = this.#samples.has(tenant) ? tenant : OTHER
    this.#samples.set(label, this.#samples.get(label)! + samples)
  }

  readings(): { labels: { tenant: string }; value: number }[] {
    return [...this.#samples].map(([tenant, value]) => ({ labels: { tenant }, value }))
  }
}
