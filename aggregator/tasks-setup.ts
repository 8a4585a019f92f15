/** Tasks, put together: what they are told by (the owner's log), read (samples, directories), and leave behind (rows). */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../proto/runtime/clock.ts'
import { FleetmeterError } from '../proto/runtime/errors.ts'
import type { Logger } from '../proto/runtime/log.ts'
import type { Metrics } from '../proto/runtime/metrics.ts'
import type { AggregatorConfig } from './config.ts'
import type { DirectorySnapshot } from './directory/snapshot.ts'
import type { HotService } from './hot/hot-service.ts'
import type { SeriesGroups, SeriesRegistry } from './hot/series-registry.ts'
import type { LateSamples } from './intake/late-samples.ts'
import type { CollectorMark } from './intake/watermarks.ts'
import type { StoredParts } from './prometheus/stored-parts.ts'
import type { Database } from './store/clickhouse.ts'
import type { RecordStore } from './store/record-store.ts'
import { NODE_TASKS_MAX } from './tasks/crowd.ts'
import type { MetricMapping } from './tasks/metric-mapping.ts'
import { DEFAULT_MAPPING, readMetricMapping } from './tasks/metric-mapping.ts'
import { NodeCounts } from './tasks/node-counted.ts'
import type { PresenceOptions } from './tasks/node-presence.ts'
import { NodePresence } from './tasks/node-presence.ts'
import { NodeSamples } from './tasks/node-samples.ts'
import type { NodeUsageOptions } from './tasks/node-usage.ts'
import { NodeUsage } from './tasks/node-usage.ts'
import { surestName } from './tasks/nodes.ts'
import { OwnSeriesSource } from './tasks/own-source.ts'
import { PrometheusSource } from './tasks/prometheus-source.ts'
import type { SeriesSource } from './tasks/series-source.ts'
import { StoredTasks } from './tasks/task-archive.ts'
import { TasksFold } from './tasks/tasks-fold.ts'
import { TasksService } from './tasks/tasks-service.ts'

export interface TaskParts {
  readonly db: Database
  readonly registry: SeriesRegistry
  readonly hot: HotService
  readonly parts: StoredParts
  readonly records: RecordStore
  readonly directory: () => DirectorySnapshot
  /** Of what has come in; undefined: not all collectors that were there before have been heard again. */
  readonly marks: () => readonly CollectorMark[] | undefined
  readonly storedProblem: () => string | undefined
  /** Tenant of the operator's own samples, and whether nobody but the operator has a credential. */
  readonly tenant: string
  readonly onlyOperator: () => boolean
  /** Samples before this are about to expire, ms. */
  readonly samplesFrom: () => number
  readonly clock: Clock
  readonly log: Logger
}

export interface Tasks {
  readonly fold: TasksFold
  readonly service: TasksService
  readonly late: (samples: LateSamples) => void
  readonly register: (metrics: Metrics) => void
}

const LOOK_MS = 2000
/** Most of a calculation's time is waiting: for the log's sync. */
const PARALLEL = 16
const STAGES_KEPT_MS = 86_400_000
const PROMETHEUS_TIMEOUT_MS = 30_000
const PROMETHEUS_BODY_BYTES_MAX = 64 * 1024 * 1024
/** A Prometheus has what it scraped a moment ago. */
const SCRAPED_INTERVALS = 2

export function setUpTasks(own: AggregatorConfig, given: TaskParts): Tasks {
  const { db, registry, hot, records, directory, clock, log } = given
  const mapping = mappingFrom(own.taskMetrics)
  const nodes = new NodeSamples(mapping)
  const rowSeconds: { observe: (seconds: number) => void } = { observe: () => {} }
  const fold = new TasksFold({
    clockSkewMs: own.taskClockSkewMs,
    nodeOf: (_, names) => surestName(names),
    tasksMax: own.tasksMax,
    closedKeptMs: own.taskKeptMinutes * 60_000,
    stagesKeptMs: STAGES_KEPT_MS,
    nodeTasksMax: NODE_TASKS_MAX,
    changed: () => service.wake(),
    stored: (endArrived) => rowSeconds.observe(Math.max(0, clock.now() - endArrived / 1000) / 1000),
  })
  const prometheus = own.prometheusUrl !== ''
  const service = new TasksService(fold.ledger, {
    source: sourceFrom(own, given),
    operator: given.tenant,
    operatorOf: (tenant, names, at) => (servedBy(given, tenant, names, at) ? given.tenant : undefined),
    directory,
    hasRoom: () => records.hasRoom(0),
    archive: new StoredTasks(db, own.clickhouseDatabase, () => records.storedUpTo),
    samplesFrom: given.samplesFrom,
    append: (tenant, decision) => fold.decide(tenant, decision, clock.now() * 1000),
    completeUntil: () =>
      prometheus ? clock.now() - SCRAPED_INTERVALS * own.taskIntervalMs : completeUntil(given.marks()),
    lastSample: (tenant, names) => {
      const known = new Set([tenant, ...(servedBy(given, tenant, names, clock.now()) ? [given.tenant] : [])])
      const times = [...known].map((one) => nodes.newest(one, names, registry, hot.series))
      return times.reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined)
    },
    mapping,
    intervalMs: own.taskIntervalMs,
    taskMaxMs: own.taskMaxHours * 3_600_000,
    silentMs: own.taskSilentMs,
    parallel: PARALLEL,
    refreshMs: own.taskRefreshMs,
    lookMs: LOOK_MS,
    clock,
    log,
  })
  return {
    fold,
    service,
    late: (samples) => service.noteLate(samples),
    register: (metrics) => {
      rowSeconds.observe = registerTaskMetrics(metrics, fold, service)
    },
  }
}

