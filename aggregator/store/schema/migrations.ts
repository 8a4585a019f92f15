/**
 * The tables, as numbered steps. Each may run again at any time and changes nothing then; a new version appends steps and
 * adds columns with defaults only, so that the version before keeps working beside it.
 */

import { DURABLE } from './durable.ts'
import { EVENT_TABLES, TASK_NODE_NAMES } from './event-tables.ts'

/** How long things are kept, days. */
export interface Retention {
  readonly pointsDays: number
  readonly rollupDays: number
  /** Events, dead letters, tasks and usage. */
  readonly eventDays: number
}

export interface Migration {
  readonly version: number
  readonly name: string
  readonly statements: (database: string, retention: Retention) => readonly string[]
}

const LONG_BLOCKS = 'min_compress_block_size = 1048576, max_compress_block_size = 1048576'

/** The value of a sample row: its integer scaled down, or the bits of a float64. */
export const VALUE_SQL = 'if(e = 255, reinterpretAsFloat64(v), v / intExp10(if(e = 255, 0, e)))'

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'samples',
    // A sample is (tenant, series, time): storing it again, in any cut, at any later time, changes nothing. The hour stands
    // before the series: a short window over many series then reads one piece of the table.
    statements: (db, { pointsDays }) => [
      `CREATE TABLE IF NOT EXISTS ${db}.samples (
        tenant LowCardinality(String),
        series UInt128 COMMENT 'high half: hash of the metric name, low half: of the canonical labels' CODEC(ZSTD(1)),
        ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
        e UInt8 COMMENT 'value = v / 10^e; 255: v holds the bits of a Float64' CODEC(ZSTD(1)),
        v Int64 CODEC(Delta, T64('bit'), ZSTD(1)),
        at DateTime64(6, 'UTC') COMMENT 'arrival; the last three digits name the writer; the larger wins' CODEC(Delta, ZSTD(1))
      ) ENGINE = ReplacingMergeTree(at)
      PARTITION BY toYYYYMMDD(ts)
      PRIMARY KEY (tenant, toStartOfHour(ts), series, ts)
      ORDER BY (tenant, toStartOfHour(ts), series, ts)
      TTL toDateTime(ts) + INTERVAL ${pointsDays} DAY
      SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, ${DURABLE}`,
    ],
  },
  {
    version: 2,
    name: 'series',
    // `seen` is renewed once a day while samples come; a series that is gone for longer than any of its figures goes too.
    statements: (db, { rollupDays }) => [
      `CREATE TABLE IF NOT EXISTS ${db}.series (
        tenant LowCardinality(String),
        name LowCardinality(String),
        series UInt128 CODEC(ZSTD(1)),
        kv Array(LowCardinality(String)) COMMENT 'key=value, sorted; = and backslash in a key stand behind a backslash' CODEC(ZSTD(1)),
        seen Date
      ) ENGINE = ReplacingMergeTree(seen)
      ORDER BY (tenant, name, series)
      TTL seen + INTERVAL ${rollupDays + 1} DAY
      SETTINGS ${DURABLE}`,
    ],
  },
  {
    version: 3,
    name: 'rollups',
    // w is the sum of the arrivals beneath: it grows with every new or replaced sample, so that a later recomputation wins
    // without anybody leading, and one that finds expired points loses.
    statements: (db, { rollupDays }) =>
      ['r1h', 'r1d'].map(
        (table) => `CREATE TABLE IF NOT EXISTS ${db}.${table} (
        tenant LowCardinality(String),
        series UInt128 CODEC(ZSTD(1)),
        b DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
        w UInt128 CODEC(ZSTD(1)),
        count UInt32 COMMENT 'samples with a finite value; the figures are of these' CODEC(T64, ZSTD(1)),
        sum Float64 CODEC(ZSTD(1)),
        min Float64 CODEC(ZSTD(1)),
        max Float64 CODEC(ZSTD(1)),
        first Float64 CODEC(ZSTD(1)),
        last Float64 CODEC(ZSTD(1)),
        first_ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
        last_ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
        increase Float64 COMMENT 'of a counter between first and last, resets seen' CODEC(ZSTD(1))
      ) ENGINE = ReplacingMergeTree(w)
      PARTITION BY toYYYYMM(b)
      ORDER BY (tenant, b, series)
      TTL b + INTERVAL ${rollupDays} DAY
      SETTINGS ttl_only_drop_parts = 1, ${DURABLE}`,
      ),
  },
  {
    version: 4,
    name: 'rollup_marks',
    // A mark says that a window has rows which its roll-up may not contain. Cleared by a second row of the same key; days on
    // which nothing is left uncleared are dropped whole.
    statements: (db) => [
      `CREATE TABLE IF NOT EXISTS ${db}.rollup_marks (
        level UInt8 COMMENT '1: hour, 2: day',
        b DateTime('UTC'),
        id UInt64,
        made Date,
        cleared UInt8
      ) ENGINE = ReplacingMergeTree(cleared)
      PARTITION BY made
      ORDER BY (level, b, id)
      SETTINGS ${DURABLE}`,
    ],
  },
  {
    version: 5,
    name: 'points view',
    // For people: one row a sample, exact, with its value.
    statements: (db) => [
      `CREATE OR REPLACE VIEW ${db}.points AS
      SELECT tenant, series, ts, ${VALUE_SQL} AS value, at FROM ${db}.samples FINAL
      SETTINGS do_not_merge_across_partitions_select_final = 1`,
    ],
  },
  {
    version: 6,
    name: 'histograms, exemplars, metadata, starts',
    // By identity like samples. A histogram's buckets are counts, not differences: whole ones or float ones, as `float` says.
    statements: (db, { pointsDays, rollupDays }) => [
      `CREATE TABLE IF NOT EXISTS ${db}.histograms (
        tenant LowCardinality(String),
        series UInt128 CODEC(ZSTD(1)),
        ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
        start DateTime64(3, 'UTC') COMMENT 'since when it counts; 1970: not said' CODEC(Delta, ZSTD(1)),
        float UInt8 COMMENT '1: counts are in the columns with _float' CODEC(ZSTD(1)),
        schema Int8 COMMENT 'bounds differ by 2^(2^-schema); -53: by custom_values' CODEC(ZSTD(1)),
        reset_hint UInt8 COMMENT '0 unknown, 1 reset, 2 no reset, 3 gauge' CODEC(ZSTD(1)),
        zero_threshold Float64 CODEC(ZSTD(1)),
        sum Float64 CODEC(ZSTD(1)),
        count UInt64 CODEC(Delta, ZSTD(1)),
        zero_count UInt64 CODEC(Delta, ZSTD(1)),
        positive Array(UInt64) CODEC(ZSTD(1)),
        negative Array(UInt64) CODEC(ZSTD(1)),
        count_float Float64 CODEC(ZSTD(1)),
        zero_count_float Float64 CODEC(ZSTD(1)),
        positive_float Array(Float64) CODEC(ZSTD(1)),
        negative_float Array(Float64) CODEC(ZSTD(1)),
        positive_offsets Array(Int32) COMMENT 'spans of buckets: gap before, and how many' CODEC(ZSTD(1)),
        positive_lengths Array(UInt32) CODEC(ZSTD(1)),
        negative_offsets Array(Int32) CODEC(ZSTD(1)),
        negative_lengths Array(UInt32) CODEC(ZSTD(1)),
        custom_values Array(Float64) CODEC(ZSTD(1)),
        at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
      ) ENGINE = ReplacingMergeTree(at)
      PARTITION BY toYYYYMMDD(ts)
      PRIMARY KEY (tenant, toStartOfHour(ts), series, ts)
      ORDER BY (tenant, toStartOfHour(ts), series, ts)
      TTL toDateTime(ts) + INTERVAL ${pointsDays} DAY
      SETTINGS ttl_only_drop_parts = 1, ${DURABLE}`,
      `CREATE TABLE IF NOT EXISTS ${db}.exemplars (
        tenant LowCardinality(String),
        series UInt128 CODEC(ZSTD(1)),
        ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
        labels Array(String) COMMENT 'key=value, as in the table series' CODEC(ZSTD(1)),
        value Float64 CODEC(ZSTD(1)),
        at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
      ) ENGINE = ReplacingMergeTree(at)
      PARTITION BY toYYYYMMDD(ts)
      PRIMARY KEY (tenant, toStartOfHour(ts), series, ts)
      ORDER BY (tenant, toStartOfHour(ts), series, ts, labels, value)
      TTL toDateTime(ts) + INTERVAL ${pointsDays} DAY
      SETTINGS ttl_only_drop_parts = 1, ${DURABLE}`,
      `CREATE TABLE IF NOT EXISTS ${db}.metadata (
        tenant LowCardinality(String),
        metric String,
        type LowCardinality(String),
        unit LowCardinality(String),
        help String,
        at DateTime64(6, 'UTC') COMMENT 'renewed once a day while it is sent'
      ) ENGINE = ReplacingMergeTree(at)
      ORDER BY (tenant, metric, type, unit, help)
      TTL toDateTime(at) + INTERVAL ${rollupDays + 1} DAY
      SETTINGS ${DURABLE}`,
      `CREATE TABLE IF NOT EXISTS ${db}.starts (
        tenant LowCardinality(String),
        series UInt128 CODEC(ZSTD(1)),
        valid_from DateTime64(3, 'UTC') COMMENT 'samples from here on, until the next row, count ...' CODEC(Delta, ZSTD(1)),
        since DateTime64(3, 'UTC') COMMENT '... since then; 1970: they do not say' CODEC(Delta, ZSTD(1)),
        at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))
      ) ENGINE = ReplacingMergeTree(at)
      PARTITION BY toYYYYMM(valid_from)
      ORDER BY (tenant, series, valid_from)
      TTL toDateTime(valid_from) + INTERVAL ${pointsDays + 2} DAY
      SETTINGS ${DURABLE}`,
    ],
  },
  {
    version: 7,
    name: 'samples: longer blocks for times',
    // Samples of one request share time and arrival, and lie far from each other in the order of the key: only a block that
    // holds hundreds of series shows it. A quarter of an hour of 48,000 series took 1.3 bytes a sample for
    // `at` alone, and takes 0.1 like this. Parts change as they are merged.
    statements: (db) => [
      `ALTER TABLE ${db}.samples MODIFY COLUMN ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) SETTINGS (${LONG_BLOCKS})`,
      `ALTER TABLE ${db}.samples MODIFY COLUMN at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(5)) SETTINGS (${LONG_BLOCKS})`,
    ],
  },
  EVENT_TABLES,
  TASK_NODE_NAMES,
]
