/**
 * Reservations, by what became of them. All of it follows from records, but for those that are pending: set aside, and not logged yet.
 *
 *     by id:    pending, open, and closed ones for a while, so that a retry is known
 *     by task:  those that what is measured of the task concerns: open, or committed and not measured
 */
import type { CountedDelta } from './counted.ts'
import { ExpiryQueue } from './expiry-queue.ts'
import type { HoldSnapshot, HoldState, OpenReservation } from './hold.ts'
import { Hold } from './hold.ts'
import { LEVELS, subjectAt } from './quota.ts'
import type { CommitBody, ExpireBody, ExtendBody, ReleaseBody, ReserveBody, TaskOfHold } from './quota-record.ts'
import type { Subjects } from './subjects.ts'
import type { SubjectName } from './thresholds.ts'

export interface HoldsOptions {
  readonly subjects: Subjects
  /** How long a closed one is remembered, ms. */
  readonly closedKeptMs: number
  /** Most committed ones that wait to be measured: the oldest are forgotten, and stay charged. */
  readonly unmeasuredMax: number
  /** What was counted of a task's attempt until now, by resource; undefined: nothing is known of it. */
  readonly measuredOf: (tenant: string, task: TaskOfHold) => ReadonlyMap<string, number> | undefined
}

/** Plain JSON. Numbers say which of the holds. */
export interface HoldsSnapshot {
  readonly holds: readonly HoldSnapshot[]
  readonly byId: readonly number[]
  /** In the order in which they were closed. */
  readonly closed: readonly number[]
  readonly unmeasured: readonly number[]
}

const NOTHING: readonly CountedDelta[] = []
const NO_HOLDS: ReadonlySet<Hold> = new Set()

export class Holds {
  readonly #options: HoldsOptions
  readonly #byId = new Map<string, Hold>()
  readonly #byTask = new Map<string, Set<Hold>>()
  /** In the order in which they were closed. */
  readonly #closed = new Set<Hold>()
  /** In the order in which they were committed. */
  readonly #unmeasured = new Set<Hold>()
  readonly #expiries = new ExpiryQueue<Hold>(({ state }) => state === 'open')
  #pending = 0
  #neverMeasured = 0

  constructor(options: HoldsOptions) {
    this.#options = options
  }

