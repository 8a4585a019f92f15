/**
 * Quotas beside the owner's log: what was counted, what is set aside, and what still may be.
 *
 *     `calculation`, credits, adjustments ──▶ counters of subjects in memory ─┐
 *     `quota.reserve` … `quota.expire` ──▶ reservations ──▶ sums of holds ────┴▶ decision, in one step of one turn
 *
 * State follows from records; definitions are looked at only before a record is appended. A counter is a cache: one that is not in
 * memory is counted from ClickHouse up to a position U, and what came after U is added from the tail.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import type { AppliedRecord, Fold } from '../owner/fold.ts'
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { LoggedRows } from '../store/record-store.ts'
import type { TaskLedger } from '../tasks/ledger.ts'
import type { TaskDecision } from '../tasks/task-decision.ts'
import type { TasksFold } from '../tasks/tasks-fold.ts'
import { CALCULATION } from '../tasks/tasks-fold.ts'
import { assetDeltasOf, countedOf, creditOf, isSlot, measuredOf } from './counted.ts'
import type { CountedSlots, CountRun, CountsSnapshot, Position } from './counts.ts'
import { Counts } from './counts.ts'
import { coldOf, decide, figureOf } from './decide.ts'
import type { ColdCounter, Decision, Demand, Figure, Granted, WhenCold } from './decision.ts'
import type { OpenReservation, Reservation } from './hold.ts'
import type { HoldsSnapshot } from './holds.ts'
import { Holds } from './holds.ts'
import type { LeasesSnapshot } from './leases.ts'
import { Lending } from './lending.ts'
import type { QuotaIndex } from './quota.ts'
import type {
  AdjustBody,
  Amount,
  CommitBody,
  ExpireBody,
  ExtendBody,
  ReleaseBody,
  ReserveBody,
  ThresholdBody,
} from './quota-record.ts'
import { quotaRecord } from './quota-record.ts'
import { countedRows, thresholdRow } from './quota-rows.ts'
import { Subjects } from './subjects.ts'
import type { SubjectName, ThresholdsSnapshot } from './thresholds.ts'
import { Thresholds } from './thresholds.ts'

export interface QuotasFoldOptions {
  /** Applied before this one. */
  readonly tasks: Pick<TasksFold, 'deltasOf'> & { readonly ledger: Pick<TaskLedger, 'account'> }
  /** Most subjects and counters in memory; a counter of a rolling window is as many as it has hours, and one. */
  readonly countersMax: number
  /** Of them, how many go into a snapshot: those that were asked for last. */
  readonly countersKept: number
  /** How long a reservation that is closed is remembered, so that a retry is known, ms. */
  readonly closedKeptMs: number
  /** U: every row of records up to here is in ClickHouse. */
  readonly storedUpTo: () => number
  /** Most committed reservations of tasks that are remembered until the task is measured. */
  readonly unmeasuredMax: number
}

/** What is to be reserved, before anybody decided. */
export type ReserveRequest = Omit<ReserveBody, 'said'> & { readonly tenant: string }

export type Reserved =
  /** Set aside from now on. `record` is to be appended; where that fails, {@link QuotasFold.undo}. */
  | { readonly outcome: 'granted'; readonly record: OwnerRecord; readonly decision: Granted }
  | Exclude<Decision, Granted>
  /** The same request is being logged: wait for that one. */
  | { readonly outcome: 'pending' }
  /** The same request was granted before. */
  | { readonly outcome: 'repeat'; readonly reservation: Reservation }
  /** The id is another request's, or the attempt of the task has a reservation under another id, which is open or committed. */
  | { readonly outcome: 'conflict'; readonly field: 'id' | 'task'; readonly other: string }

export type { CountedSlots, CountRun }

/** Whom something is asked about. */
export type Subject = SubjectName

/** An adjustment, and when it was made, ms. Plain JSON. */
interface Adjusted {
  readonly at: number
  readonly body: AdjustBody
}

/** Plain JSON. */
interface QuotasSnapshot {
  readonly now: number
  readonly holds: HoldsSnapshot
  /** Absent: of a program that knew of none. */
  readonly leases?: LeasesSnapshot
  readonly counts: CountsSnapshot
  readonly thresholds: ThresholdsSnapshot
  readonly adjusted: readonly (readonly [key: string, made: Adjusted])[]
}

