/**
 * What a calculation tells quotas and readers: absolute amounts of a task by resource and slot, with a version. Whoever counts keeps
 * what it has counted and adds the difference, so that calculating again adjusts and never adds.
 */
import type { FleetEvent } from '../../proto/events/event.ts'
import { uuidV5 } from '../../proto/events/uuid.ts'
import type { TaskKey } from './task-record.ts'

/** Whole numbers of these units; each is a millionth of what is shown and stored, or the same, so that nothing is rounded on the way. */
export const USAGE_UNITS = {
  gpu_seconds: 'us',
  gpu_busy_seconds: 'us',
  cpu_core_seconds: 'us',
  energy: 'uWh',
  transfer_bytes: 'B',
  disk_bytes: 'B',
  tokens: '1',
  tasks: '1',
  queue_seconds: 'us',
  load_seconds: 'us',
} as const

export type UsageResource = keyof typeof USAGE_UNITS

export interface UsageAmount {
  readonly resource: UsageResource
  /** Start of the slot of 15 minutes, ms since the epoch. */
  readonly slot: number
  readonly amount: number
  /** What that costs, millionths of the currency; absent: it has no price. */
  readonly costMicro?: number
  readonly currency?: string
}

/** Whose usage it is; '' where nobody says. */
export interface UsageOwner {
  readonly userId: string
  readonly project: string
  readonly department: string
}

/** More or less than was counted before. */
export interface UsageDelta extends UsageAmount {
  readonly owner: UsageOwner
}

/** All that is known of an attempt's usage at one time. An amount that an earlier version stated and this one does not is zero now. */
export interface UsageFigure {
  readonly task: TaskKey
  /** 1, 2, …; the larger replaces. */
  readonly version: number
  readonly amounts: readonly UsageAmount[]
  readonly owner?: UsageOwner
}

/** What has been counted of one attempt. Plain JSON. */
export type Counted = Pick<UsageFigure, 'version' | 'amounts' | 'owner'>

export interface Deltas {
  /** What is to be added, nowhere nothing. */
  readonly deltas: readonly UsageDelta[]
  /** What has been counted when they are. */
  readonly counted: Counted
}

const NOBODY: UsageOwner = { userId: '', project: '', department: '' }

/**
 * What turned out to be another one's, or to be paid in another currency, is taken back there and added here.
 * @param counted of this attempt; undefined: nothing yet. A version that is not newer changes nothing
 */
export function deltas(counted: Counted | undefined, figure: Counted): Deltas {
  const before = counted ?? { version: 0, amounts: [] }
  if (figure.version <= before.version) return { deltas: [], counted: before }
  const sums = new Map<string, UsageDelta>()
  const add = (of: UsageAmount, owner: UsageOwner, sign: 1 | -1): void => {
    const { resource, slot, amount, costMicro = 0, currency = '' } = of
    const key = JSON.stringify([resource, slot, currency, owner.userId, owner.project, owner.department])
    const known = sums.get(key)
    sums.set(key, {
      resource,
      slot,
      owner,
      amount: (known?.amount ?? 0) + sign * amount,
      ...(currency === '' ? {} : { costMicro: (known?.costMicro ?? 0) + sign * costMicro, currency }),
    })
  }
  for (const amount of before.amounts) add(amount, before.owner ?? NOBODY, -1)
  for (const amount of figure.amounts) add(amount, figure.owner ?? NOBODY, 1)
  return {
    deltas: [...sums.values()].filter(({ amount, costMicro = 0 }) => amount !== 0 || costMicro !== 0),
    counted: figure,
  }
}

/** Whom usage is told of. */
export interface UsageAttribution {
  readonly tenant: string
  readonly userId?: string
  readonly tags: Readonly<Record<string, string>>
}

/** @param timestamp of the calculation, ms: by the record that it stands in, so that publishing again tells the same */
export function usageEvent(figure: UsageFigure, who: UsageAttribution, timestamp: number, final: boolean): FleetEvent {
  const { task, version } = figure
  return {
    event_id: uuidV5(USAGE_NAMESPACE, `${task.tenant}/${task.taskId}/${task.attempt}/${version}`),
    event_type: 'telemetry.usage.calculated',
    timestamp: new Date(timestamp).toISOString(),
    tenant_id: who.tenant,
    source: 'fleetmeter',
    version: '1.0',
    ...(who.userId === undefined ? {} : { user_id: who.userId }),
    tags: who.tags,
    task_id: task.taskId,
    attempt: task.attempt,
    usage_version: version,
    final,
    amounts: figure.amounts.map(({ resource, slot, amount, costMicro, currency }) => ({
      resource,
      unit: USAGE_UNITS[resource],
      slot: new Date(slot).toISOString(),
      amount,
      ...(currency === undefined ? {} : { cost_micro: costMicro, currency }),
    })),
  }
}

/** Made once, at random. Another one would give every calculation another id. */
const USAGE_NAMESPACE = 'a8f3d3a46b0e4f0c9d573c9b1f1c8e21'
