/** Tasks' ledger and the service beside it, on a log and an archive in memory, with a clock and samples that a test sets. */
import assert from 'node:assert/strict'
import type { NodeRecord } from '../../aggregator/directory/node-entry.ts'
import { DirectorySnapshot } from '../../aggregator/directory/snapshot.ts'
import { placeOf } from '../../aggregator/tasks/accounts.ts'
import type { ArchivedAttempt } from '../../aggregator/tasks/archive-sweep.ts'
import type { LedgerInput } from '../../aggregator/tasks/ledger.ts'
import { TaskLedger } from '../../aggregator/tasks/ledger.ts'
import { DEFAULT_MAPPING } from '../../aggregator/tasks/metric-mapping.ts'
import { surestName } from '../../aggregator/tasks/nodes.ts'
import type { Series } from '../../aggregator/tasks/series-source.ts'
import { SeriesUnavailable } from '../../aggregator/tasks/series-source.ts'
import type { LedgerMemory, SweepPlace, TaskDecision } from '../../aggregator/tasks/task-decision.ts'
import { TasksService } from '../../aggregator/tasks/tasks-service.ts'
import type { FleetEvent } from '../../proto/events/event.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { TENANT } from './task-events.ts'

export const T0: number = Date.parse('2026-01-31T12:00:00.000Z')
export const at = (seconds: number): number => T0 + seconds * 1000
export const task = (taskId: string, fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  task_id: taskId,
  node_id: 'n',
  ...fields,
})

/** A sample every ten seconds, for an hour. */
export const utilization = (percent: number, gpu = 0): Series => {
  const times = Array.from({ length: 360 }, (_, i) => at(i * 10))
  return {
    name: 'DCGM_FI_DEV_GPU_UTIL',
    labels: { Hostname: 'n', UUID: `GPU-${gpu}`, gpu: `${gpu}` },
    times,
    values: times.map(() => percent),
  }
}

/** An aggregator's tasks, with a log that survives it. */
export class TaskRig {
  readonly log: string[] = []
  readonly rows: Map<string, LedgerMemory> = new Map()
  directory: DirectorySnapshot = new DirectorySnapshot()
  /** All that was ever counted, by task, resource and slot. */
  counted: Map<string, number> = new Map()
  series: readonly Series[] = [utilization(50)]
  samplesAway = false
  now: number = at(1500)
  complete = true
  lastSample: number | undefined
  samplesFrom = 0
  archiveAway = false
  /** Else rows are only of calculations that changed a figure. */
  archivesAll = true
  ledger: TaskLedger
  service: TasksService
  readonly nodeTasksMax: number
  /** What happens while samples or the archive are asked for, or a decision is on its way into the log: one at each. */
  readonly meanwhile: (() => void)[] = []
  #room = Number.POSITIVE_INFINITY
  #sampledAgain = false

  constructor(nodeTasksMax = 256) {
    this.nodeTasksMax = nodeTasksMax
    this.ledger = this.#newLedger()
    this.service = this.#newService()
  }

  tell(...events: readonly FleetEvent[]): void {
    for (const e of events) this.#append(TENANT, { event: e })
  }

  decide(decision: TaskDecision): void {
    this.#append(TENANT, { decision })
  }

  /** Killed, and started again from a snapshot that it made at some time and the log behind it. */
  restart(snapshot: { n: number; state: string } | undefined): void {
    this.ledger = this.#newLedger()
    if (snapshot !== undefined) this.ledger.restore(JSON.parse(snapshot.state))
    this.counted = new Map()
    const whole = this.#newLedger()
    for (const [i, line] of this.log.entries()) {
      const input = JSON.parse(line) as LedgerInput
      this.#count(input, whole.apply(input))
      if (i + 1 > (snapshot?.n ?? 0)) this.ledger.apply(input)
    }
    // What a snapshot and the rest of the log give is what all of the log gives.
    assert.deepEqual(sortedJson(this.ledger), sortedJson(whole))
    this.service = this.#newService()
    // Nobody keeps that samples were late over a restart: it is told again here.
    if (this.#sampledAgain) this.service.noteLate({ tenant: TENANT, node: 'n', oldest: T0 })
  }

  snapshot(): { n: number; state: string } {
    return { n: this.log.length, state: JSON.stringify(this.ledger.snapshot()) }
  }

  /** A round in which rows of no more than so many attempts find room: the others wait. */
  async fewOf(attempts: number): Promise<void> {
    this.#room = attempts
    await this.service.round(false)
    this.#room = Number.POSITIVE_INFINITY
  }

  /** Samples of the node come late, and say something else. */
  sampleAgain(): void {
    this.series = this.series.map((one) => ({ ...one, values: Array.from(one.values, (value) => 100 - value) }))
    this.#sampledAgain = true
    this.service.noteLate({ tenant: TENANT, node: 'n', oldest: T0 })
  }

  /** One of the tasks that may leave memory does, as if it were old. */
  leave(i: number): void {
    const leaving = this.ledger.leaving(Number.POSITIVE_INFINITY, () => true)
    const one = leaving[i % leaving.length]
    if (one !== undefined) this.decide({ what: 'left', taskId: one.taskId, upTo: one.upTo })
  }

  /** Rounds until nothing is left to do. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10 && (this.ledger.dirty.length > 0 || this.ledger.waiting.length > 0 || i < 2); i++)
      await this.service.round()
    assert.deepEqual([this.ledger.dirty, this.ledger.waiting], [[], []])
  }

  sums(): Record<string, number> {
    return Object.fromEntries([...this.counted].filter(([, amount]) => amount !== 0).sort())
  }

  decisions(what: TaskDecision['what']): TaskDecision[] {
    return this.log.flatMap((line) => {
      const input = JSON.parse(line) as { decision?: TaskDecision }
      return input.decision?.what === what ? [input.decision] : []
    })
  }

  #append(tenant: string, body: { event: FleetEvent } | { decision: TaskDecision }): void {
    // As it is read again later.
    const line = JSON.stringify({ n: this.log.length + 1, tenant, ...body })
    this.log.push(line)
    const input = JSON.parse(line) as LedgerInput
    const deltas = this.ledger.apply(input)
    this.#count(input, deltas)
    if ('decision' in input && input.decision.what === 'calculated' && (this.archivesAll || deltas.length > 0)) {
      const { taskId } = input.decision.key
      const memory = this.ledger.memoryOf(tenant, taskId)
      if (memory !== undefined) this.rows.set(taskId, JSON.parse(JSON.stringify(memory)))
    }
  }

  #count(input: LedgerInput, deltas: ReturnType<TaskLedger['apply']>): void {
    if (!('decision' in input) || input.decision.what !== 'calculated') return
    const { taskId, attempt } = input.decision.key
    for (const { resource, slot, amount } of deltas) {
      const key = `${taskId}/${attempt} ${resource} ${slot}`
      this.counted.set(key, (this.counted.get(key) ?? 0) + amount)
    }
  }

  /** Rows as the archive has them, in its order. */
  #archived(place: SweepPlace, since: number): ArchivedAttempt[] {
    const all = [...this.rows.values()].flatMap(({ taskId, signals, accounts }) =>
      accounts.map(({ key, node, to }) => ({
        tenant: TENANT,
        taskId,
        attempt: key.attempt,
        userId: signals.map(({ facts }) => facts.userId).find((userId) => userId !== undefined) ?? '',
        names: [node ?? ''],
        to: to ?? Number.POSITIVE_INFINITY,
      })),
    )
    const order = ({ tenant, taskId, attempt }: ArchivedAttempt): string => JSON.stringify([tenant, taskId, attempt])
    all.sort((a, b) => (order(a) < order(b) ? -1 : 1))
    return all.filter((one) => order(one) > JSON.stringify(place) && one.to >= since)
  }

