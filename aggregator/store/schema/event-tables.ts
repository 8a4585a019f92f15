/**
 * Tables of whole records: events, dead letters, usage, tasks.
 *
 * Why the key of `events` begins with the hour and the type: nearly every question is about a time, many about a type, and the owner's
 * look-up of an event that comes late knows its time too, so all of them read a few granules. An event's time and type never change (a
 * retry is the same event), so the key is as much its identity as (tenant, event_id) alone. Who has only an id is served by a bloom
 * filter of a granule's ids: a key that began with the id would be faster there, and would spread each hour over the whole table.
 */
import { DURABLE } from './durable.ts'
import type { Migration } from './migrations.ts'

/** A DateTime ends in 2106: what claims to be later is kept as long as if it were of 2100. */
const ofTime = (column: string): string => `toDateTime(least(${column}, toDateTime64('2100-01-01 00:00:00', 3, 'UTC')))`

/** By table: since when a row's age counts. */
export const EVENT_TABLE_TTLS: readonly (readonly [table: string, expression: string])[] = [
  ['events', ofTime('ts')],
  ['dead_letters', 'toDateTime(at)'],
  ['usage', 'slot'],
  ['tasks', ofTime('updated')],
]

const [EVENTS_TTL, LETTERS_TTL, USAGE_TTL, TASKS_TTL] = EVENT_TABLE_TTLS.map(([, expression]) => expression)

/** A machine goes by several names; a task is found by any of them. Rows from before have them in their details too. */
export const TASK_NODE_NAMES: Migration = {
  version: 9,
  name: 'names of a task’s node',
  statements: (db) => [
    `ALTER TABLE ${db}.tasks ADD COLUMN IF NOT EXISTS node_names Array(String)
      DEFAULT JSONExtract(details, 'who', 'node', 'names', 'Array(String)') COMMENT 'every name of node_id' CODEC(ZSTD(1))`,
  ],
}

