/** The aggregator's settings. */
import type { Section } from '../proto/runtime/config.ts'
import { bytes, integer, text, URL_FORM } from '../proto/runtime/config.ts'

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
  readonly insertRows: number
  readonly insertAfterMs: number
  readonly insertFewAfterMs: number
  readonly waitingRowsMax: number
  readonly rollupIntervalMs: number
  readonly rollupGraceMs: number
  readonly rateLimitQps: number
  readonly rateLimitBurst: number
  readonly seriesDefault: number
  readonly seriesMax: number
  readonly pointsMax: number
  readonly seriesScannedMax: number
  readonly remoteReadItemsMax: number
  readonly stopDeadlineMs: number
}

const MIB = 1024 * 1024

export const aggregatorSection: Section<AggregatorConfig> = {
  name: 'aggregator',
  topics: {
    listen: ['aggregator', 'Where it listens'],
    clickhouseUrl: ['engine', 'The database'],
    hotMinutes: ['retention', 'What memory holds, and how long figures are kept'],
    insertRows: ['store', 'How rows go into ClickHouse'],
    rollupIntervalMs: ['rollups', 'Hourly and daily figures'],
    rateLimitQps: ['queries', 'How often and how much may be asked'],
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
    hotMinutes: integer(15, 1, 1440, 'How far back memory answers queries, minutes.'),
    hotBytes: bytes(512 * MIB, MIB, 'Most memory for recent points; reached, memory reaches back less far.'),
    rollupDays: integer(396, 2, 36_500, 'How long hourly and daily figures are kept, days.'),
    insertRows: integer(200_000, 1, 10_000_000, 'An insert into ClickHouse is due when this many rows wait …'),
    insertAfterMs: integer(5000, 1, 60_000, '… or the oldest of at least 2,000 waits this long, ms …'),
    insertFewAfterMs: integer(5000, 1, 60_000, '… or the oldest of fewer waits this long, ms.'),
    waitingRowsMax: integer(
      2_000_000,
      1000,
      100_000_000,
      'Most rows that wait for ClickHouse; beyond it collectors are answered 503 and keep them.',
    ),
    rollupIntervalMs: integer(30_000, 10, 3_600_000, 'How often roll-ups are brought up to date, ms.'),
    rollupGraceMs: integer(120_000, 0, 86_400_000, 'How long after its end a window is first computed, ms.'),
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
    stopDeadlineMs: integer(
      6000,
      100,
      600_000,
      'Time to store what is here after SIGTERM, ms; collectors keep what is not.',
    ),
  },
}
