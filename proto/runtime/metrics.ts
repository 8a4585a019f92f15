/**
 * Metrics about ourselves; with loop-lag.ts the only file that imports `prom-client`.
 *
 * Counting happens in plain numbers next to the work (also in threads). A scrape reads them: a counter here is a function
 * that says what the number is now, so that related ones are always of one moment.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { registerProcessMetrics } from './loop-lag.ts'

/** Values of one metric by its labels. */
export type Reading = { readonly labels?: Readonly<Record<string, string>>; readonly value: number }

export class Metrics {
  readonly #registry = new Registry()
  readonly #prefix: string
  readonly #refreshers: (() => Promise<unknown>)[] = []
  /** What is registered at the moment by {@link passing}. */
  #passing: string[] | undefined

  /** @param side `collector` or `aggregator`: names are `fleetmeter_<side>_<what>_<unit>` */
  constructor(side: string) {
    this.#prefix = `fleetmeter_${side}_`
    registerProcessMetrics(this.#registry)
  }

  /** A number that only grows, read at each scrape. */
  counter(name: string, help: string, labels: readonly string[], read: () => readonly Reading[]): void {
    this.#passing?.push(this.#prefix + name)
    const counter = new Counter({ name: this.#prefix + name, help, labelNames: labels, registers: [this.#registry] })
    attach(counter, read, (reading) => counter.inc(reading.labels ?? {}, reading.value))
  }

  /** A number that comes and goes, read at each scrape. */
  gauge(name: string, help: string, labels: readonly string[], read: () => readonly Reading[]): void {
    this.#passing?.push(this.#prefix + name)
    const gauge = new Gauge({ name: this.#prefix + name, help, labelNames: labels, registers: [this.#registry] })
    attach(gauge, read, (reading) => gauge.set(reading.labels ?? {}, reading.value))
  }

  /** Seconds that something took, observed as it happens. */
  seconds(name: string, help: string, buckets: readonly number[]): (seconds: number) => void {
    const known = this.#registry.getSingleMetric(this.#prefix + name)
    const histogram =
      known instanceof Histogram
        ? known
        : new Histogram({ name: this.#prefix + name, help, buckets: [...buckets], registers: [this.#registry] })
    return (seconds) => histogram.observe(seconds)
  }

  /**
   * Registers counters and gauges of what may go and come again. Seconds that were observed stay.
   * @returns takes them away
   */
  passing(register: () => void): () => void {
    const names: string[] = []
    this.#passing = names
    register()
    this.#passing = undefined
    return () => {
      for (const name of names.splice(0)) this.#registry.removeSingleMetric(name)
    }
  }

  /** Done before every scrape, and waited for: brings figures up to date that are kept elsewhere. It must not fail, nor take long. */
  refreshedBy(refresh: () => Promise<unknown>): void {
    this.#refreshers.push(refresh)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Everything in the text format that Prometheus scrapes. */
  async text(): Promise<string> {
    await Promise.all(this.#refreshers.map((refresh) => refresh()))
    return this.#registry.metrics()
  }
}

function attach(metric: Counter | Gauge, read: () => readonly Reading[], set: (reading: Reading) => void): void {
  // prom-client calls `collect` before it prints the metric.
  ;(metric as unknown as { collect: () => void }).collect = () => {
    metric.reset()
    for (const reading of read()) set(reading)
  }
}
