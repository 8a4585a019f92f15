/** Intake, hot series, store, roll-ups and queries in one process on the real engine: the aggregator without its doors. */
import { HotSeries } from '../../aggregator/hot/hot-series.ts'
import { SeriesRegistry } from '../../aggregator/hot/series-registry.ts'
import { Intake } from '../../aggregator/intake/intake.ts'
import { Watermarks } from '../../aggregator/intake/watermarks.ts'
import type { MetricQueryContext } from '../../aggregator/query/metric-query.ts'
import { StoredSeries } from '../../aggregator/query/stored-series.ts'
import { ClickHouseMarkTable } from '../../aggregator/rollup/mark-table.ts'
import { Marks } from '../../aggregator/rollup/marks.ts'
import { ClickHouseRollups } from '../../aggregator/rollup/recompute.ts'
import type { Database } from '../../aggregator/store/clickhouse.ts'
import { migrate } from '../../aggregator/store/schema/migrate.ts'
import { Store } from '../../aggregator/store/store.ts'
import { nodeGroups } from '../../aggregator/tasks-setup.ts'
import { systemClock } from '../../proto/runtime/clock.ts'
import { silentLogger } from '../../proto/runtime/log.ts'

const DAY_MS = 86_400_000

export interface Rig {
  readonly intake: Intake
  readonly store: Store
  readonly hot: HotSeries
  readonly registry: SeriesRegistry
  readonly marks: Marks
  readonly rollups: ClickHouseRollups
  readonly query: MetricQueryContext
  stop(): Promise<void>
}

/** @param floor memory is complete from here on, ms */
export async function startRig(
  db: Database,
  database: string,
  quarantine: string,
  floor: number,
  rowsMax = 1_000_000,
): Promise<Rig> {
  await migrate(db, database, { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  const registry = new SeriesRegistry(nodeGroups({ taskMetrics: '' }))
  const hot = new HotSeries({ ageMs: 900_000, bytesMax: 1 << 28 }, floor)
  const marks = new Marks(new ClickHouseMarkTable(db, database), true, () => Date.now())
  const store = new Store(db, marks, {
    database,
    insertRows: 50_000,
    insertAfterMs: 20,
    insertFewAfterMs: 50,
    rowsMax,
    clock: systemClock,
    faults: () => {},
    log: silentLogger,
  })
  await store.start()
  const intake = new Intake(
    registry,
    hot,
    store,
    { visible: new Watermarks(), stored: new Watermarks() },
    { quarantine, lateMaxMs: 29 * DAY_MS, clock: systemClock, log: silentLogger },
  )
  const query: MetricQueryContext = {
    hot,
    registry,
    stored: new StoredSeries(db, database),
    dirtyHours: async () => new Set((await marks.open()).filter((m) => m.level === 1).map((m) => m.start)),
    storedProblem: () => undefined,
    flush: () => store.flush(),
    now: () => Date.now(),
    pointsMs: 30 * DAY_MS,
    lateMaxMs: 29 * DAY_MS,
    pointsPerSeriesMax: 1000,
    seriesScannedMax: 10_000,
  }
  return {
    intake,
    store,
    hot,
    registry,
    marks,
    rollups: new ClickHouseRollups(db, database),
    query,
    stop: () => store.stop(AbortSignal.timeout(5000)),
  }
}