export const EVENT_TABLES: Migration = {
  version: 8,
  name: 'events, dead_letters, usage, tasks',
  statements: (db, { eventDays }) => [
    `CREATE TABLE IF NOT EXISTS ${db}.events (
        tenant LowCardinality(String),
        event_id UUID,
        event_type LowCardinality(String),
        ts DateTime64(3, 'UTC') COMMENT 'its own time' CODEC(Delta, ZSTD(1)),
        at DateTime64(6, 'UTC') COMMENT 'arrival; the last three digits name the writer; the larger wins' CODEC(Delta, ZSTD(1)),
        n UInt64 COMMENT 'position in the owner log; 0: an event that no task or quota is decided by' CODEC(Delta, ZSTD(1)),
        road LowCardinality(String),
        topic LowCardinality(String),
        source LowCardinality(String),
        version LowCardinality(String),
        user_id String CODEC(ZSTD(1)),
        session_id String CODEC(ZSTD(1)),
        task_id String CODEC(ZSTD(1)),
        node_id String CODEC(ZSTD(1)),
        model LowCardinality(String),
        project LowCardinality(String),
        department LowCardinality(String),
        result Int8 COMMENT '1 or 0; -1: not said' CODEC(ZSTD(1)),
        event String COMMENT 'all of it, JSON' CODEC(ZSTD(3)),
        INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX by_task_id task_id TYPE bloom_filter(0.01) GRANULARITY 1
      ) ENGINE = ReplacingMergeTree(at)
      PARTITION BY toYYYYMM(ts)
      ORDER BY (tenant, toStartOfHour(ts), event_type, event_id)
      TTL ${EVENTS_TTL} + INTERVAL ${eventDays} DAY
      SETTINGS index_granularity = 4096, ttl_only_drop_parts = 1, ${DURABLE}`,
    `CREATE TABLE IF NOT EXISTS ${db}.dead_letters (
        tenant LowCardinality(String),
        id UUID COMMENT 'of where it came from and its bytes: the same letter is kept once',
        at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
        road LowCardinality(String),
        topic LowCardinality(String),
        code LowCardinality(String),
        reason String CODEC(ZSTD(3)),
        raw String COMMENT 'as received, base64' CODEC(ZSTD(3))
      ) ENGINE = ReplacingMergeTree(at)
      ORDER BY (tenant, id)
      TTL ${LETTERS_TTL} + INTERVAL ${eventDays} DAY
      SETTINGS ${DURABLE}`,
    // A row is a delta of a log record: inserted again it replaces itself, since all of its key follows from the record. The user
    // and the slot stand first for questions about one subject and period; the position is what makes it one row.
    `CREATE TABLE IF NOT EXISTS ${db}.usage (
        tenant LowCardinality(String),
        partition UInt16 COMMENT 'of the owner log',
        n UInt64 COMMENT 'position in it' CODEC(Delta, ZSTD(1)),
        i UInt32 COMMENT 'which of the record''s deltas' CODEC(T64, ZSTD(1)),
        task_id String CODEC(ZSTD(1)),
        attempt UInt32 CODEC(T64, ZSTD(1)),
        resource LowCardinality(String),
        slot DateTime('UTC') COMMENT 'start of a quarter of an hour' CODEC(Delta, ZSTD(1)),
        user_id String CODEC(ZSTD(1)),
        project LowCardinality(String),
        department LowCardinality(String),
        amount Decimal(38, 6) COMMENT 'more or less than was counted before, in the unit of the resource' CODEC(ZSTD(1)),
        cost_micro Int64 COMMENT 'the same in millionths of the currency' CODEC(ZSTD(1)),
        currency LowCardinality(String),
        kind LowCardinality(String)
      ) ENGINE = ReplacingMergeTree
      PARTITION BY toYYYYMM(slot)
      ORDER BY (tenant, user_id, resource, slot, partition, n, i)
      TTL ${USAGE_TTL} + INTERVAL ${eventDays} DAY
      SETTINGS ttl_only_drop_parts = 1, ${DURABLE}`,
    // Not partitioned by time: a later version of a task may say that it began or ended at another one, and must replace the row.
    `CREATE TABLE IF NOT EXISTS ${db}.tasks (
        tenant LowCardinality(String),
        task_id String CODEC(ZSTD(1)),
        attempt UInt32 CODEC(T64, ZSTD(1)),
        n UInt64 COMMENT 'position of its newest calculation in the owner log; the larger wins' CODEC(Delta, ZSTD(1)),
        updated DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
        state LowCardinality(String),
        provisional UInt8 COMMENT '1: samples of its window may still come',
        user_id String CODEC(ZSTD(1)),
        project LowCardinality(String),
        department LowCardinality(String),
        node_id String CODEC(ZSTD(1)),
        model LowCardinality(String),
        queued DateTime64(3, 'UTC') COMMENT '1970: not known' CODEC(Delta, ZSTD(1)),
        started DateTime64(3, 'UTC') COMMENT '1970: not known' CODEC(Delta, ZSTD(1)),
        ended DateTime64(3, 'UTC') COMMENT '1970: not ended' CODEC(Delta, ZSTD(1)),
        result Int8 COMMENT '1 or 0; -1: not said',
        error_category LowCardinality(String),
        gpu_seconds Float64 CODEC(ZSTD(1)),
        gpu_busy_seconds Float64 CODEC(ZSTD(1)),
        cpu_core_seconds Float64 CODEC(ZSTD(1)),
        energy_wh Float64 CODEC(ZSTD(1)),
        cost_micro Int64 CODEC(ZSTD(1)),
        currency LowCardinality(String),
        details String COMMENT 'what was assumed, figures by metric and GPU, evidence: JSON' CODEC(ZSTD(3)),
        INDEX by_started started TYPE minmax GRANULARITY 1,
        INDEX by_user_id user_id TYPE bloom_filter(0.01) GRANULARITY 1
      ) ENGINE = ReplacingMergeTree(n)
      ORDER BY (tenant, task_id, attempt)
      TTL ${TASKS_TTL} + INTERVAL ${eventDays} DAY
      SETTINGS ${DURABLE}`,
  ],
}
