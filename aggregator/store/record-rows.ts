/** What the tables of whole records hold, and how that is written. @see schema/event-tables.ts */
import type { ReceivedEvent, ReceivedLetter, Road } from '../../proto/events/event.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { TableShape } from './table-rows.ts'
import {
  decimal6,
  float64,
  int8,
  microseconds,
  milliseconds,
  seconds,
  signed64,
  text,
  uint32,
  uint64,
  uuid,
} from './table-rows.ts'

export interface EventRow {
  readonly tenant: string
  readonly eventId: string
  readonly type: string
  /** The event's own time, ms since the epoch. */
  readonly ts: number
  /** Arrival, µs since the epoch. */
  readonly at: number
  /** Position in the owner log; 0: it is none of the log's. */
  readonly n: number
  /** own: this program tells of it. */
  readonly road: Road | 'own'
  readonly topic: string
  readonly source: string
  readonly version: string
  readonly userId: string
  readonly sessionId: string
  readonly taskId: string
  readonly nodeId: string
  readonly model: string
  readonly project: string
  readonly department: string
  /** 1 or 0; -1: not said. */
  readonly result: number
  /** The event, JSON. */
  readonly json: string
}

/** More or less of a resource than was counted before for a task and a quarter of an hour. */
export interface UsageRow {
  readonly tenant: string
  readonly partition: number
  readonly n: number
  /** Which of the record's rows: part of its identity. */
  readonly i: number
  readonly taskId: string
  readonly attempt: number
  readonly resource: string
  /** Start of the quarter of an hour, s since the epoch. */
  readonly slot: number
  readonly userId: string
  readonly project: string
  readonly department: string
  /** In the unit of the resource, exact to a millionth. */
  readonly amount: number
  readonly costMicro: number
  readonly currency: string
  readonly kind: string
}

/** A task as its newest calculation has it. Times are ms since the epoch, 0 where they are not known. */
export interface TaskRow {
  readonly tenant: string
  readonly taskId: string
  readonly attempt: number
  readonly n: number
  readonly updated: number
  readonly state: string
  readonly provisional: boolean
  readonly userId: string
  readonly project: string
  readonly department: string
  readonly nodeId: string
  readonly model: string
  readonly queued: number
  readonly started: number
  readonly ended: number
  /** 1 or 0; -1: not said. */
  readonly result: number
  readonly errorCategory: string
  readonly gpuSeconds: number
  readonly gpuBusySeconds: number
  readonly cpuCoreSeconds: number
  readonly energyWh: number
  readonly costMicro: number
  readonly currency: string
  /** JSON. */
  readonly details: string
}

/** What the column of times can hold: to the end of 2299. What an event says beyond stands in its JSON. */
const TIME_MAX_MS = Date.UTC(2299, 11, 31)

export const EVENTS: TableShape<EventRow> = {
  table: 'events',
  columns: [
    text('tenant', (row) => row.tenant),
    uuid('event_id', (row) => row.eventId),
    text('event_type', (row) => row.type),
    milliseconds('ts', (row) => row.ts),
    microseconds('at', (row) => row.at),
    uint64('n', (row) => row.n),
    text('road', (row) => row.road),
    text('topic', (row) => row.topic),
    text('source', (row) => row.source),
    text('version', (row) => row.version),
    text('user_id', (row) => row.userId),
    text('session_id', (row) => row.sessionId),
    text('task_id', (row) => row.taskId),
    text('node_id', (row) => row.nodeId),
    text('model', (row) => row.model),
    text('project', (row) => row.project),
    text('department', (row) => row.department),
    int8('result', (row) => row.result),
    text('event', (row) => row.json),
  ],
}

export const DEAD_LETTERS: TableShape<ReceivedLetter> = {
  table: 'dead_letters',
  columns: [
    text('tenant', (row) => row.tenant),
    uuid('id', (row) => row.dead.id),
    microseconds('at', (row) => row.at),
    text('road', (row) => row.road),
    text('topic', (row) => row.topic),
    text('code', (row) => row.dead.code),
    text('reason', (row) => row.dead.reason),
    text('raw', (row) => row.dead.raw),
  ],
}

export const USAGE: TableShape<UsageRow> = {
  table: 'usage',
  columns: [
    text('tenant', (row) => row.tenant),
    uint32('partition', (row) => row.partition),
    uint64('n', (row) => row.n),
    uint32('i', (row) => row.i),
    text('task_id', (row) => row.taskId),
    uint32('attempt', (row) => row.attempt),
    text('resource', (row) => row.resource),
    seconds('slot', (row) => row.slot),
    text('user_id', (row) => row.userId),
    text('project', (row) => row.project),
    text('department', (row) => row.department),
    decimal6('amount', (row) => row.amount),
    signed64('cost_micro', (row) => row.costMicro),
    text('currency', (row) => row.currency),
    text('kind', (row) => row.kind),
  ],
}

export const TASKS: TableShape<TaskRow> = {
  table: 'tasks',
  columns: [
    text('tenant', (row) => row.tenant),
    text('task_id', (row) => row.taskId),
    uint32('attempt', (row) => row.attempt),
    uint64('n', (row) => row.n),
    milliseconds('updated', (row) => row.updated),
    text('state', (row) => row.state),
    int8('provisional', (row) => Number(row.provisional)),
    text('user_id', (row) => row.userId),
    text('project', (row) => row.project),
    text('department', (row) => row.department),
    text('node_id', (row) => row.nodeId),
    text('model', (row) => row.model),
    milliseconds('queued', (row) => row.queued),
    milliseconds('started', (row) => row.started),
    milliseconds('ended', (row) => row.ended),
    int8('result', (row) => row.result),
    text('error_category', (row) => row.errorCategory),
    float64('gpu_seconds', (row) => row.gpuSeconds),
    float64('gpu_busy_seconds', (row) => row.gpuBusySeconds),
    float64('cpu_core_seconds', (row) => row.cpuCoreSeconds),
    float64('energy_wh', (row) => row.energyWh),
    signed64('cost_micro', (row) => row.costMicro),
    text('currency', (row) => row.currency),
    text('details', (row) => row.details),
  ],
}

/** When an event says it happened, ms since the epoch. */
export function timeOf({ event }: ReceivedEvent): number {
  return parseRfc3339(event.timestamp) ?? Number.NaN
}

/** @param json the event's text, where it is there already */
export function eventRow(received: ReceivedEvent, n: number, json: string): EventRow {
  const { tenant, at, road, topic, event } = received
  const { tags, result } = event
  return {
    tenant,
    eventId: event.event_id,
    type: event.event_type,
    ts: Math.min(timeOf(received), TIME_MAX_MS),
    at,
    n,
    road,
    topic,
    source: event.source,
    version: event.version,
    userId: said(event.user_id),
    sessionId: said(event.session_id),
    taskId: said(event['task_id']),
    nodeId: said(event['node_id']),
    model: said(event['model']),
    project: said(event['project'] ?? tags?.['project']),
    department: said(event['department'] ?? tags?.['department']),
    result: result === true ? 1 : result === false ? 0 : -1,
    json,
  }
}

function said(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
