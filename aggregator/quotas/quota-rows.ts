/** What records of quotas put into tables. */

import { uuidV5 } from '../../proto/events/uuid.ts'
import { scaleOf } from '../../proto/quotas/amount.ts'
import type { AppliedRecord } from '../owner/fold.ts'
import type { EventRow, UsageRow } from '../store/record-rows.ts'
import { eventRow } from '../store/record-rows.ts'
import type { CountedDelta } from './counted.ts'
import type { ThresholdBody } from './quota-record.ts'
import { thresholdKey } from './quota-record.ts'

/** One owner, one log. */
const PARTITION = 0

/** Whose row it is. */
export interface UsageRowOf {
  readonly tenant: string
  readonly n: number
  /** Of the first one: apart from those that somebody else has for the same record. */
  readonly i: number
  readonly taskId: string
  readonly attempt: number
  readonly kind: 'committed' | 'measured_after_commit' | 'credit' | 'asset' | 'adjustment' | 'written_off'
}

export function countedRows(of: UsageRowOf, deltas: readonly CountedDelta[]): UsageRow[] {
  const { tenant, n, taskId, attempt, kind } = of
  return deltas.map(({ resource, slot, amount, owner }, i) => ({
    tenant,
    partition: PARTITION,
    n,
    i: of.i + i,
    taskId,
    attempt,
    resource,
    slot: slot / 1000,
    ...owner,
    amount: amount / scaleOf(resource),
    costMicro: 0,
    currency: '',
    kind,
  }))
}

/** `telemetry.quota.threshold`: its id follows from what is told, so that inserted again it is the same. */
export function thresholdRow({ tenant, at, n }: AppliedRecord, body: ThresholdBody): EventRow {
  const { level, subject, from, to } = body
  const event = {
    event_id: uuidV5(THRESHOLD_NAMESPACE, `${tenant}/${thresholdKey(body)}`),
    event_type: 'telemetry.quota.threshold',
    timestamp: new Date(Math.floor(at / 1000)).toISOString(),
    tenant_id: tenant,
    source: 'fleetmeter',
    version: '1.0',
    ...(level === 'user' ? { user_id: subject } : {}),
    tags: level === 'project' || level === 'department' ? { [level]: subject } : {},
    quota_id: body.quota,
    level,
    subject,
    resource: body.resource,
    threshold: body.threshold,
    counted: body.counted,
    limit: body.limit,
    period_from: new Date(from).toISOString(),
    period_to: to === null ? null : new Date(to).toISOString(),
  }
  const received = { tenant, at, road: 'http', topic: '', event } as const
  // No task or quota is decided by it: it has no position of its own, and tells the record's.
  return { ...eventRow(received, 0, JSON.stringify({ ...event, position: n })), road: 'own' }
}

/** Made once, at random. Another one would give every notice another id. */
const THRESHOLD_NAMESPACE = '5b0de2f1c7834a0e9a6d4f27c1be8830'
