/**
 * The tables, as numbered steps. Each may run again at any time and changes nothing then; a new version appends steps and
 * adds columns with defaults only, so that the version before keeps working beside it.
 */

/** How long things are kept, days. */
export interface Retention {
  readonly pointsDays: number
  readonly rollupDays: number
}

export interface Migration {
  readonly version: number
  readonly name: string
  readonly statements: (database: string, retention: Retention) => readonly string[]
}

const DURABLE = 'fsync_after_insert = 1, fsync_part_directory = 1'

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
]
