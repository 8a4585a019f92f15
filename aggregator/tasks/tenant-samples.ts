/**
 * Whose samples a task's figures are made of. A fleet's hosts are often watched by the operator: their samples are the operator's
 * tenant's, and the tasks on them are other tenants'. The task's own tenant is asked first; what it does not measure itself is taken
 * from the operator's samples of that machine, where the machine serves the task's tenant. Only figures of the window come of it.
 */
import type { Measure, MetricMapping } from './metric-mapping.ts'
import type { Selector, Series, SeriesSource } from './series-source.ts'
import type { TaskWho } from './task-details.ts'

/** @returns the tenant whose samples of the machine may be used besides; undefined: nobody's */
export type OperatorOf = (tenant: string, names: readonly string[], at: number) => string | undefined

export interface Window {
  readonly tenant: string
  /** Of the machine. */
  readonly names: readonly string[]
  readonly from: number
  readonly to: number
}

export class TenantSamples {
  readonly #source: SeriesSource
  readonly #operatorOf: OperatorOf
  readonly #measureOf: ReadonlyMap<string, Measure>

  constructor(source: SeriesSource, operatorOf: OperatorOf, mapping: MetricMapping) {
    this.#source = source
    this.#operatorOf = operatorOf
    this.#measureOf = new Map(mapping.map(({ metric, measure }) => [metric, measure]))
  }

  /** @throws as the source does */
  async read(
    { tenant, names, from, to }: Window,
    selectors: readonly Selector[],
  ): Promise<{ readonly series: readonly Series[]; readonly of: TaskWho['samplesOf'] }> {
    if (selectors.length === 0) return { series: [], of: 'none' }
    const own = await this.#source.read(tenant, selectors, from, to, names)
    const operator = this.#operatorOf(tenant, names, from)
    if (operator === undefined || operator === tenant) return { series: own, of: own.length === 0 ? 'none' : 'tenant' }
    const measured = new Set(own.map((one) => this.#kindOf(one)))
    // One measure of two tenants would count twice.
    const others = (await this.#source.read(operator, selectors, from, to, names)).filter(
      (one) => !measured.has(this.#kindOf(one)),
    )
    if (others.length === 0) return { series: own, of: own.length === 0 ? 'none' : 'tenant' }
    return { series: [...own, ...others], of: 'operator' }
  }

  #kindOf({ name }: Series): string {
    return this.#measureOf.get(name) ?? name
  }
}