/** What nodes delivered beside what tasks had, by the same metrics. */
export function setUpNodeUsage(
  own: Pick<AggregatorConfig, 'taskMetrics' | 'taskIntervalMs' | 'taskSeriesMax'>,
  { db, database, ...rest }: Omit<NodeUsageOptions, 'presence' | 'counts'> & Pick<PresenceOptions, 'db' | 'database'>,
): NodeUsage {
  const presence = new NodePresence({
    db,
    database,
    mapping: mappingFrom(own.taskMetrics).filter(({ measure }) => measure === 'gpu_utilization'),
    intervalMs: own.taskIntervalMs,
    seriesMax: own.taskSeriesMax,
  })
  return new NodeUsage({ presence, counts: new NodeCounts(db, database), ...rest })
}

/** By which nodes memory has its series together, so that a task's window is found among the fleet's. */
export function nodeGroups(own: Pick<AggregatorConfig, 'taskMetrics'>): SeriesGroups {
  const nodes = new NodeSamples(mappingFrom(own.taskMetrics))
  return (name, labels) => nodes.nodesOf(name, labels)
}

/** Everything before the slowest collector's mark has come in; without collectors nothing is under way. */
function completeUntil(marks: readonly CollectorMark[] | undefined): number {
  return marks === undefined
    ? Number.NEGATIVE_INFINITY
    : Math.min(Number.POSITIVE_INFINITY, ...marks.map(({ mark }) => mark))
}

/**
 * Whether the operator's samples of a machine may be used for a tenant's tasks: somebody entered the machine for that tenant or for
 * all, or there is nobody but the operator. What was learnt from events does not count: anybody may name any machine in those.
 */
function servedBy(
  { directory, onlyOperator }: Pick<TaskParts, 'directory' | 'onlyOperator'>,
  tenant: string,
  names: readonly string[],
  at: number,
): boolean {
  if (onlyOperator()) return true
  const known = directory()
  return names.some((name) => known.nodeOf(tenant, name, at)?.source === 'explicit')
}

function sourceFrom(own: AggregatorConfig, { hot, registry, parts, storedProblem, tenant }: TaskParts): SeriesSource {
  if (own.prometheusUrl === '')
    return new OwnSeriesSource({
      hot: () => hot.series,
      registry,
      parts,
      storedProblem,
      seriesMax: own.taskSeriesMax,
      pointsMax: own.taskPointsMax,
      shared: own.ownerLog === 'postgres',
    })
  const { prometheusUrl, prometheusToken, prometheusTenantHeader } = own
  return new PrometheusSource({
    url: prometheusUrl.replace(/\/+$/, ''),
    serves: prometheusTenantHeader === '' ? { tenant } : { header: prometheusTenantHeader },
    headers: prometheusToken === '' ? {} : { Authorization: `Bearer ${prometheusToken}` },
    timeoutMs: PROMETHEUS_TIMEOUT_MS,
    bodyBytesMax: PROMETHEUS_BODY_BYTES_MAX,
    pointsMax: own.taskPointsMax,
    samplesWindowMs: own.taskSamplesWindowMinutes * 60_000,
    intervalMs: own.taskIntervalMs,
    fetch,
    sleep: (ms) => sleep(ms),
    random: Math.random,
  })
}

/** @throws FleetmeterError `FM_CONFIG` naming what is wrong */
function mappingFrom(text: string): MetricMapping {
  if (text === '') return DEFAULT_MAPPING
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new FleetmeterError('FM_CONFIG', 'task_metrics: expected JSON, an array of metrics', { cause })
  }
  const mapping = readMetricMapping(value)
  if ('problems' in mapping) throw new FleetmeterError('FM_CONFIG', `task_metrics: ${mapping.problems.join('; ')}`)
  return mapping
}

/** @returns to be told how long the row of a task took, s */
function registerTaskMetrics(metrics: Metrics, fold: TasksFold, service: TasksService): (seconds: number) => void {
  const { ledger } = fold
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['tasks_in_memory', 'Tasks in memory.', () => ledger.tasks.size],
    ['tasks_open', 'Attempts in memory that nobody told the end of.', () => ledger.tasks.openCount],
    ['tasks_dirty', 'Attempts whose figures are to be made anew.', () => ledger.dirtyCount],
    [
      'task_archive_rows_left',
      'Rows of tasks that have left memory and are still to be looked at, since directories changed.',
      () => service.sweep.left,
    ],
    ['tasks_waiting', 'Tasks whose events wait for ClickHouse to say whether it has them.', () => ledger.waitingCount],
  ]
  for (const [name, help, read] of gauges) metrics.gauge(name, help, [], () => [{ value: read() }])
  metrics.counter('task_calculations_total', 'Calculations of tasks.', [], () => [
    { value: service.counts.calculations },
  ])
  metrics.counter(
    'task_archive_rows_total',
    'Rows of tasks that had left memory, that were looked at since directories changed.',
    [],
    () => [{ value: service.sweep.counts.looked }],
  )
  metrics.counter(
    'task_archive_returned_total',
    'Tasks that came back to memory to be calculated anew, since directories changed.',
    [],
    () => [{ value: service.sweep.counts.returned }],
  )
  metrics.counter('task_failures_total', 'Calculations and look-ups that are tried again later.', [], () => [
    { value: service.counts.failures },
  ])
  return metrics.seconds(
    'task_row_seconds',
    'From the arrival of the event that ends a task to its row in ClickHouse.',
    [0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60],
  )
}
