/** What nodes delivered, as the product finds it in a database. */
import { DirectorySnapshot } from '../../aggregator/directory/snapshot.ts'
import type { Database } from '../../aggregator/store/clickhouse.ts'
import type { NodeUsage, NodeUsageOptions } from '../../aggregator/tasks/node-usage.ts'
import { setUpNodeUsage } from '../../aggregator/tasks-setup.ts'

const DAY_MS = 86_400_000

export function nodeUsageOf(
  db: Database,
  database: string,
  options: Partial<NodeUsageOptions> & { readonly taskIntervalMs?: number } = {},
): NodeUsage {
  const { taskIntervalMs = 15_000, ...given } = options
  return setUpNodeUsage(
    { taskMetrics: '', taskIntervalMs, taskSeriesMax: 1000 },
    {
      db,
      database,
      directory: () => new DirectorySnapshot(),
      operator: 'default',
      settled: async () => {},
      pointsMs: 30 * DAY_MS,
      now: () => Date.now(),
      ...given,
    },
  )
}
