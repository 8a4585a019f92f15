/**
 * An owner's log with its tasks and quotas, a table of usage and snapshots, all in memory and one step at a time: what is durable,
 * inserted, told of and kept may be anything that a real one can come to.
 */
import assert from 'node:assert/strict'
import type { AppliedRecord, Fold } from '../../aggregator/owner/fold.ts'
import type { OwnerRecord } from '../../aggregator/owner/owner-log.ts'
import type { ColdCounter } from '../../aggregator/quotas/decision.ts'
import type { QuotaIndex } from '../../aggregator/quotas/quota.ts'
import type { CountedSlots, QuotasFoldOptions } from '../../aggregator/quotas/quotas-fold.ts'
import { QuotasFold } from '../../aggregator/quotas/quotas-fold.ts'
import { sumOfDecimal } from '../../aggregator/quotas/resource.ts'
import type { UsageRow } from '../../aggregator/store/record-rows.ts'
import { millionths } from '../../aggregator/store/table-rows.ts'
import type { TaskDecision } from '../../aggregator/tasks/task-decision.ts'
import type { TaskKey } from '../../aggregator/tasks/task-record.ts'
import { CALCULATION, TasksFold } from '../../aggregator/tasks/tasks-fold.ts'
import type { UsageAmount, UsageOwner } from '../../aggregator/tasks/usage-out.ts'
import { event } from './task-events.ts'
import { quantitiesOf, taskDetails } from './task-rows.ts'

interface Snapshot {
  readonly appliedUpTo: number
  readonly storedUpTo: number
  readonly folds: string
}

interface WaitingRow {
  readonly n: number
  readonly row: UsageRow
}

export type WorldOptions = Omit<QuotasFoldOptions, 'tasks' | 'storedUpTo'>

export const WORLD: WorldOptions = { countersMax: 1000, countersKept: 100, closedKeptMs: 600_000, unmeasuredMax: 1000 }

export class QuotaWorld {
  readonly log: AppliedRecord[] = []
  readonly #options: WorldOptions
  #tasks: TasksFold
  #fold: QuotasFold
  #index: QuotaIndex
  /** Rows on their way, and those that are in, by identity. */
  #waiting: WaitingRow[] = []
  readonly #table = new Map<string, WaitingRow>()
  #insertedUpTo = 0
  #storedUpTo = 0
  #appliedUpTo = 0
  readonly #snapshots: Snapshot[]

