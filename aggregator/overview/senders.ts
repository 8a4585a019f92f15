/** What arrives, from whom, how fresh, and what was refused and why: of the counts that collectors write as samples. */
import type { Label } from '../../proto/wire/labels.ts'
import type { LineAnswer, RefusedAnswer } from './api.ts'
import type { Recent } from './recent.ts'
import { labelOf } from './recent.ts'
import type { Steps } from './steps.ts'
import { StepMeans, summed } from './steps.ts'

/** One sender at one door of one collector. */
export interface SenderRow {
  readonly tenant: string
  readonly sender: string
  readonly credential: string
  readonly door: string
  readonly collector: string
  /** Host of the collector. */
  readonly instance: string
  /** Over the last minute; null where nothing tells. */
  samplesPerSecond: number | null
  /** Since the collector was started. */
  samplesReceived: number
  /** Within memory. */
  readonly samplesRefused: RefusedAnswer[]
  readonly requestsRefused: RefusedAnswer[]
  /** Of its last request, ms. */
  lastSeen: number | null
  /** When the collector last said so, ms. */
  reportedAt: number
}

const RECEIVED = 'fleetmeter_sender_samples_received_total'
const RATE_MS = 60_000
/** A collector that says nothing for so long tells no rate. */
const SILENT_MS = 60_000

/** Senders of a tenant by their key, which orders them. @param from refusals since then are told, ms */
export async function readSenders(recent: Recent, from: number): Promise<Map<string, SenderRow>> {
  const rows = new Map<string, SenderRow>()
  const rowOf = (labels: readonly Label[], time: number): SenderRow => {
    const key = keyOf(recent.tenant, labels)
    let row = rows.get(key)
    if (row === undefined) {
      row = emptyRow(recent.tenant, labels)
      rows.set(key, row)
    }
    row.reportedAt = Math.max(row.reportedAt, time)
    return row
  }
  for await (const { slot, labels, time, value } of recent.series(RECEIVED)) {
    const row = rowOf(labels, time)
    row.samplesReceived = value
    if (time > recent.now - SILENT_MS) row.samplesPerSecond = recent.rate(slot, recent.now - RATE_MS) ?? null
  }
  for await (const { labels, time, value } of recent.series('fleetmeter_sender_last_request_seconds'))
    rowOf(labels, time).lastSeen = value * 1000
  for await (const { slot, labels, time } of recent.series('fleetmeter_sender_samples_refused_total'))
    refuse(rowOf(labels, time).samplesRefused, labelOf(labels, 'reason'), recent.increase(slot, from))
  for await (const { slot, labels, time } of recent.series('fleetmeter_sender_requests_total')) {
    const outcome = labelOf(labels, 'outcome')
    if (outcome !== 'ok') refuse(rowOf(labels, time).requestsRefused, outcome, recent.increase(slot, from))
  }
  return rows
}

/** Samples a second that arrived, one line a door. */
export async function readArrival(recents: readonly Recent[], steps: Steps): Promise<LineAnswer[]> {
  const byDoor = new Map<string, LineAnswer[]>()
  for (const recent of recents) {
    for await (const { slot, labels } of recent.series(RECEIVED)) {
      const means = new StepMeans(steps)
      recent.rises(slot, steps.start - steps.stepMs, (time, rise, overMs) => {
        if (overMs > 0) means.add(time, (rise / overMs) * 1000)
      })
      const door = labelOf(labels, 'door')
      const line = { name: door, values: means.values() }
      const lines = byDoor.get(door)
      if (lines === undefined) byDoor.set(door, [line])
      else lines.push(line)
    }
  }
  return [...byDoor].sort(([a], [b]) => (a < b ? -1 : 1)).map(([door, lines]) => summed(door, lines))
}

function refuse(list: RefusedAnswer[], reason: string, count: number): void {
  if (count > 0) list.push({ reason, count })
}

function keyOf(tenant: string, labels: readonly Label[]): string {
  return JSON.stringify([tenant, ...['sender', 'credential', 'door', 'collector'].map((name) => labelOf(labels, name))])
}

function emptyRow(tenant: string, labels: readonly Label[]): SenderRow {
  return {
    tenant,
    sender: labelOf(labels, 'sender'),
    credential: labelOf(labels, 'credential'),
    door: labelOf(labels, 'door'),
    collector: labelOf(labels, 'collector'),
    instance: labelOf(labels, 'instance'),
    samplesPerSecond: null,
    samplesReceived: 0,
    samplesRefused: [],
    requestsRefused: [],
    lastSeen: null,
    reportedAt: 0,
  }
}
