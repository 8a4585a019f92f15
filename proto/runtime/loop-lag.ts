/**
 * How late the event loop is, under the names that prom-client gives it and dashboards know. Its own monitor wakes the process a hundred
 * times a second, which is half of what an idle one takes, and counts the time between two looks as lateness: ours looks twenty times
 * a second, and leaves that time out.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Registry } from 'prom-client'
import { collectDefaultMetrics, Gauge } from 'prom-client'

const LOOK_MS = 50
/** What prom-client's own monitor is told, ms: it cannot be left out, and this is as good as never. */
const NEVER_MS = 3_600_000
const PREFIX = 'nodejs_eventloop_lag'

/** prom-client's metrics of the process, with this lateness in place of its own. */
export function registerProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS })
  for (const { name } of registry.getMetricsAsArray()) if (name.startsWith(PREFIX)) registry.removeSingleMetric(name)
  const looks = monitorEventLoopDelay({ resolution: LOOK_MS })
  looks.enable()
  const late = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - LOOK_MS / 1000)
  const seconds = {
    min: () => late(looks.min),
    max: () => late(looks.max),
    mean: () => late(looks.mean),
    stddev: () => looks.stddev / 1e9,
    p50: () => late(looks.percentile(50)),
    p90: () => late(looks.percentile(90)),
    p99: () => late(looks.percentile(99)),
  }
  for (const [what, read] of Object.entries(seconds))
    new Gauge({
      name: `${PREFIX}_${what}_seconds`,
      help: `How late the event loop was since the last scrape, ${what}.`,
      registers: [registry],
      collect() {
        this.set(looks.count === 0 ? 0 : read())
      },
    })
  // The last of them to be read.
  new Gauge({
    name: `${PREFIX}_seconds`,
    help: 'How late the event loop is now.',
    registers: [registry],
    async collect() {
      looks.reset()
      const since = performance.now()
      await new Promise((resolve) => setImmediate(resolve))
      this.set((performance.now() - since) / 1000)
    },
  })
}