  #wait(): void {
    this.meanwhile.shift()?.()
  }

  #askArchive(): void {
    this.#wait()
    if (this.archiveAway) throw new Error('the archive is away')
  }

  #newLedger(): TaskLedger {
    return new TaskLedger({
      clockSkewMs: 5000,
      nodeOf: (_, names) => surestName(names),
      tasksMax: 1000,
      closedKeptMs: 1_800_000,
      stagesKeptMs: 1_800_000,
      nodeTasksMax: this.nodeTasksMax,
    })
  }

  #newService(): TasksService {
    return new TasksService(this.ledger, {
      source: {
        read: async () => {
          this.#wait()
          if (this.samplesAway) throw new SeriesUnavailable('away')
          return [...this.series]
        },
      },
      operator: 'operator',
      operatorOf: () => undefined,
      directory: () => this.directory,
      hasRoom: () => this.#room-- > 0,
      archive: {
        load: async (_, taskId) => {
          this.#askArchive()
          return this.rows.get(taskId)
        },
        onNode: async (_, node, from, to) => {
          this.#askArchive()
          return [...this.rows.values()].filter(({ accounts }) =>
            accounts.some((account) => {
              const place = placeOf(account)
              return place?.node === node && place.from < to && place.to > from
            }),
          )
        },
        isStored: () => true,
        after: async (place, since, max) => {
          this.#askArchive()
          return this.#archived(place, since).slice(0, max)
        },
        countAfter: async (place, since) => this.#archived(place, since).length,
        loadAll: async (_, taskIds) => {
          this.#askArchive()
          return taskIds.flatMap((taskId) => this.rows.get(taskId) ?? [])
        },
      },
      samplesFrom: () => this.samplesFrom,
      append: async (tenant, decision) => {
        this.#wait()
        this.#append(tenant, { decision })
      },
      completeUntil: () => (this.complete ? Number.POSITIVE_INFINITY : 0),
      lastSample: () => this.lastSample,
      mapping: DEFAULT_MAPPING,
      intervalMs: 10_000,
      taskMaxMs: 7_200_000,
      silentMs: 300_000,
      refreshMs: 60_000,
      parallel: 2,
      lookMs: 1000,
      clock: { now: () => this.now, monotonic: () => this.now },
      log: silentLogger,
    })
  }
}

function sortedJson(ledger: TaskLedger): unknown {
  const { fold, accounts, dirty, leftUntil, waiting, swept } = ledger.snapshot()
  const sorted = (list: readonly unknown[]): string[] => list.map((item) => JSON.stringify(item)).sort()
  return [
    sorted(fold.tasks),
    sorted(fold.stages),
    sorted(fold.floors),
    sorted(accounts),
    sorted(dirty),
    sorted(leftUntil),
    sorted(waiting),
    sorted([swept]),
  ]
}

export const nodeRecord = (fields: Partial<NodeRecord>): NodeRecord => ({
  ...{ id: 'e1', version: 1, tenant: TENANT, changed_at: '', source: 'explicit' },
  ...{ node_id: null, host_name: null, kubernetes_node: null, instances: [] },
  ...{ vm_type: null, gpu_model: null, gpu_count: null },
  ...{ valid_from: '2026-01-01T00:00:00.000Z', valid_to: null },
  ...fields,
})
