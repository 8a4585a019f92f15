/** Rows of tasks and usage for tests, and a store that inserts them as the product does. */
import type { Database } from '../../aggregator/store/clickhouse.ts'
import type { TaskRow, UsageRow } from '../../aggregator/store/record-rows.ts'
import { RecordStore } from '../../aggregator/store/record-store.ts'
import type { Calculation } from '../../aggregator/tasks/calculation.ts'
import type { TaskDetails } from '../../aggregator/tasks/task-details.ts'
import { systemClock } from '../../proto/runtime/clock.ts'
import { silentLogger } from '../../proto/runtime/log.ts'

let position = 0

export function taskDetails(fields: Partial<TaskDetails> = {}): TaskDetails {
  return {
    version: 1,
    memory: null,
    record: null,
    calculation: null,
    events: [],
    error: null,
    who: {
      userId: null,
      project: null,
      department: null,
      environment: null,
      costCenter: null,
      how: { project: 'none', department: 'none', membership: null, chosen: null, memberships: 0 },
      node: { name: null, names: [], entry: null, vmType: null, gpuModel: null },
      samplesOf: 'none',
    },
    cost: { micros: null, reason: 'no_price', detail: 'no price fits' },
    ...fields,
  }
}

/** Each is at a later position than the one before. */
export function taskRow(taskId: string, fields: Partial<TaskRow> = {}, details: Partial<TaskDetails> = {}): TaskRow {
  return {
    tenant: 'default',
    taskId,
    attempt: 1,
    n: ++position,
    updated: Date.now(),
    state: 'completed',
    provisional: false,
    userId: '',
    project: '',
    department: '',
    nodeId: '',
    model: '',
    queued: 0,
    started: 1000,
    ended: 2000,
    result: -1,
    errorCategory: '',
    gpuSeconds: 0,
    gpuBusySeconds: 0,
    cpuCoreSeconds: 0,
    energyWh: 0,
    costMicro: 0,
    currency: '',
    details: JSON.stringify(taskDetails(details)),
    ...fields,
  }
}

export function usageRow(taskId: string, fields: Partial<UsageRow> = {}): UsageRow {
  return {
    tenant: 'default',
    partition: 0,
    n: ++position,
    i: 0,
    taskId,
    attempt: 1,
    resource: 'gpu_seconds',
    slot: 0,
    userId: '',
    project: '',
    department: '',
    amount: 1,
    costMicro: 0,
    currency: '',
    kind: 'final',
    ...fields,
  }
}

export async function startRecordStore(db: Database, database: string): Promise<RecordStore> {
  const store = new RecordStore(db, {
    database,
    insertRows: 10_000,
    insertAfterMs: 1000,
    bytesMax: 1 << 26,
    clock: systemClock,
    faults: () => {},
    log: silentLogger,
  })
  await store.start()
  return store
}

export function put(store: RecordStore, rows: { tasks?: readonly TaskRow[]; usage?: readonly UsageRow[] }): void {
  store.addLogged(position, rows)
}

/** @param value of what is not said here */
export const quantitiesOf = (value: number | null): Calculation['usage'] => {
  const one = { value, unit: 's', coverage: value === null ? 0 : 1, method: 'alone', confidence: 'full' as const }
  return {
    gpu_seconds_held: one,
    gpu_seconds_busy: one,
    gpu_idle_share: one,
    gpu_memory_peak: one,
    energy: one,
    cpu_core_seconds: one,
    memory_peak: one,
    disk_bytes: one,
    network_bytes: one,
    tokens_in: one,
    tokens_out: one,
    load_seconds: one,
    queue_seconds: one,
  }
}
