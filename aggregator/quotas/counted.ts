/** What is added to what was counted, as counters and the table `usage` have it: by whole numbers of a resource's smallest unit. */

import type { FleetEvent } from '../../proto/events/event.ts'
import { AMOUNT_MAX } from '../../proto/quotas/amount.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import { millionths } from '../store/table-rows.ts'
import { slotOf } from '../tasks/shares.ts'
import { resourceInTable } from '../tasks/task-rows.ts'
import type { UsageAmount, UsageDelta, UsageOwner } from '../tasks/usage-out.ts'

export interface CountedDelta {
  readonly resource: string
  /** Start of the quarter of an hour, ms. */
  readonly slot: number
  /** Less than nothing: it is taken back. */
  readonly amount: number
  readonly owner: UsageOwner
}

/** The same figures as the rows of the calculation have. */
export function countedOf(delta: UsageDelta): CountedDelta {
  const { resource, slot, amount, owner } = delta
  return { resource: resourceInTable(resource), slot, amount, owner }
}

/** By resource, whatever the time: what was counted for an attempt. */
export function measuredOf(amounts: readonly UsageAmount[]): Map<string, number> {
  const measured = new Map<string, number>()
  for (const { resource: name, amount } of amounts) {
    const resource = resourceInTable(name)
    measured.set(resource, (measured.get(resource) ?? 0) + amount)
  }
  return measured
}

/** What an event of credits says: undefined where it is none, or says nothing that can be counted. */
export function creditOf(event: FleetEvent): (CountedDelta & { readonly taskId: string }) | undefined {
  if (!event.event_type.endsWith('.credit')) return undefined
  const credits = event['amount']
  const amount = typeof credits === 'number' ? Number(millionths(Number.isFinite(credits) ? credits : 0)) : 0
  const slot = slotOf(parseRfc3339(event.timestamp) ?? Number.NaN)
  if (amount === 0 || Math.abs(amount) > AMOUNT_MAX || !isSlot(slot)) return undefined
  return { resource: 'credits', slot, amount, owner: ownerOf(event), taskId: said(event['task_id']) }
}

/** What became of an object: how often its bytes count as moved, and as kept. */
const ASSETS: Readonly<Record<string, readonly [moved: 0 | 1, kept: -1 | 0 | 1]>> = {
  'assets.access.download': [1, 0],
  'assets.access.upload': [1, 1],
  'assets.access.delete': [0, -1],
}

/**
 * What an event of an asset says: `transfer_bytes`, and what is kept more or less, `storage_bytes`. By differences and not by the space in use
 * that it names too: in any order they come to the same.
 */
export function assetDeltasOf(event: FleetEvent): CountedDelta[] {
  const [moved, kept] = ASSETS[event.event_type] ?? [0, 0]
  const size = event['object_size']
  const slot = slotOf(parseRfc3339(event.timestamp) ?? Number.NaN)
  if (event['result'] === false || !isAmount(size) || !isSlot(slot)) return []
  const owner = ownerOf(event)
  return [
    { resource: 'transfer_bytes', slot, amount: moved * size, owner },
    { resource: 'storage_bytes', slot, amount: kept * size, owner },
  ].filter(({ amount }) => amount !== 0)
}

function isAmount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= AMOUNT_MAX
}

/** As the event says it. */
function ownerOf(event: FleetEvent): UsageOwner {
  return {
    userId: said(event.user_id),
    project: said(event['project'] ?? event.tags?.['project']),
    department: said(event['department'] ?? event.tags?.['department']),
  }
}

/** What the column of slots can hold. */
export function isSlot(slot: number): boolean {
  return slot >= 0 && slot < 2 ** 32 * 1000
}

function said(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
