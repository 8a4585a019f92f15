/**
 * How late the event loop is, under the names that prom-client gives it and dashboards know. Its own monitor wakes the process a hundred
 * times a second, which is half of what the main thread of an idle one takes, and counts the time between two looks as lateness: ours
 * looks ten times a second, and leaves that time out.
 */
import type { Registry } from 'prom-client'
import { collectDefaultMetrics, Gauge } from 'prom-client'

const LOOK_MS = 100
/** Who scrapes less often than every few minutes is told of these. */
const LOOKS_MAX = 4096
/** What prom-client's own monitor is told, ms: it cannot be left out, and this is as good as never. */
const NEVER_MS = 3_600_000
const PREFIX = 'nodejs_eventloop_lag'

/** Since the last scrape: how late each look was, ms. */
class Lateness {
  readonly #late = new Float64Array(LOOKS_MAX)
  #looks = 0
  #due = performance.now() + LOOK_MS

  look(): void {
    const now = performance.now()
    this.#late[this.#looks++ % LOOKS_MAX] = Math.max(0, now - this.#due)
    this.#due = now + LOOK_MS
  }

  /** In order; one that is 0 where nobody has looked yet. Looking begins again. */
  take(): Float64Array {
    const sorted = this.#late.slice(0, Math.max(1, Math.min(this.#looks, LOOKS_MAX))).sort()
    if (this.#looks === 0) sorted[0] = 0
    this.#looks = 0
    return sorted
  }
}

/** prom-client's metrics of the process, with this lateness in place of its own. */
export function registerProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS })
  for (const { name } of registry.getMetricsAsArray()) if (name.startsWith(PREFIX)) registry.removeSingleMetric(name)
  const lateness = new Lateness()
  setInterval(() => lateness.look(), LOOK_MS).unref()
  let sorted = lateness.take()
  // The first of them to be read.
  new Gauge({
    name: `${PREFIX}_seconds`,
    help: 'How late the event loop is now.',
    registers: [registry],
    async collect() {
      sorted = lateness.take()
      const since = performance.now()
      await new Promise((resolve) => setImmediate(resolve))
      this.set((performance.now() - since) / 1000)
    },
  })
  const figures: Record<string, () => number> = {
    min: () => sorted[0]!,
    max: () => sorted.at(-1)!,
    mean: () => mean(sorted),
    stddev: () => deviation(sorted),
    p50: () => quantile(sorted, 0.5),
    p90: () => quantile(sorted, 0.9),
    p99: () => quantile(sorted, 0.99),
  }
  for (const [what, read] of Object.entries(figures))
    new Gauge({
      name: `${PREFIX}_${what}_seconds`,
      help: `How late the event loop was since the last scrape, ${what}.`,
      registers: [registry],
      collect() {
        this.set(read() / 1000)
      },
    })
}

function mean(all: Float64Array): number {
  return all.reduce((sum, one) => sum + one, 0) / all.length
}

/** The smallest that so many are at most. */
function quantile(sorted: Float64Array, phi: number): number {
  return sorted[Math.max(0, Math.ceil(phi * sorted.length) - 1)]!
}

function deviation(all: Float64Array): number {
  const middle = mean(all)
  return Math.sqrt(mean(all.map((one) => (one - middle) ** 2)))
}
