/** The aggregator's settings. */
import { PERSONAL_FORM } from '../proto/events/personal.ts'
import type { Section } from '../proto/runtime/config.ts'
import { bytes, flag, integer, list, oneOf, text, URL_FORM } from '../proto/runtime/config.ts'
import { KEPT_DAYS_MAX } from '../proto/runtime/shared-config.ts'

export interface AggregatorConfig {
  readonly listen: string
  readonly clickhouseUrl: string
  readonly clickhouseUser: string
  readonly clickhousePassword: string
  readonly clickhouseDatabase: string
  readonly engineMemoryBytes: number
  readonly hotMinutes: number
  readonly hotBytes: number
  readonly rollupDays: number
  readonly eventDays: number
  readonly insertRows: number
  readonly insertAfterMs: number
  readonly insertFewAfterMs: number
  readonly waitingRowsMax: number
  readonly eventsInsertAfterMs: number
  readonly eventsWaitingBytesMax: number
  readonly recentEventIdsMax: number
  readonly ownerLog: 'file' | 'postgres'
  readonly peerUrl: string
  readonly rollupIntervalMs: number
  readonly rollupGraceMs: number
  readonly taskMaxHours: number
  readonly taskIntervalMs: number
  readonly taskRefreshMs: number
  readonly taskSilentMs: number
  readonly taskClockSkewMs: number
  readonly tasksMax: number
  readonly taskKeptMinutes: number
  readonly taskSeriesMax: number
  readonly taskPointsMax: number
  readonly taskMetrics: string
  readonly prometheusUrl: string
  readonly prometheusToken: string
  readonly prometheusTenantHeader: string
  readonly taskSamplesWindowMinutes: number
  readonly quotaCountersMax: number
  readonly quotaCountMs: number
  readonly quotaReservationsMax: number
  readonly quotaReservationMaxHours: number
  readonly quotaIdempotencyMinutes: number
  readonly quotaLeases: boolean
  readonly quotaLeaseTermMs: number
  readonly databaseUrl: string
  readonly directoryEntriesMax: number
  readonly directoryRefreshMs: number
  readonly rateLimitQps: number
  readonly rateLimitBurst: number
  readonly seriesDefault: number
  readonly seriesMax: number
  readonly pointsMax: number
  readonly seriesScannedMax: number
  readonly remoteReadItemsMax: number
  readonly kafkaGroup: string
  readonly kafkaDeadLetterTopic: string
  readonly kafkaBadPercentMax: number
  readonly kafkaPersonal: readonly string[]
  readonly kafkaUsageTopic: string
  readonly stopDeadlineMs: number
}

