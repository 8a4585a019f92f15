/**
 * Tasks beside the owner's log: records of events and of decisions about tasks go into the ledger, calculations become rows.
 *
 *     record `event` ────────▶ ledger ──▶ wake the service
 *     record `calculation` ──▶ ledger ──▶ deltas ──▶ rows: `tasks`, `usage`, and `telemetry.usage.calculated` in `events`
 *
 * Deltas follow from what had been counted before, so that they are kept until their rows are in ClickHouse: rows may be asked for
 * again after a restart from a snapshot that is newer than they are.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import type { Append, AppliedRecord, Fold } from '../owner/fold.ts'
import type { LoggedRows } from '../store/record-store.ts'
import type { LedgerOptions, LedgerSnapshot } from './ledger.ts'
import { TaskLedger } from './ledger.ts'
import { signalOf } from './signal.ts'
import type { CalculatedDecision, TaskDecision } from './task-decision.ts'
import { taskRow, usageEventRow, usageRows } from './task-rows.ts'
import { keyOf } from './task-state.ts'
import type { UsageDelta } from './usage-out.ts'

/** The kind of records that hold a {@link TaskDecision}. */
export const CALCULATION = 'calculation'

export interface TasksFoldOptions extends LedgerOptions {
  /** Something was applied. */
  readonly changed: () => void
  /** A row is in ClickHouse of a task whose end came then, µs. */
  readonly stored: (endArrived: number) => void
}

/** Plain JSON. */
interface TasksFoldSnapshot {
  readonly ledger: LedgerSnapshot
  /** By position, of calculations whose rows may not be in ClickHouse yet. */
  readonly deltas: readonly (readonly [n: number, deltas: readonly UsageDelta[]])[]
}

/** Ends whose rows are waited for, for the figure of how long that takes. */
const ENDS_MAX = 100_000

export class TasksFold implements Fold {
  readonly name = 'tasks'
  readonly ledger: TaskLedger
  readonly #options: TasksFoldOptions
  readonly #deltas = new Map<number, readonly UsageDelta[]>()
  /** When the end of a task arrived, µs. */
  readonly #ends = new Map<string, number>()
  /** The same, by the position of the calculation that was made since. */
  readonly #rowsOfEnds = new Map<number, number>()
  #append: Append | undefined

  constructor(options: TasksFoldOptions) {
    this.#options = options
    this.ledger = new TaskLedger(options)
  }

  apply(record: AppliedRecord): void {
    const { kind, tenant, n } = record
    if (kind === 'event') {
      const { event, at } = record.value as ReceivedEvent
      this.ledger.apply({ n, tenant, event })
      const signal = signalOf(event)
      if (signal?.of === 'task' && signal.signal.kind === 'end' && this.#ends.size < ENDS_MAX)
        this.#ends.set(keyOf(tenant, signal.taskId), at)
    } else if (kind === CALCULATION) this.#decided(n, tenant, record.value as TaskDecision)
    else return
    this.#options.changed()
  }

  rows(record: AppliedRecord): LoggedRows {
    const deltas = record.kind === CALCULATION ? this.#deltas.get(record.n) : undefined
    if (deltas === undefined) return {}
    const decision = record.value as CalculatedDecision
    const memory = this.ledger.memoryOf(record.tenant, decision.key.taskId)
    return {
      tasks: [taskRow(record, decision, memory)],
      usage: usageRows(record, decision, deltas),
      events: usageEventRow(record, decision),
    }
  }

  /** What a calculation added to what was counted; undefined: the record is none, or its rows are in ClickHouse. For quotas. */
  deltasOf(n: number): readonly UsageDelta[] | undefined {
    return this.#deltas.get(n)
  }

  stored(upTo: number): void {
    for (const n of this.#deltas.keys()) {
      if (n > upTo) break
      this.#deltas.delete(n)
      const end = this.#rowsOfEnds.get(n)
      this.#rowsOfEnds.delete(n)
      if (end !== undefined) this.#options.stored(end)
    }
  }

  snapshot(): TasksFoldSnapshot {
    return { ledger: this.ledger.snapshot(), deltas: [...this.#deltas] }
  }

  restore(state: unknown): void {
    const { ledger, deltas } = state as TasksFoldSnapshot
    this.ledger.restore(ledger)
    for (const [n, added] of deltas) this.#deltas.set(n, added)
  }

  begin(append: Append): void {
    this.#append = append
    this.#ends.clear() // of a replay: what was long ago
    this.#rowsOfEnds.clear()
    this.#options.changed()
  }

  /** Logs a decision. @throws FleetmeterError `FM_OWNER_LOG`; Error before the log has been read */
  async decide(tenant: string, decision: TaskDecision, at: number): Promise<void> {
    if (this.#append === undefined) throw new Error('the owner log is being read')
    const body = JSON.stringify(decision)
    await this.#append([{ kind: CALCULATION, tenant, key: nameOf(decision), at, body }])
  }

  #decided(n: number, tenant: string, decision: TaskDecision): void {
    const before = decision.what === 'calculated' ? this.ledger.account(decision.key) : undefined
    const deltas = this.ledger.apply({ n, tenant, decision })
    // One that was not newer than what was counted changed nothing, and has no rows.
    if (decision.what !== 'calculated' || this.ledger.account(decision.key) === before) return
    this.#deltas.set(n, deltas)
    const task = keyOf(tenant, decision.key.taskId)
    const end = this.#ends.get(task)
    if (end === undefined || decision.record?.endedAt === undefined) return
    this.#ends.delete(task)
    this.#rowsOfEnds.set(n, end)
  }
}

/** For a person who reads the log: positions tell records apart. */
function nameOf(decision: TaskDecision): string {
  switch (decision.what) {
    case 'calculated':
      return `${decision.key.taskId}/${decision.key.attempt}/${decision.version}`
    case 'lost':
      return decision.lost.id
    case 'late':
      return `late ${decision.key.taskId}/${decision.key.attempt}`
    case 'directory':
      return `directory ${decision.version}`
    case 'swept':
      return `swept ${decision.version}`
    default:
      return `${decision.what} ${decision.taskId}`
  }
}
