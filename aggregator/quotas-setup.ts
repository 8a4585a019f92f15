/** Quotas, put together: what they are told by (the owner's log), how they count (ClickHouse), and what they are asked over. */
import type { Access } from '../proto/runtime/access.ts'
import type { Clock } from '../proto/runtime/clock.ts'
import type { Logger } from '../proto/runtime/log.ts'
import type { Metrics } from '../proto/runtime/metrics.ts'
import type { AggregatorConfig } from './config.ts'
import type { DirectorySnapshot } from './directory/snapshot.ts'
import type { Append, Fold } from './owner/fold.ts'
import { CheckDoor } from './quotas/check-door.ts'
import { ColdCounts } from './quotas/cold-counts.ts'
import { UnderWay } from './quotas/gate.ts'
import { leaseRoutes } from './quotas/lease-routes.ts'
import { LeaseService } from './quotas/lease-service.ts'
import type { QuotaRoutesOptions } from './quotas/quota-routes.ts'
import { quotaRoutes } from './quotas/quota-routes.ts'
import { QuotaService } from './quotas/quota-service.ts'
import { QuotasFold } from './quotas/quotas-fold.ts'
import { UsageSums } from './quotas/usage-sums.ts'
import type { Database } from './store/clickhouse.ts'
import type { TasksFold } from './tasks/tasks-fold.ts'

export interface QuotaParts {
  readonly db: Database
  readonly tasks: TasksFold
  readonly directory: () => DirectorySnapshot
  readonly append: Append
  /** Resolves when this process is known to be the one that decides. @throws FleetmeterError where it is not */
  readonly confirm: () => Promise<void>
  /** U: rows of records up to here are in ClickHouse. */
  readonly storedUpTo: () => number
  readonly hasRoom: () => boolean
  readonly access: Access
  readonly clock: Clock
  readonly log: Logger
}

export interface Quotas {
  readonly fold: Fold
  readonly service: QuotaService
  readonly leases: LeaseService
  readonly routes: ReturnType<typeof quotaRoutes>
  readonly checks: CheckDoor
  readonly register: (metrics: Metrics) => void
}

/** Of those in memory, so many go into a snapshot: a start needs no query for them. */
const COUNTERS_KEPT = 20_000
/** Commits whose tasks are not measured yet, some 300 bytes each. */
const UNMEASURED_MAX = 200_000
/** Counters that wait to be counted, some 1 KiB each. */
const COLD_WAITING_MAX = 20_000

export function setUpQuotas(own: AggregatorConfig, given: QuotaParts): Quotas {
  const { db, tasks, directory, append, confirm, storedUpTo, hasRoom, access, clock, log } = given
  const rememberedMs = own.quotaIdempotencyMinutes * 60_000
  const fold = new QuotasFold({
    tasks,
    countersMax: own.quotaCountersMax,
    countersKept: Math.min(COUNTERS_KEPT, own.quotaCountersMax),
    closedKeptMs: rememberedMs,
    storedUpTo,
    unmeasuredMax: UNMEASURED_MAX,
  })
  const counts = new ColdCounts({
    fold,
    sums: new UsageSums(db, own.clickhouseDatabase),
    waitingMax: COLD_WAITING_MAX,
    monotonic: () => clock.monotonic(),
    log,
  })
  const service = new QuotaService({
    fold,
    counts,
    definitions: () => directory().quotas,
    append,
    hasRoom,
    openMax: own.quotaReservationsMax,
    countWithinMs: own.quotaCountMs,
    clock,
    log,
  })
  const reservedMaxMs = own.quotaReservationMaxHours * 3_600_000
  const leases = new LeaseService({
    fold,
    define: () => service.define(),
    count: (cold) => void counts.wait(cold, own.quotaCountMs),
    directory,
    append,
    confirm,
    hasRoom,
    lends: own.quotaLeases,
    termMs: own.quotaLeaseTermMs,
    reservedMaxMs,
    rememberedMs,
    clock,
    log,
  })
  const seconds: { observe: (seconds: number) => void } = { observe: () => {} }
  const underWay = new UnderWay((took) => seconds.observe(took))
  const asked: QuotaRoutesOptions = {
    service,
    directory,
    access,
    reservedMaxMs,
    rememberedMs,
    clock,
    log,
    underWay,
  }
  const routes = quotaRoutes(asked)
  routes.route('/', leaseRoutes({ leases, access, clock, log }))
  return {
    fold,
    service,
    leases,
    routes,
    checks: new CheckDoor(asked),
    register: (metrics) => {
      seconds.observe = registerQuotaMetrics(metrics, fold, service, counts)
      registerLeaseMetrics(metrics, fold, leases)
    },
  }
}

/** @returns to be told how long a decision took, s */
function registerQuotaMetrics(
  metrics: Metrics,
  fold: QuotasFold,
  service: QuotaService,
  counts: ColdCounts,
): (seconds: number) => void {
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['quota_counters', 'Counters of subjects in memory.', () => fold.sizes.counters],
    ['quota_reservations_open', 'Reservations that are open.', () => fold.sizes.open],
    ['quota_reservations_pending', 'Reservations that are being logged.', () => fold.sizes.pending],
    ['quota_counts_waiting', 'Counters that are being counted from ClickHouse, or wait for it.', () => counts.waiting],
    ['quota_unmeasured', 'Commits of tasks that are not measured yet.', () => fold.sizes.unmeasured],
    [
      'quota_never_measured',
      'Commits of tasks that were forgotten before they were measured: they stay charged.',
      () => fold.sizes.neverMeasured,
    ],
    ['quota_tail', 'Usage in memory that is not in ClickHouse yet.', () => fold.sizes.tail],
  ]
  for (const [name, help, read] of gauges) metrics.gauge(name, help, [], () => [{ value: read() }])
  metrics.counter('quota_decisions_total', 'Checks and reservations, by what was decided.', ['outcome'], () =>
    (['granted', 'refused', 'repeated', 'unavailable'] as const).map((outcome) => ({
      labels: { outcome },
      value: service.counts[outcome],
    })),
  )
  const counters: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['quota_degraded_total', 'Decisions made without knowing all that was used.', () => service.counts.degraded],
    ['quota_count_queries_total', 'Queries that counted what was used.', () => counts.counts.queries],
    ['quota_counted_total', 'Counters in them.', () => counts.counts.counters],
    ['quota_count_failures_total', 'Queries of them that failed.', () => counts.counts.failures],
    ['quota_counts_refused_total', 'Questions for counts beyond the bound.', () => counts.counts.refused],
  ]
  for (const [name, help, read] of counters) metrics.counter(name, help, [], () => [{ value: read() }])
  return metrics.seconds(
    'quota_decision_seconds',
    'Time to decide about a request and to log it.',
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
  )
}

function registerLeaseMetrics(metrics: Metrics, fold: QuotasFold, leases: LeaseService): void {
  metrics.gauge('quota_leases', 'Slices that collectors hold; in doubt: that nobody hears of.', ['state'], () => {
    const { lent, doubted } = fold.lending.leases.sizes
    return [
      { labels: { state: 'lent' }, value: lent },
      { labels: { state: 'in_doubt' }, value: doubted },
    ]
  })
  metrics.counter('quota_lease_rounds_total', 'Rounds of collectors about slices.', [], () => [
    { value: leases.counts.rounds },
  ])
  metrics.counter('quota_lease_changes_total', 'What became of slices.', ['what'], () => {
    const { granted, reported, returned, writtenOff, released } = leases.counts
    const all = { granted, reported, returned, written_off: writtenOff, released }
    return Object.entries(all).map(([what, value]) => ({ labels: { what }, value }))
  })
}
