/** Every metric of the aggregator, in one place. All but the durations are read from the services' own counts at the scrape. */
import type { Metrics, Reading } from '../proto/runtime/metrics.ts'
import { ITEM_KINDS } from '../proto/wire/batch-extras.ts'
import type { BatchConsumer } from './consume/batch-consumer.ts'
import type { EventConsumer } from './consume/event-consumer.ts'
import type { EngineProcess } from './engine/engine-process.ts'
import type { EventsIntake, RoadCounts } from './events/events-intake.ts'
import { REFUSALS } from './events/events-intake.ts'
import type { HotService } from './hot/hot-service.ts'
import type { IntakeCounts } from './intake/intake.ts'
import type { IntakeService } from './intake/intake-service.ts'
import type { Owner } from './owner/owner.ts'
import type { Limiter } from './query/limiter.ts'
import type { Roller } from './rollup/roller.ts'
import type { RecordStore } from './store/record-store.ts'
import type { Store } from './store/store.ts'
import type { UsageOutbox } from './tasks/usage-outbox.ts'

export interface Measured {
  readonly intake: IntakeService
  readonly hot: HotService
  readonly store: Store
  readonly roller: Roller
  readonly limiter: Limiter
  readonly engine: EngineProcess | undefined
  readonly events: EventsIntake
  readonly records: RecordStore
  readonly batchConsumer: BatchConsumer | undefined
  readonly eventConsumer: EventConsumer | undefined
}

/** What drivers of the owner log count. */
export interface OwnerLogCounts {
  readonly end: number
  readonly generation: number
  readonly counts: { readonly records: number; readonly groups: number; readonly failures: number }
  readonly damage: { readonly lost: number }
  /** Of the files, where it is in files. */
  readonly bytes?: number
}

interface MeasuredOwner {
  readonly records: RecordStore
  readonly owner: Owner
  readonly ownerLog: OwnerLogCounts
  readonly usageOutbox: UsageOutbox | undefined
}

/** The sum that always holds: received = stored + refused + expired + waiting. */
export function registerAggregatorMetrics(
  metrics: Metrics,
  measured: Measured,
): { readonly query: (seconds: number) => void } {
  const { hot, store, roller, limiter, engine, batchConsumer, eventConsumer } = measured
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

  const consumers = [batchConsumer, eventConsumer].filter((consumer) => consumer !== undefined)
  if (consumers.length > 0)
    metrics.gauge(
      'kafka_lag_messages',
      'Messages of the partitions that are ours which are not stored yet, by topic.',
      ['topic'],
      () => consumers.flatMap(({ lag }) => [...lag].map(([topic, value]) => ({ labels: { topic }, value }))),
    )
  if (eventConsumer !== undefined) registerKafkaEventMetrics(metrics, eventConsumer)
  if (batchConsumer !== undefined) {
    metrics.counter(
      'kafka_batches_total',
      'Batches of samples from Kafka, by what became of them; went_back: reading went back to what describes their series.',
      ['outcome'],
      () => {
        const { batches, wentBack, unreadable, undescribed } = batchConsumer.counts
        const outcomes = { stored: batches, went_back: wentBack, unreadable, undescribed }
        return Object.entries(outcomes).map(([outcome, value]) => ({ labels: { outcome }, value }))
      },
    )
  }
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
  registerEventMetrics(metrics, measured)
  return {
    query: metrics.seconds(
      'query_seconds',
      'Time to answer a metric query.',
      [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    ),
  }
}

function registerKafkaEventMetrics(metrics: Metrics, consumer: EventConsumer): void {
  metrics.counter(
    'kafka_messages_total',
    'Messages of events that are stored, by what they are; letter: no event, and kept as a dead letter.',
    ['kind'],
    () => {
      const { events, letters } = consumer.counts
      return [
        { labels: { kind: 'event' }, value: events },
        { labels: { kind: 'letter' }, value: letters },
      ]
    },
  )
  const counters: readonly (readonly [name: string, help: string, read: () => number])[] = [
    [
      'kafka_commits_total',
      'Commits of offsets, each after what is before it was stored.',
      () => consumer.counts.commits,
    ],
    ['kafka_failures_total', 'Deliveries of events that failed, and come again.', () => consumer.counts.failures],
    ['kafka_assignments_total', 'Times that the group was shared out.', () => consumer.counts.assignments],
  ]
  for (const [name, help, read] of counters) metrics.counter(name, help, [], () => [{ value: read() }])
  metrics.gauge(
    'kafka_events_waiting',
    '1 where events of Kafka wait for something: /readyz says for what.',
    [],
    () => [{ value: consumer.health().detail === undefined ? 0 : 1 }],
  )
}

function registerUsageOutboxMetrics(metrics: Metrics, outbox: UsageOutbox): void {
  metrics.counter(
    'kafka_usage_total',
    'Calculations of usage that Kafka was to be told of; too_large: no broker takes them.',
    ['outcome'],
    () => {
      const { published, tooLarge } = outbox.counts
      return [
        { labels: { outcome: 'published' }, value: published },
        { labels: { outcome: 'too_large' }, value: tooLarge },
      ]
    },
  )
  metrics.gauge(
    'kafka_usage_behind_records',
    'Records of the owner log from the last one that Kafka was told of to the newest calculation.',
    [],
    () => [{ value: outbox.behind }],
  )
}

/** The sum of events that always holds: received = stored + duplicate + dead + expired + refused + waiting. */
function registerEventMetrics(metrics: Metrics, { events, records }: Measured): void {
  const one = (read: () => number) => (): Reading[] => [{ value: read() }]
  const roads = (read: (counts: Readonly<RoadCounts>) => number) => (): Reading[] =>
    [...events.roads].map(([road, counts]) => ({ labels: { road }, value: read(counts) }))
  const outcomes: readonly (readonly [name: string, help: string, read: (counts: Readonly<RoadCounts>) => number])[] = [
    [
      'received',
      'Events and dead letters in batches that came in, each time they came, by the road they came by.',
      (c) => c.received,
    ],
    ['stored', 'Of these, events that are durable: in the owner log, or in ClickHouse.', (c) => c.stored],
    ['duplicate', 'Of these, events that the owner log had already.', (c) => c.duplicate],
    ['dead', 'Of these, dead letters that are kept.', (c) => c.dead],
    ['expired', 'Of these, events too old to be kept.', (c) => c.expired],
  ]
  for (const [name, help, read] of outcomes) metrics.counter(`events_${name}_total`, help, ['road'], roads(read))
  metrics.counter(
    'events_refused_total',
    'Of these, answered "later": no room, a log that takes nothing, or a look-up that failed.',
    ['road', 'reason'],
    () =>
      [...events.roads].flatMap(([road, { refused }]) =>
        REFUSALS.map((reason) => ({ labels: { road, reason }, value: refused[reason] })),
      ),
  )
  metrics.gauge(
    'events_waiting',
    'Of these, not durable yet.',
    ['road'],
    roads((c) => c.waiting),
  )
  const counters: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['event_batches_total', 'Batches of events that came in.', () => events.counts.batches],
    ['event_batch_bytes_total', 'Their bytes.', () => events.counts.bytes],
    [
      'event_batches_repeated_total',
      'Batches that came while the same one was under way.',
      () => events.counts.repeated,
    ],
    [
      'event_batches_unreadable_total',
      'Batches kept aside since they could not be read.',
      () => events.counts.unreadable,
    ],
    ['record_rows_total', 'Rows of events, letters, usage and tasks inserted.', () => records.counts.rows],
    ['record_inserts_total', 'Inserts of them that went through.', () => records.counts.inserts],
    ['record_failures_total', 'Attempts that did not.', () => records.counts.failures],
  ]
  for (const [name, help, read] of counters) metrics.counter(name, help, [], one(read))
  metrics.gauge(
    'record_rows_waiting',
    'Rows that wait for ClickHouse.',
    [],
    one(() => records.waitingRows),
  )
}