/** Of a calculation's own rows the numbers are lower. */
const AFTER_CALCULATION = 1000
const CREDIT_ATTEMPT = 0

export class QuotasFold implements Fold {
  readonly name = 'quotas'
  readonly #options: QuotasFoldOptions
  readonly #subjects: Subjects
  readonly #thresholds = new Thresholds()
  readonly #counts: Counts
  readonly #holds: Holds
  /** Slices that collectors hold. */
  readonly lending: Lending
  /** By tenant and id, in the order in which they were made: the same is made once. */
  readonly #adjusted = new Map<string, Adjusted>()
  /** The latest time of a record, ms. */
  #now = 0
  #isNew = true

  constructor(options: QuotasFoldOptions) {
    this.#options = options
    this.#subjects = new Subjects(options.countersMax)
    this.#counts = new Counts(this.#subjects, this.#thresholds)
    this.#holds = new Holds({
      subjects: this.#subjects,
      closedKeptMs: options.closedKeptMs,
      unmeasuredMax: options.unmeasuredMax,
      measuredOf: (tenant, { taskId, attempt }) => {
        const account = options.tasks.ledger.account({ tenant, taskId, attempt })
        return account === undefined ? undefined : measuredOf(account.counted.amounts)
      },
    })
    const { closedKeptMs } = options
    this.lending = new Lending({ subjects: this.#subjects, holds: this.#holds, counts: this.#counts, closedKeptMs })
  }

  // What the log says

  apply(record: AppliedRecord): void {
    if (this.#isNew) this.#counts.startAt(record.n - 1)
    this.#isNew = false
    this.#now = Math.max(this.#now, record.at / 1000)
    const { tenant, value } = record
    switch (record.kind) {
      case CALCULATION:
        this.#calculated(record, value as TaskDecision)
        break
      case 'event':
        this.#event(record, value as ReceivedEvent)
        break
      case 'quota.reserve':
        this.#forget()
        this.lending.reserve(record, value as ReserveBody)
        break
      case 'quota.commit':
        this.#committed(record, value as CommitBody)
        break
      case 'quota.release':
        this.#holds.release(tenant, value as ReleaseBody, this.#now)
        break
      case 'quota.extend':
        this.#holds.extend(tenant, value as ExtendBody)
        break
      case 'quota.expire':
        this.#holds.expire(tenant, value as ExpireBody, this.#now)
        break
      case 'quota.adjust':
        this.#forget()
        this.#adjust(record, value as AdjustBody)
        break
      case 'quota.threshold':
        this.#thresholds.tell(tenant, value as ThresholdBody, this.#now)
        break
      default:
        this.lending.apply(record, this.#now)
    }
  }

  /** Usage of commits, credits, assets and adjustments; `telemetry.quota.threshold`. */
  rows(record: AppliedRecord): LoggedRows {
    // What a snapshot has that knows nothing of quotas was not applied here.
    if (this.#isNew) this.#counts.startAt(record.n)
    if (record.kind === 'quota.threshold') return { events: [thresholdRow(record, record.value as ThresholdBody)] }
    return { usage: this.#counts.rowsOf(record.n) }
  }

  stored(upTo: number): void {
    this.#counts.stored(upTo)
  }

  snapshot(): QuotasSnapshot {
    return {
      now: this.#now,
      holds: this.#holds.snapshot(),
      leases: this.lending.leases.snapshot(),
      counts: this.#counts.snapshot(this.#options.countersKept),
      thresholds: this.#thresholds.snapshot(),
      adjusted: [...this.#adjusted],
    }
  }

  restore(state: unknown): void {
    const { now, holds, leases, counts, thresholds, adjusted } = state as QuotasSnapshot
    this.#isNew = false
    this.#now = now
    this.#holds.restore(holds)
    if (leases !== undefined) this.lending.leases.restore(leases)
    this.#counts.restore(counts)
    this.#thresholds.restore(thresholds)
    for (const [key, made] of adjusted) this.#adjusted.set(key, made)
  }

  // What is asked. Times are ms

  /** Definitions from now on. Counters of windows that are in them still stay. */
  use(quotas: QuotaIndex): void {
    this.#subjects.use(quotas)
  }

  /** Whether it would fit. Sets nothing aside. @param figures gets those of all quotas that are asked, narrowest level first */
  check(demand: Demand, now: number, whenCold: WhenCold, figures?: Figure[]): Decision {
    return decide(this.#subjects, demand, now, whenCold, figures)
  }

  /** Decides and sets aside, in one step. */
  reserve(request: ReserveRequest, now: number, whenCold: WhenCold): Reserved {
    const { tenant, ...asked } = request
    if (this.lending.isReporting(tenant, asked.id)) return { outcome: 'pending' }
    const known = this.#holds.find(tenant, asked.id)
    if (known !== undefined) {
      if (known.body.hash !== asked.hash) return { outcome: 'conflict', field: 'id', other: asked.id }
      const reservation = known.view()
      return reservation === undefined ? { outcome: 'pending' } : { outcome: 'repeat', reservation }
    }
    const rival = asked.task === null ? undefined : this.#holds.rivalOf(tenant, asked.task)
    if (rival !== undefined) return { outcome: 'conflict', field: 'task', other: rival.body.id }
    const decision = decide(this.#subjects, request, now, whenCold)
    if (decision.outcome !== 'granted') return decision
    const { over, shadow, unknown } = decision
    const body = { ...asked, said: { over: idsOf(over), shadow: idsOf(shadow), unknown: idsOf(unknown) } }
    this.#holds.begin(tenant, body)
    return { outcome: 'granted', record: quotaRecord('quota.reserve', tenant, body, now * 1000), decision }
  }

  /** The record of a reservation could not be appended. */
  undo(tenant: string, id: string): void {
    this.#holds.undo(tenant, id)
  }

  /** Undefined: there is none, or it was closed too long ago. */
  reservation(tenant: string, id: string): Reservation | undefined {
    return this.#holds.find(tenant, id)?.view()
  }

  /** Open reservations of a subject, as {@link Holds.openOf} has them. */
  openOf(subject: Subject, after: number): Iterable<OpenReservation | undefined> {
    return this.#holds.openOf(subject, after)
  }

  /** Undefined: there is none, or it was made too long ago. */
  adjustment(tenant: string, id: string): AdjustBody | undefined {
    return this.#adjusted.get(`${tenant}\n${id}`)?.body
  }

  /** Records of reservations whose time is over, at most so many, the oldest first; to be appended, one call after the other. */
  expired(now: number, max: number): readonly OwnerRecord[] {
    return this.#holds
      .expired(now, max)
      .map(({ tenant, body: { id, expires } }) => quotaRecord('quota.expire', tenant, { id, expires }, now * 1000))
  }

  /** When the next one expires, ms; undefined: none is open. */
  get nextExpiry(): number | undefined {
    return this.#holds.nextExpiry
  }

  /** How a subject stands with each of its quotas. */
  figures({ tenant, level, subject }: Subject, now: number): readonly Figure[] {
    const found = this.#subjects.at(tenant, level, subject, now)
    return found.meters.map((meter) => figureOf(found, meter, now))
  }

  /** What has to be counted before {@link figures} is complete. */
  cold({ tenant, level, subject }: Subject, now: number): readonly ColdCounter[] {
    const found = this.#subjects.at(tenant, level, subject, now)
    return found.meters.filter(({ counter }) => counter === undefined).map((meter) => coldOf(found, meter, now))
  }

  /** Undefined: what came before this program knew of quotas is not all in ClickHouse yet; try again in a second. */
  count(): CountRun | undefined {
    return this.#counts.count(this.#options.storedUpTo())
  }

  /**
   * Subjects at levels where thresholds are told, for which something was counted, in memory or not; at most so many, and the same ones
   * again until {@link reached} has nothing to tell of them.
   */
  touched(max: number): readonly Subject[] {
    return this.#thresholds.touched(max)
  }

  /** Thresholds that a subject has reached and nobody was told of; of quotas whose counters are in memory. */
  reached({ tenant, level, subject }: Subject, now: number): readonly ThresholdBody[] {
    return this.#thresholds.reached(this.#subjects.at(tenant, level, subject, now), now)
  }

  // Records of what somebody does with a reservation; to be appended, and then `reservation` says what became of it. `at` in ms

  commit(tenant: string, id: string, amounts: readonly Amount[], at: number): OwnerRecord {
    return quotaRecord('quota.commit', tenant, { id, amounts, at }, at * 1000)
  }

  release(tenant: string, id: string, at: number): OwnerRecord {
    return quotaRecord('quota.release', tenant, { id }, at * 1000)
  }

  extend(tenant: string, body: ExtendBody, at: number): OwnerRecord {
    return quotaRecord('quota.extend', tenant, body, at * 1000)
  }

  get sizes(): QuotaSizes {
    const { size: subjects, weight } = this.#subjects
    const { neverMeasured } = this.#holds
    return { subjects, counters: weight - subjects, ...this.#holds.sizes, neverMeasured, tail: this.#counts.tailSize }
  }

  #calculated(record: AppliedRecord, decision: TaskDecision): void {
    const { tasks } = this.#options
    const added = tasks.deltasOf(record.n)
    if (added === undefined || decision.what !== 'calculated') return
    const { key } = decision
    const account = tasks.ledger.account(key)
    const back = this.#holds.measure(record.tenant, key, measuredOf(account?.counted.amounts ?? []))
    const of = {
      i: AFTER_CALCULATION,
      taskId: key.taskId,
      attempt: key.attempt,
      kind: 'measured_after_commit',
    } as const
    this.#counts.add(record, [...added.map(countedOf), ...back], countedRows({ ...position(record), ...of }, back))
  }

  #event(record: AppliedRecord, { event }: ReceivedEvent): void {
    const credit = creditOf(event)
    if (credit === undefined) {
      const assets = assetDeltasOf(event)
      if (assets.length === 0) return
      const of = { ...position(record), i: 0, taskId: '', attempt: 0, kind: 'asset' } as const
      this.#counts.add(record, assets, countedRows(of, assets))
      return
    }
    const { taskId, ...delta } = credit
    const { tenant } = record
    const back = taskId === '' ? [] : this.#holds.measureMore(tenant, taskId, delta.resource, delta.amount)
    const of = { ...position(record), i: 0, taskId, attempt: CREDIT_ATTEMPT, kind: 'credit' } as const
    this.#counts.add(record, [delta, ...back], countedRows(of, [delta, ...back]))
  }

  #committed(record: AppliedRecord, body: CommitBody): void {
    const { tenant } = record
    const task = this.#holds.find(tenant, body.id)?.body.task
    const deltas = this.#holds.commit(tenant, body, this.#now)
    const { taskId, attempt } = task ?? { taskId: body.id, attempt: 0 }
    this.#counts.add(
      record,
      deltas,
      countedRows({ ...position(record), i: 0, taskId, attempt, kind: 'committed' }, deltas),
    )
  }

  #adjust(record: AppliedRecord, body: AdjustBody): void {
    const { id, resource, slot, amount, owner } = body
    const delta = { resource, slot, amount, owner }
    const key = `${record.tenant}\n${id}`
    if (this.#adjusted.has(key) || !isSlot(slot)) return
    this.#adjusted.set(key, { at: this.#now, body })
    const of = { ...position(record), i: 0, taskId: '', attempt: 0, kind: 'adjustment' } as const
    this.#counts.add(record, [delta], countedRows(of, [delta]))
  }

  /** What retries are known by is kept for a while. */
  #forget(): void {
    this.#holds.forget(this.#now)
    for (const [key, { at }] of this.#adjusted) {
      if (at + this.#options.closedKeptMs >= this.#now) break
      this.#adjusted.delete(key)
    }
  }
}

const position = ({ n, tenant, at }: Position): Position => ({ n, tenant, at })
const idsOf = (figures: readonly Figure[]): string[] => figures.map(({ quota }) => quota.id)

/** For gauges. */
export interface QuotaSizes {
  readonly subjects: number
  readonly counters: number
  readonly open: number
  readonly closed: number
  readonly pending: number
  readonly unmeasured: number
  /** Committed ones that were forgotten before they were measured. */
  readonly neverMeasured: number
  readonly tail: number
}
