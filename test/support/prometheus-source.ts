/** Settings of a source of Prometheus for tests: nothing waits. */
import type { PrometheusSourceOptions } from '../../aggregator/tasks/prometheus-source.ts'
import { TENANT } from './task-events.ts'

export function prometheusSourceOptions(url: string): PrometheusSourceOptions {
  return {
    url,
    serves: { tenant: TENANT },
    headers: {},
    timeoutMs: 10_000,
    bodyBytesMax: 16 * 1024 * 1024,
    pointsMax: 1_000_000,
    samplesWindowMs: 86_400_000,
    intervalMs: 15_000,
    fetch,
    sleep: async () => {},
    random: () => 0.5,
  }
}