  constructor(index: QuotaIndex, options: WorldOptions = WORLD) {
    this.#options = options
    this.#index = index
    ;({ tasks: this.#tasks, fold: this.#fold } = this.#folds())
    this.#snapshots = [this.#snapshotOf()]
  }

  get fold(): QuotasFold {
    return this.#fold
  }

  get storedUpTo(): number {
    return this.#storedUpTo
  }

  use(index: QuotaIndex): void {
    this.#index = index
    this.#fold.use(index)
  }

  /** Durable, and applied. Positions skip numbers. */
  append(record: OwnerRecord): AppliedRecord {
    const n = (this.log.at(-1)?.n ?? 0) + 1 + (this.log.length % 3 === 1 ? 1 : 0)
    const applied = { ...record, n, value: JSON.parse(record.body) as unknown }
    this.log.push(applied)
    this.#apply(applied, true, true)
    return applied
  }

  /** Rows of so many more records are in the table; nobody is told yet. */
  insert(records: number): void {
    const next = this.log.filter(({ n }) => n > this.#insertedUpTo && n <= this.#appliedUpTo).slice(0, records)
    this.#insertedUpTo = next.at(-1)?.n ?? this.#insertedUpTo
    for (const waiting of this.#waiting) if (waiting.n <= this.#insertedUpTo) this.#put(waiting)
    this.#waiting = this.#waiting.filter(({ n }) => n > this.#insertedUpTo)
  }

  /** Everything that was inserted is known to be. */
  told(): void {
    if (this.#insertedUpTo <= this.#storedUpTo) return
    this.#storedUpTo = this.#insertedUpTo
    for (const fold of [this.#tasks, this.#fold]) fold.stored(this.#storedUpTo)
  }

  keep(): void {
    this.#snapshots.push(this.#snapshotOf())
  }

  /** Killed; started again from one of the snapshots, newest first. */
  crash(which: number): void {
    const { appliedUpTo, storedUpTo, folds } =
      this.#snapshots[this.#snapshots.length - 1 - (which % this.#snapshots.length)]!
    ;({ tasks: this.#tasks, fold: this.#fold } = this.#folds())
    const states = JSON.parse(folds) as Record<string, unknown>
    const restored: Fold[] = [this.#tasks, this.#fold]
    if (appliedUpTo > 0) for (const fold of restored) fold.restore(states[fold.name])
    this.#waiting = []
    this.#storedUpTo = storedUpTo
    this.#insertedUpTo = storedUpTo
    this.#appliedUpTo = appliedUpTo
    for (const record of this.log)
      if (record.n > Math.min(appliedUpTo, storedUpTo))
        this.#apply(record, record.n > appliedUpTo, record.n > storedUpTo)
  }

  /** The same log, read by a program that was never killed and has no snapshot. */
  replayed(): QuotasFold {
    const { tasks, fold } = this.#folds()
    for (const record of this.log) {
      tasks.apply(record)
      fold.apply(record)
    }
    return fold
  }

  /** What ClickHouse answers for counters. @param decimals of rows with n ≤ upTo */
  query(counters: readonly ColdCounter[], upTo: number): CountedSlots[] {
    return counters.map((counter) => {
      const sums = new Map<number, bigint>()
      for (const { n, row } of this.#table.values()) {
        if (n > upTo || row.tenant !== counter.tenant || row.resource !== counter.resource) continue
        if (subjectOf(row, counter.level) !== counter.subject) continue
        const { from, to } = counter.period
        const slot = row.slot * 1000
        if (slot < from) continue
        const own = counter.window.kind === 'rolling' || slot >= to ? slot : from
        sums.set(own, (sums.get(own) ?? 0n) + millionths(row.amount))
      }
      const slots = Array.from(sums, ([slot, sum]) => [slot, sumOfDecimal(counter.resource, decimalOf(sum))] as const)
      return { counter, slots }
    })
  }

  /** Counts, at once. */
  load(counters: readonly ColdCounter[]): void {
    const run = this.#fold.count()!
    run.finish(this.query(counters, run.upTo))
  }

  /** What the table has of one counter, with rows that nobody was told of yet. */
  get rows(): readonly UsageRow[] {
    return Array.from(this.#table.values(), ({ row }) => row)
  }

  #folds(): { readonly tasks: TasksFold; readonly fold: QuotasFold } {
    const tasks = new TasksFold({
      clockSkewMs: 5000,
      nodeOf: () => undefined,
      tasksMax: 1000,
      closedKeptMs: 3_600_000,
      stagesKeptMs: 3_600_000,
      nodeTasksMax: 256,
      changed: () => {},
      stored: () => {},
    })
    const fold = new QuotasFold({ ...this.#options, tasks, storedUpTo: () => this.#storedUpTo })
    fold.use(this.#index)
    return { tasks, fold }
  }

  #apply(record: AppliedRecord, toFolds: boolean, toTables: boolean): void {
    for (const fold of [this.#tasks, this.#fold] as const) {
      if (toFolds) fold.apply(record)
      if (toTables) for (const row of fold.rows(record).usage ?? []) this.#waiting.push({ n: record.n, row })
    }
    this.#appliedUpTo = Math.max(this.#appliedUpTo, record.n)
  }

  #put({ n, row }: WaitingRow): void {
    const key = `${n}/${row.i}`
    const known = this.#table.get(key)
    if (known !== undefined) assert.deepEqual(row, known.row, 'a row that is made again is the same')
    this.#table.set(key, { n, row })
  }

  #snapshotOf(): Snapshot {
    const folds = Object.fromEntries([this.#tasks, this.#fold].map((fold) => [fold.name, fold.snapshot()]))
    return { appliedUpTo: this.#appliedUpTo, storedUpTo: this.#storedUpTo, folds: JSON.stringify(folds) }
  }
}

function subjectOf(row: UsageRow, level: ColdCounter['level']): string {
  return { user: row.userId, project: row.project, department: row.department, tenant: row.tenant }[level]
}

/** As ClickHouse writes a Decimal(38, 6). */
function decimalOf(sum: bigint): string {
  const [sign, size] = sum < 0n ? ['-', -sum] : ['', sum]
  const text = size.toString().padStart(7, '0')
  return `${sign}${text.slice(0, -6)}.${text.slice(-6)}`
}

/** @param at ms */
export function calculation(
  key: TaskKey,
  version: number,
  amounts: readonly UsageAmount[],
  owner: UsageOwner,
  at: number,
): OwnerRecord {
  const who = { ...taskDetails().who, ...owner }
  const decision = {
    what: 'calculated',
    key,
    version,
    upTo: 0,
    final: true,
    calculation: { window: { from: at, to: at }, gpus: [], node: {}, usage: quantitiesOf(0), amounts, flags: [] },
    assessment: { error: null, who, cost: taskDetails().cost, directory: 1 },
  } satisfies TaskDecision
  return { kind: CALCULATION, tenant: key.tenant, key: '', at: at * 1000, body: JSON.stringify(decision) }
}

/** @param at ms */
export function credit(
  tenant: string,
  amount: number,
  fields: Readonly<Record<string, unknown>>,
  at: number,
): OwnerRecord {
  const value = { tenant, at: at * 1000, road: 'http', topic: 'wkf_gpu' }
  const told = { ...event('workflow.gpu.credit', at, { amount, ...fields }), tenant_id: tenant }
  return { kind: 'event', tenant, key: told.event_id, at: at * 1000, body: JSON.stringify({ ...value, event: told }) }
}

/** @param type `upload`, `download`, `delete` */
export function asset(
  tenant: string,
  type: string,
  size: number,
  fields: Readonly<Record<string, unknown>>,
  at: number,
): OwnerRecord {
  const value = { tenant, at: at * 1000, road: 'http', topic: 'asset_transfer' }
  const body = { resource_url: 's3://a', object_size: size, result: true, ...fields }
  const told = { ...event(`assets.access.${type}`, at, body), tenant_id: tenant }
  return { kind: 'event', tenant, key: told.event_id, at: at * 1000, body: JSON.stringify({ ...value, event: told }) }
}