const MIB = 1024 * 1024
const PROMETHEUS_FORM: readonly [RegExp, string] = [
  /^$|^https?:\/\/[^\s@?#]+$/i,
  'expected an address such as http://host:9090, with a path where it has one, without user or password',
]

export const aggregatorSection: Section<AggregatorConfig> = {
  name: 'aggregator',
  topics: {
    listen: ['aggregator', 'Where it listens'],
    clickhouseUrl: ['engine', 'The database'],
    hotMinutes: ['retention', 'What memory holds, and how long figures are kept'],
    insertRows: ['store', 'How rows go into ClickHouse'],
    eventsInsertAfterMs: ['records', 'Events, and the log that tasks and quotas are decided by'],
    rollupIntervalMs: ['rollups', 'Hourly and daily figures'],
    taskMaxHours: ['tasks', 'Tasks: what they used, and where the samples of it come from'],
    quotaCountersMax: ['quotas', 'Quotas: what is in memory, and how long things are waited for and kept'],
    databaseUrl: ['directory', 'Memberships, nodes, prices, quotas, and where they are kept'],
    rateLimitQps: ['queries', 'How often and how much may be asked'],
    kafkaGroup: ['consuming', 'How an aggregator consumes from Kafka'],
    stopDeadlineMs: ['end', 'The end'],
  },
  reloads: [
    'rateLimitQps',
    'rateLimitBurst',
    'seriesDefault',
    'seriesMax',
    'pointsMax',
    'seriesScannedMax',
    'remoteReadItemsMax',
  ],
  settings: {
    listen: text('127.0.0.1:8743', 'Address to listen on, host:port.'),
    clickhouseUrl: text(
      '',
      'A ClickHouse server, http://host:8123. Absent: the embedded engine, in the data directory.',
      { aliases: ['CLICKHOUSE_URL'], form: URL_FORM },
    ),
    clickhouseUser: text('default', 'Its user.', { aliases: ['CLICKHOUSE_USER'] }),
    clickhousePassword: text('', 'Its password.', { aliases: ['CLICKHOUSE_PASSWORD'], secret: true }),
    clickhouseDatabase: text('fleetmeter', 'Name of the database; made when it is not there.', {
      form: [/^[A-Za-z_][A-Za-z0-9_]*$/, 'expected letters, digits and underscores'],
    }),
    engineMemoryBytes: bytes(2048 * MIB, 256 * MIB, 'Most memory that the embedded engine may take.'),
    hotMinutes: integer(
      20,
      1,
      1440,
      'How far back memory answers queries and figures of tasks, minutes. Figures of a task need the quarter of an hour in which it began and 2.5 minutes before: what is not in memory is read from ClickHouse, some 70 ms of CPU a task.',
    ),
    hotBytes: bytes(512 * MIB, MIB, 'Most memory for recent points; reached, memory reaches back less far.'),
    rollupDays: integer(396, 2, KEPT_DAYS_MAX, 'How long hourly and daily figures are kept, days.'),
    eventDays: integer(396, 2, KEPT_DAYS_MAX, 'How long events, dead letters, tasks and usage are kept, days.'),
    insertRows: integer(200_000, 1, 10_000_000, 'An insert into ClickHouse is due when this many rows wait …'),
    insertAfterMs: integer(5000, 1, 60_000, '… or the oldest of at least 2,000 waits this long, ms …'),
    insertFewAfterMs: integer(5000, 1, 60_000, '… or the oldest of fewer waits this long, ms.'),
    waitingRowsMax: integer(
      2_000_000,
      1000,
      100_000_000,
      'Most rows that wait for ClickHouse; beyond it collectors are answered 503 and keep them.',
    ),
    eventsInsertAfterMs: integer(
      1000,
      1,
      60_000,
      'An insert of events is due when the oldest waits this long, ms, or insert_rows wait.',
    ),
    eventsWaitingBytesMax: bytes(
      128 * MIB,
      MIB,
      'Most bytes of events that wait for ClickHouse; beyond it collectors are answered 503 and keep them.',
    ),
    recentEventIdsMax: integer(
      1_000_000,
      1000,
      100_000_000,
      'Ids of events in memory, about 56 bytes each, that tell a repeat without a query; repeats of older events cost one a batch.',
    ),
    ownerLog: oneOf(
      ['file', 'postgres'],
      'file',
      'Where the log is that tasks and quotas are decided by. file: in the data directory, for one aggregator. postgres: in database_url, for several that share it and a ClickHouse server; one of them is the owner, and another takes over when it is gone.',
    ),
    peerUrl: text(
      '',
      'Where the other aggregators reach this one, http://host:8743, with owner_log postgres. Absent: listen, with the name of this host where that is no address of one.',
      { form: URL_FORM },
    ),
    rollupIntervalMs: integer(30_000, 10, 3_600_000, 'How often roll-ups are brought up to date, ms.'),
    rollupGraceMs: integer(120_000, 0, 86_400_000, 'How long after its end a window is first computed, ms.'),
    taskMaxHours: integer(
      168,
      1,
      9600,
      'A task without an end is lost after so many hours, if its node is silent; it is closed at the last sample.',
    ),
    taskIntervalMs: integer(
      15_000,
      100,
      3_600_000,
      'The usual time between two samples of a node, ms: a value holds for two and a half of it. Series that are slower say so themselves.',
    ),
    taskRefreshMs: integer(60_000, 1000, 86_400_000, 'How often figures of a task that runs are made anew, ms.'),
    taskSilentMs: integer(300_000, 1000, 86_400_000, 'A node without a sample for so long is silent, ms.'),
    taskClockSkewMs: integer(5000, 0, 600_000, 'How far clocks of services that tell of one task may be apart, ms.'),
    tasksMax: integer(
      20_000,
      100,
      5_000_000,
      'Most tasks in memory, some 10 KiB each; those that ended longest ago leave, and come back from ClickHouse when they are told of.',
    ),
    taskKeptMinutes: integer(60, 1, 43_200, 'Tasks that have ended leave memory after so many minutes.'),
    taskSeriesMax: integer(10_000, 100, 1_000_000, 'Most series of a task’s window; more are not read.'),
    taskPointsMax: integer(5_000_000, 1000, 100_000_000, 'Most samples of a task’s window; more are not read.'),
    taskMetrics: text(
      '',
      'Which series say what of a node, JSON: see aggregator/tasks/metric-mapping.ts. Absent: those of DCGM exporter, node_exporter, cAdvisor, and our own.',
    ),
    prometheusUrl: text(
      '',
      'A Prometheus, http://host:9090, that has the samples of tasks’ windows. Absent: those that collectors delivered.',
      { aliases: ['PROMETHEUS_URL'], form: PROMETHEUS_FORM },
    ),
    prometheusToken: text('', 'Its bearer token.', { aliases: ['PROMETHEUS_TOKEN'], secret: true }),
    prometheusTenantHeader: text(
      '',
      'Header by which it tells tenants apart, such as X-Scope-OrgID. Absent: all it has is of the tenant of this aggregator.',
      { form: [/^[A-Za-z0-9-]{0,64}$/, 'expected the name of a header'] },
    ),
    taskSamplesWindowMinutes: integer(
      360,
      1,
      43_200,
      'Windows longer than this are asked of a Prometheus by steps instead of all samples, minutes.',
    ),
    quotaCountersMax: integer(
      500_000,
      1000,
      50_000_000,
      'Counters of subjects in memory, some 300 bytes each; those of others are counted from ClickHouse when they are asked for. A rolling window of a day is as large as 25.',
    ),
    quotaCountMs: integer(
      500,
      1,
      60_000,
      'How long a request waits for what was used to be counted, ms; then each quota does as its when_unknown says.',
    ),
    quotaReservationsMax: integer(
      1_000_000,
      1,
      50_000_000,
      'Most reservations that are open, some 1 KiB each; beyond it requests are answered 503.',
    ),
    quotaReservationMaxHours: integer(168, 1, 9600, 'Longest time that something is reserved or extended for, hours.'),
    quotaIdempotencyMinutes: integer(
      10,
      1,
      1440,
      'How long the id of a reservation is remembered after its end, minutes: a request that was issued earlier is refused.',
    ),
    quotaLeases: flag(
      true,
      'Whether slices of quotas are lent to collectors that ask (collector.quota_leases), so that they decide where they are.',
    ),
    quotaLeaseTermMs: integer(
      5000,
      2000,
      60_000,
      'How long a collector may decide by its slices without hearing from an aggregator, ms. Nothing becomes free by that.',
    ),
    databaseUrl: text(
      '',
      'A PostgreSQL server (13 or later) for memberships, nodes, prices and quotas, postgres://user:password@host:5432/name. Absent: PGlite, in the data directory.',
      {
        aliases: ['DATABASE_URL'],
        secret: true,
        form: [/^$|^postgres(ql)?:\/\/[^\s]+$/i, 'expected an address such as postgres://user:password@host:5432/name'],
      },
    ),
    directoryEntriesMax: integer(500_000, 100, 5_000_000, 'Most memberships, nodes, prices and quotas together.'),
    directoryRefreshMs: integer(
      1000,
      50,
      3_600_000,
      'How often it is looked whether another aggregator on the same PostgreSQL has changed them, ms.',
    ),
    rateLimitQps: integer(20, 1, 1_000_000, 'Queries a second for each credential, sustained.', {
      aliases: ['RATE_LIMIT_QPS'],
    }),
    rateLimitBurst: integer(40, 1, 1_000_000, 'Queries at once for each credential.', {
      aliases: ['RATE_LIMIT_BURST'],
    }),
    seriesDefault: integer(
      50,
      1,
      1_000_000,
      "Series in a query's answer, where it does not ask for another number. Replicas beyond it get no traffic from a router: raise it for a larger fleet.",
    ),
    seriesMax: integer(10_000, 1, 1_000_000, 'Most series that a query may ask for.'),
    pointsMax: integer(1000, 1, 100_000, 'Values of a series in an answer; the newest are kept.'),
    seriesScannedMax: integer(200_000, 1, 10_000_000, 'Most series that a query over older times may match.'),
    remoteReadItemsMax: integer(
      1_000_000,
      1,
      50_000_000,
      'Most samples, histograms and exemplars in an answer to a remote read.',
    ),
    kafkaGroup: text(
      'fleetmeter',
      'Consumer group: aggregators of one group share the topics among them, each message goes to one. Samples are consumed by GROUP.samples.',
      {
        aliases: ['KAFKA_GROUP'],
        form: [/^[A-Za-z0-9._-]{1,100}$/, 'expected letters, digits, dots, dashes and underscores'],
      },
    ),
    kafkaDeadLetterTopic: text(
      '',
      'Topic for messages that cannot be taken, for all topics together. Absent: each has its own, TOPIC.GROUP.dlq. Made when it is not there.',
      { form: [/^[A-Za-z0-9._-]{0,249}$/, 'expected the name of a topic'] },
    ),
    kafkaBadPercentMax: integer(
      50,
      1,
      100,
      'Beyond so many bad messages of a hundred a partition waits for a person instead of putting all of them aside. 100: it never waits.',
    ),
    kafkaPersonal: list(
      ['*:prompt=digest'],
      "What is kept of personal fields of other producers' events, as collector.events_personal; what a collector published is kept as that decided. On their topics they stay as they are.",
      { form: PERSONAL_FORM },
    ),
    kafkaUsageTopic: text(
      'fleetmeter.usage',
      'Topic on which aggregators tell of usage that was calculated (telemetry.usage.calculated), where Kafka is set; made when it is not there. Empty: they do not.',
      { form: [/^[A-Za-z0-9._-]{0,249}$/, 'expected the name of a topic'] },
    ),
    stopDeadlineMs: integer(
      6000,
      100,
      600_000,
      'Time to store what is here after SIGTERM, ms; collectors keep what is not.',
    ),
  },
}
