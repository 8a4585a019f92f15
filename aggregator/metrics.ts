/** Every metric of the aggregator, in one place. All but the durations are read from the services' own counts at the scrape. */
import type { Metrics, Reading } from '../proto/runtime/metrics.ts'
import { ITEM_KINDS } from '../proto/wire/batch-extras.ts'
import type { EngineProcess } from './engine/engine-process.ts'
import type { HotService } from './hot/hot-service.ts'
import type { IntakeCounts } from './intake/intake.ts'
import type { IntakeService } from './intake/intake-service.ts'
import type { Limiter } from './query/limiter.ts'
import type { Roller } from './rollup/roller.ts'
import type { Store } from './store/store.ts'

export interface Measured {
  readonly intake: IntakeService
  readonly hot: HotService
  readonly store: Store
  readonly roller: Roller
  readonly limiter: Limiter
  readonly engine: EngineProcess | undefined
}

/** The sum that always holds: received = stored + refused + expired + waiting. */
export function registerAggregatorMetrics(
  metrics: Metrics,
  measured: Measured,
): { readonly query: (seconds: number) => void } {
  const { hot, store, roller, limiter, engine } = measured
  const intake = (read: (counts: IntakeCounts) => number) => (): Reading[] => {
    const counts = measured.intake.counts
    return [{ value: counts === undefined ? 0 : read(counts) }]
  }
  const items = (read: (counts: IntakeCounts) => readonly number[]) => (): Reading[] =>
    ITEM_KINDS.map((kind, i) => ({
      labels: { kind },
      value: measured.intake.counts === undefined ? 0 : read(measured.intake.counts)[i]!,
    }))
  const one = (read: () => number) => (): Reading[] => [{ value: read() }]

  metrics.counter(
    'items_received_total',
    'Items (samples, native histograms, exemplars, metadata) in batches that came in, each time they came.',
    ['kind'],
    items((c) => c.received),
  )
  metrics.counter(
    'items_stored_total',
    'Of these, stored in ClickHouse.',
    ['kind'],
    items((c) => c.stored),
  )
  metrics.counter(
    'items_refused_total',
    'Of these, answered "later" for lack of room.',
    ['kind'],
    items((c) => c.refused),
  )
  metrics.counter(
    'items_expired_total',
    'Of these, too old to be kept.',
    ['kind'],
    items((c) => c.expired),
  )
  metrics.gauge('items_waiting', 'Of these, on their way into ClickHouse.', ['kind'], () =>
    ITEM_KINDS.map((kind, i) => ({ labels: { kind }, value: store.waitingItems[i]! })),
  )
  metrics.counter(
    'batches_total',
    'Batches that came in.',
    [],
    intake((c) => c.batches),
  )
  metrics.counter(
    'batch_bytes_total',
    'Their bytes.',
    [],
    intake((c) => c.bytes),
  )
  metrics.counter(
    'batches_needing_series_total',
    'Batches whose series had to be described.',
    [],
    intake((c) => c.needs),
  )
  metrics.counter(
    'batches_repeated_total',
    'Batches that came again and were answered with what the first one had brought.',
    [],
    intake((c) => c.repeated),
  )
  metrics.counter(
    'batches_unreadable_total',
    'Batches kept aside since they could not be read.',
    [],
    intake((c) => c.unreadable),
  )
  metrics.gauge(
    'sessions',
    'Collector sessions with a dictionary.',
    [],
    one(() => measured.intake.sessions),
  )
  metrics.gauge(
    'collector_watermark_seconds',
    'Everything of a collector that arrived there before this time is stored.',
    ['collector'],
    () => measured.intake.stored.all.map(({ collector, mark }) => ({ labels: { collector }, value: mark / 1000 })),
  )

  metrics.gauge(
    'series',
    'Series known.',
    [],
    one(() => hot.registry.count),
  )
  metrics.counter(
    'series_collisions_total',
    'Series with equal ids and different labels.',
    [],
    one(() => hot.registry.collisions),
  )
  const recent = (read: (series: HotService['series']) => number) => (): Reading[] =>
    hot.health().ready ? [{ value: read(hot.series) }] : []
  metrics.gauge(
    'hot_bytes',
    'Memory for recent points.',
    [],
    recent((series) => series.bytes),
  )
  metrics.gauge(
    'hot_floor_seconds',
    'Memory holds every point from this time on.',
    [],
    recent((series) => series.floor / 1000),
  )

  metrics.gauge(
    'store_rows_waiting',
    'Rows that wait for ClickHouse.',
    [],
    one(() => store.waiting),
  )
  metrics.counter(
    'store_rows_total',
    'Rows inserted.',
    [],
    one(() => store.counts.stored),
  )
  metrics.counter(
    'store_inserts_total',
    'Inserts that went through.',
    [],
    one(() => store.counts.inserts),
  )
  metrics.counter(
    'store_failures_total',
    'Attempts to insert that did not.',
    [],
    one(() => store.counts.failures),
  )
  metrics.counter(
    'rollup_windows_total',
    'Roll-up windows computed.',
    [],
    one(() => roller.counts.windows),
  )
  metrics.counter(
    'rollup_failures_total',
    'Rounds of roll-ups that failed.',
    [],
    one(() => roller.counts.failures),
  )
  metrics.counter(
    'engine_restarts_total',
    'Times that the embedded engine was started again.',
    [],
    one(() => engine?.restarts ?? 0),
  )
  metrics.counter(
    'queries_allowed_total',
    'Queries that the limiter let through.',
    [],
    one(() => limiter.counts.allowed),
  )
  metrics.counter(
    'queries_rejected_total',
    'Queries that it did not.',
    [],
    one(() => limiter.counts.rejected),
  )
  return {
    query: metrics.seconds(
      'query_seconds',
      'Time to answer a metric query.',
      [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    ),
  }
}