/** Of the owner and its log: where several aggregators share one, only one has them. */
export function registerOwnerMetrics(metrics: Metrics, { records, owner, ownerLog, usageOutbox }: MeasuredOwner): void {
  if (usageOutbox !== undefined) registerUsageOutboxMetrics(metrics, usageOutbox)
  const one = (read: () => number) => (): Reading[] => [{ value: read() }]
  const counters: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['owner_log_records_total', 'Records appended to the owner log.', () => ownerLog.counts.records],
    ['owner_log_groups_total', 'Writes that they went in, each synced once.', () => ownerLog.counts.groups],
    ['owner_log_failures_total', 'Writes that failed.', () => ownerLog.counts.failures],
    ['owner_log_lost_total', 'Acknowledged records that the last start found missing.', () => ownerLog.damage.lost],
    ['owner_look_ups_total', 'Queries for events that are older than the recent set.', () => owner.counts.lookUps],
    ['owner_looked_up_total', 'Events in them.', () => owner.counts.lookedUp],
    ['owner_fold_failures_total', 'Records that tasks or quotas could not use.', () => owner.counts.foldFailures],
  ]
  for (const [name, help, read] of counters) metrics.counter(name, help, [], one(read))
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['owner_log_position', 'Position of the newest record of the owner log.', () => ownerLog.end],
    ['owner_applied_position', 'Up to here, records are applied.', () => owner.appliedUpTo],
    ['owner_stored_position', 'Up to here, rows of records are in ClickHouse.', () => records.storedUpTo],
    ...(ownerLog.bytes === undefined
      ? []
      : [['owner_log_bytes', 'Bytes of the owner log.', () => ownerLog.bytes ?? 0] as const]),
    ['owner_log_generation', 'How often it was opened.', () => ownerLog.generation],
    ['owner_recent_ids', 'Ids in the recent set.', () => owner.recent.ids],
    [
      'owner_recent_floor_seconds',
      'Of events at this time or later, the recent set has every id.',
      () => owner.recent.t0 / 1000,
    ],
  ]
  for (const [name, help, read] of gauges) metrics.gauge(name, help, [], one(read))
}
