/** What a calculation puts into tables: its task's row, its deltas, and the event that tells of it. */
import type { AppliedRecord } from '../owner/fold.ts'
import type { EventRow, TaskRow, UsageRow } from '../store/record-rows.ts'
import { eventRow } from '../store/record-rows.ts'
import { ownerOf } from './attribution.ts'
import type { Calculation, QuantityName } from './calculation.ts'
import type { CalculatedDecision, LedgerMemory } from './task-decision.ts'
import type { TaskDetails, TaskWho } from './task-details.ts'
import { VOID_STATE } from './task-details.ts'
import type { UsageAmount, UsageDelta, UsageResource } from './usage-out.ts'
import { USAGE_UNITS, usageEvent } from './usage-out.ts'

/** One owner, one log. */
const PARTITION = 0
/** Our units in one of the tables'. */
const SCALE: Readonly<Record<(typeof USAGE_UNITS)[keyof typeof USAGE_UNITS], number>> = {
  us: 1_000_000,
  uWh: 1_000_000,
  B: 1,
  '1': 1,
}
const NOBODYS: TaskWho = {
  userId: null,
  project: null,
  department: null,
  environment: null,
  costCenter: null,
  how: { project: 'none', department: 'none', membership: null, chosen: null, memberships: 0 },
  node: { name: null, names: [], entry: null, vmType: null, gpuModel: null },
  samplesOf: 'none',
}

type Logged = Pick<AppliedRecord, 'n' | 'tenant' | 'at'>

export function taskRow(logged: Logged, decision: CalculatedDecision, memory: LedgerMemory | undefined): TaskRow {
  const { record, calculation, assessment, key, final } = decision
  const who = assessment?.who
  const cost = assessment?.cost
  const { userId, project, department } = who === undefined ? { userId: '', project: '', department: '' } : ownerOf(who)
  const priced = cost !== undefined && cost.micros !== null ? cost : { micros: 0, currency: '' }
  return {
    tenant: logged.tenant,
    taskId: key.taskId,
    attempt: key.attempt,
    n: logged.n,
    updated: Math.floor(logged.at / 1000),
    state: record?.state ?? VOID_STATE,
    provisional: !final,
    userId,
    project,
    department,
    nodeId: who?.node.name ?? '',
    model: record?.facts.model ?? '',
    queued: record?.queuedAt ?? 0,
    started: record?.startedAt ?? 0,
    ended: record?.endedAt ?? 0,
    result: resultOf(record?.state),
    errorCategory: assessment?.error?.category ?? '',
    gpuSeconds: known(calculation, 'gpu_seconds_held'),
    gpuBusySeconds: known(calculation, 'gpu_seconds_busy'),
    cpuCoreSeconds: known(calculation, 'cpu_core_seconds'),
    energyWh: known(calculation, 'energy'),
    costMicro: priced.micros,
    currency: priced.currency,
    details: JSON.stringify(detailsOf(decision, memory)),
  }
}

/** What is added or taken back, in the tables' units. */
export function usageRows(
  { n, tenant }: Logged,
  { key, final }: CalculatedDecision,
  deltas: readonly UsageDelta[],
): UsageRow[] {
  return deltas.map(({ resource, slot, amount, owner, costMicro = 0, currency = '' }, i) => ({
    tenant,
    partition: PARTITION,
    n,
    i,
    taskId: key.taskId,
    attempt: key.attempt,
    resource: resourceInTable(resource),
    slot: slot / 1000,
    ...owner,
    amount: amountInTable({ resource, amount }),
    costMicro,
    currency,
    kind: final ? 'final' : 'provisional',
  }))
}

export function resourceInTable(resource: UsageResource): string {
  return resource === 'energy' ? 'energy_wh' : resource
}

/** In the table's unit, before it is rounded to a millionth. */
export function amountInTable({ resource, amount }: Pick<UsageAmount, 'resource' | 'amount'>): number {
  return amount / SCALE[USAGE_UNITS[resource]]
}

/** `telemetry.usage.calculated`: its id follows from task and version, so that inserted or published again it is the same. */
export function usageEventRow({ n, tenant, at }: Logged, decision: CalculatedDecision): EventRow[] {
  const { key, version, calculation, assessment, final } = decision
  if (assessment === undefined || calculation === undefined) return []
  const { userId, project, department } = assessment.who
  const tags = { ...(project === null ? {} : { project }), ...(department === null ? {} : { department }) }
  const who = { tenant, ...(userId === null ? {} : { userId }), tags }
  const figure = { task: key, version, amounts: calculation.amounts }
  const event = usageEvent(figure, who, Math.floor(at / 1000), final)
  const received = { tenant, at, road: 'http', topic: '', event } as const
  // No task or quota is decided by it: it has no position of its own, and tells the calculation's.
  return [{ ...eventRow(received, 0, JSON.stringify({ ...event, position: n })), road: 'own' }]
}

function detailsOf(decision: CalculatedDecision, memory: LedgerMemory | undefined): TaskDetails {
  const { version, record = null, calculation = null, assessment } = decision
  return {
    version,
    memory: memory ?? null,
    record,
    calculation,
    events: memory?.signals.map(({ id }) => id) ?? [],
    error: assessment?.error ?? null,
    who: assessment?.who ?? NOBODYS,
    cost: assessment?.cost ?? { micros: null, reason: 'not_begun', detail: 'it is part of another attempt' },
  }
}

function resultOf(state: string | undefined): number {
  return state === 'completed' ? 1 : state === 'failed' || state === 'cancelled' ? 0 : -1
}

/** What is not known is 0 in a column; the details say null. */
function known(calculation: Calculation | undefined, name: QuantityName): number {
  return calculation?.usage[name].value ?? 0
}