  get sizes(): {
    readonly open: number
    readonly closed: number
    readonly pending: number
    readonly unmeasured: number
  } {
    const closed = this.#closed.size
    const open = this.#byId.size - closed - this.#pending
    return { open, closed, pending: this.#pending, unmeasured: this.#unmeasured.size }
  }

  /** Committed ones that were forgotten before they were measured. */
  get neverMeasured(): number {
    return this.#neverMeasured
  }

  /** When the next one expires, ms. */
  get nextExpiry(): number | undefined {
    return this.#expiries.next
  }

  /** Open ones whose time is over, the oldest first. */
  expired(now: number, max: number): readonly Hold[] {
    return this.#expiries.due(now, max)
  }

  find(tenant: string, id: string): Hold | undefined {
    return this.#byId.get(keyOf(tenant, id))
  }

  /**
   * Open ones of a subject, the oldest first; others may come and go between them.
   * @param after position of the record of the last one before
   * @yields undefined for each one that is passed over
   */
  *openOf({ tenant, level, subject }: SubjectName, after: number): Iterable<OpenReservation | undefined> {
    for (const hold of this.#options.subjects.heldOf(tenant, level, subject)?.holds ?? [])
      yield hold.n > after ? hold.openView() : undefined
  }

  /** One for the same attempt that stands in the way of another. */
  rivalOf(tenant: string, task: TaskOfHold): Hold | undefined {
    for (const hold of this.#ofTask(tenant, task.taskId))
      if (
        hold.body.task?.attempt === task.attempt &&
        hold.state !== 'expired' &&
        this.find(tenant, hold.body.id) === hold
      )
        return hold
    return undefined
  }

  /** Sets aside what is about to be logged. */
  begin(tenant: string, body: ReserveBody): void {
    this.#place(new Hold(tenant, body))
    this.#pending++
  }

  /** It was not logged. */
  undo(tenant: string, id: string): void {
    const hold = this.find(tenant, id)
    if (hold?.state !== 'pending') return
    this.#pending--
    this.#giveBack(hold)
    this.#byId.delete(keyOf(tenant, id))
    this.#untie(hold)
  }

  /** @param n position of the record */
  reserve(n: number, tenant: string, body: ReserveBody): void {
    let hold = this.find(tenant, body.id)
    if (hold !== undefined && hold.state !== 'pending') return
    if (hold === undefined) {
      hold = new Hold(tenant, body)
      this.#place(hold)
    } else this.#pending--
    hold.open(n)
    this.#expiries.add(hold)
    const measured = body.task === null ? undefined : this.#options.measuredOf(tenant, body.task)
    if (measured !== undefined) hold.measure(measured)
  }

  /** @returns what is counted */
  commit(tenant: string, body: CommitBody, now: number): readonly CountedDelta[] {
    const hold = this.find(tenant, body.id)
    if (hold?.state !== 'open' && hold?.state !== 'expired') return NOTHING
    const late = hold.state === 'expired'
    if (late) this.#closed.delete(hold)
    else this.#giveBack(hold)
    this.#close(hold, 'committed', now)
    const deltas = hold.commit(body, late)
    if (hold.body.task !== null && hold.isCharged) this.#awaitMeasure(hold)
    return deltas
  }

  release(tenant: string, { id }: ReleaseBody, now: number): void {
    const hold = this.find(tenant, id)
    if (hold?.state !== 'open') return
    this.#giveBack(hold)
    this.#close(hold, 'released', now)
    this.#untie(hold)
  }

  extend(tenant: string, { id, expires }: ExtendBody): void {
    const hold = this.find(tenant, id)
    if (hold?.state !== 'open') return
    hold.extend(expires)
    this.#expiries.add(hold)
  }

  expire(tenant: string, { id, expires }: ExpireBody, now: number): void {
    const hold = this.find(tenant, id)
    if (hold?.state !== 'open' || hold.expires > expires) return
    this.#giveBack(hold)
    this.#close(hold, 'expired', now)
  }

  /** An attempt was calculated. @param measured all of it, by resource @returns what is taken back */
  measure(tenant: string, { taskId, attempt }: TaskOfHold, measured: ReadonlyMap<string, number>): CountedDelta[] {
    const back: CountedDelta[] = []
    for (const hold of this.#ofTask(tenant, taskId))
      if (hold.state !== 'pending' && hold.body.task?.attempt === attempt)
        back.push(...this.#measured(hold, hold.measure(measured)))
    return back
  }

  /** More of a resource was told of for a task, nobody says of which attempt: the last one that is open, or else that waits for it. */
  measureMore(tenant: string, taskId: string, resource: string, amount: number): CountedDelta[] {
    const logged = [...this.#ofTask(tenant, taskId)]
      .filter(({ state }) => state !== 'pending')
      .sort((a, b) => b.n - a.n)
    const hold =
      logged.find(({ state }) => state === 'open') ?? logged.find((one) => one.chargedFor(resource)) ?? logged[0]
    return hold === undefined ? [] : this.#measured(hold, hold.measureMore(resource, amount))
  }

  /** Those that were closed too long ago are not known by their ids any more. */
  forget(now: number): void {
    for (const hold of this.#closed) {
      if (hold.closedAt! + this.#options.closedKeptMs >= now) break
      this.#closed.delete(hold)
      this.#byId.delete(keyOf(hold.tenant, hold.body.id))
      if (!this.#unmeasured.has(hold)) this.#untie(hold)
    }
  }

  snapshot(): HoldsSnapshot {
    const logged = [...this.#byId.values()].filter(({ state }) => state !== 'pending')
    const holds = [...new Set([...logged, ...this.#unmeasured])]
    const place = new Map(holds.map((hold, i) => [hold, i]))
    const placesOf = (of: Iterable<Hold>): number[] => Array.from(of, (hold) => place.get(hold)!)
    return {
      holds: holds.map((hold) => hold.snapshot()),
      byId: placesOf(logged),
      closed: placesOf(this.#closed),
      unmeasured: placesOf(this.#unmeasured),
    }
  }

  restore({ holds, byId, closed, unmeasured }: HoldsSnapshot): void {
    const all = holds.map((snapshot) => Hold.from(snapshot))
    for (const i of byId) this.#byId.set(keyOf(all[i]!.tenant, all[i]!.body.id), all[i]!)
    for (const i of closed) this.#closed.add(all[i]!)
    for (const i of unmeasured) this.#unmeasured.add(all[i]!)
    for (const hold of all) {
      this.#tie(hold)
      if (hold.state !== 'open') continue
      this.#setAside(hold)
      this.#expiries.add(hold)
    }
  }

  #place(hold: Hold): void {
    this.#byId.set(keyOf(hold.tenant, hold.body.id), hold)
    this.#tie(hold)
    this.#setAside(hold)
  }

  #setAside(hold: Hold): void {
    const { tenant, body } = hold
    const levels = LEVELS.filter((level) => subjectAt(level, tenant, body.owner) !== '')
    hold.setAside(
      levels.map((level) => this.#options.subjects.hold(tenant, level, subjectAt(level, tenant, body.owner), hold)),
    )
  }

  #giveBack(hold: Hold): void {
    const { tenant, body } = hold
    hold.giveBack()
    for (const level of LEVELS) {
      const subject = subjectAt(level, tenant, body.owner)
      if (subject !== '') this.#options.subjects.unhold(tenant, level, subject, hold)
    }
  }

  #close(hold: Hold, state: HoldState, now: number): void {
    hold.state = state
    hold.closedAt = now
    this.#closed.add(hold)
  }

  #awaitMeasure(hold: Hold): void {
    this.#unmeasured.add(hold)
    if (this.#unmeasured.size <= this.#options.unmeasuredMax) return
    const [oldest] = this.#unmeasured
    this.#unmeasured.delete(oldest!)
    this.#neverMeasured++
    if (!this.#closed.has(oldest!)) this.#untie(oldest!)
  }

  #measured(hold: Hold, back: CountedDelta[]): CountedDelta[] {
    if (!hold.isCharged && this.#unmeasured.delete(hold) && !this.#closed.has(hold)) this.#untie(hold)
    return back
  }

  #ofTask(tenant: string, taskId: string): ReadonlySet<Hold> {
    return this.#byTask.get(keyOf(tenant, taskId)) ?? NO_HOLDS
  }

  #tie(hold: Hold): void {
    const { task } = hold.body
    if (task === null || hold.state === 'released') return
    const key = keyOf(hold.tenant, task.taskId)
    const tied = this.#byTask.get(key)
    if (tied === undefined) this.#byTask.set(key, new Set([hold]))
    else tied.add(hold)
  }

  #untie(hold: Hold): void {
    const { task } = hold.body
    if (task === null) return
    const key = keyOf(hold.tenant, task.taskId)
    const tied = this.#byTask.get(key)
    tied?.delete(hold)
    if (tied?.size === 0) this.#byTask.delete(key)
  }
}

/** No tenant has this character in its name. */
const keyOf = (tenant: string, id: string): string => `${tenant}\n${id}`
