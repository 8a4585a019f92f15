/**
 * What a collector decides by the slices of quotas that it holds. Pure: clocks come in, and what is decided is nothing before it is in
 * the journal.
 *
 *     asked ─▶ within the term, and it fits a slice? ─▶ taken ─▶ journal, synced ─▶ still within the term? ─▶ granted
 *                        └─▶ no: an aggregator decides                           └─▶ no: void, journalled as well; an aggregator decides
 *
 * The term counts from the moment in which the round was sent whose answer told what is held, by the monotonic clock and by that on the
 * wall: a process that was stopped, a machine that slept and a clock that was set back all find that it is over.
 */
import type {
  Admission,
  HeldSlice,
  LeaseAnswer,
  LeaseAsked,
  LeaseRound,
  ToldSlice,
} from '../../proto/quotas/lease-round.ts'
import { ADMISSIONS_MAX, ASKS_MAX, LEASES_VERSION, SLICES_MAX } from '../../proto/quotas/lease-round.ts'
import type { AskedCheck, AskedReservation, AskedTask } from '../../proto/quotas/request.ts'
import { Demand, whoKey } from './demand.ts'
import { Slice } from './slice.ts'

/** A moment by both clocks, ms. */
export interface Moment {
  readonly wall: number
  readonly monotonic: number
}

export interface Identity {
  readonly collector: string
  readonly epoch: string
  /** Of the machine, since it started. */
  readonly boot: string
}

/** A reservation that was decided here, now or by an earlier start, and that no aggregator is known to know. */
export interface Local {
  readonly slice: Slice
  readonly admission: Admission
}

export type Decided =
  /** Taken: it is to be put into the journal, and then {@link LeaseDesk.stands} or {@link LeaseDesk.undo}. */
  | { readonly kind: 'taken'; readonly local: Local }
  | { readonly kind: 'repeated'; readonly local: Local }
  /** An aggregator decides. `after`: when it knows this reservation, which was decided here. */
  | { readonly kind: 'pass'; readonly after: string | undefined }

/** What an answer says besides. */
export type Heard = 'held' | 'superseded' | { readonly startsAfter: number }

/** A slice that nobody asks for is given back, ms. */
const IDLE_MS = 10_000
const KNOWN_IDS_MAX = 50_000
const PASS: Decided = { kind: 'pass', after: undefined }

export class LeaseDesk {
  #identity: Identity
  readonly #slices = new Map<string, Slice>()
  /** Those that may be taken from. */
  readonly #byWho = new Map<string, Slice>()
  /** By tenant and id. */
  readonly #locals = new Map<string, Local>()
  /** Their ids, by the attempt of the task that they are for. */
  readonly #attempts = new Map<string, string>()
  /** Decided here, and known there: whoever asks again is answered there. The latest at the end. */
  readonly #known = new Set<string>()
  readonly #demand = new Demand()
  #basis: Moment | undefined
  #terms = { termMs: 0, reservedMaxMs: 0, rememberedMs: 0 }
  #hadAny = false
  #superseded = false

  constructor(identity: Identity) {
    this.#identity = identity
  }

  get identity(): Identity {
    return this.#identity
  }

  get superseded(): boolean {
    return this.#superseded
  }

  get sizes(): { readonly slices: number; readonly unreported: number } {
    return { slices: this.#slices.size, unreported: this.#locals.size }
  }

  /** Longest time of a reservation, ms; 0: no aggregator said it yet. */
  get reservedMaxMs(): number {
    return this.#terms.reservedMaxMs
  }

  /** Whether it may decide. */
  stands({ wall, monotonic }: Moment): boolean {
    const { termMs } = this.#terms
    const basis = this.#basis
    if (basis === undefined || this.#superseded) return false
    return monotonic - basis.monotonic < termMs && wall >= basis.wall && wall - basis.wall < termMs
  }

  /** Decides and takes, in one step. */
  reserve(tenant: string, asked: AskedReservation, now: Moment): Decided {
    const said = saidOf(asked)
    this.#demand.note(tenant, said, asked.amounts, now.monotonic)
    const key = idKey(tenant, asked.id)
    const local = this.#locals.get(key)
    if (local !== undefined) {
      const { slice, admission } = local
      const isSame = slice.who !== undefined && admission.hash === asked.hash && admission.expires > now.wall
      return isSame ? { kind: 'repeated', local } : { kind: 'pass', after: asked.id }
    }
    if (this.#known.has(key)) return PASS
    const { issuedAt, task } = asked
    if (issuedAt !== undefined && issuedAt < now.wall - this.#terms.rememberedMs) return PASS
    const rival = task === null ? undefined : this.#attempts.get(taskKey(tenant, task))
    if (rival !== undefined) return { kind: 'pass', after: rival }
    const slice = this.#fitting(tenant, asked, now)
    if (slice === undefined) return PASS
    const { id, amounts, hash, seconds } = asked
    const times = { from: now.wall, expires: now.wall + seconds * 1000 }
    const taken = { slice, admission: slice.take({ id, amounts, task, hash, ...times }, now.monotonic) }
    this.#keep(taken)
    return { kind: 'taken', local: taken }
  }

  /** Whether it would fit a slice. It takes nothing. */
  check(tenant: string, asked: AskedCheck, now: Moment): boolean {
    this.#demand.note(tenant, saidOf(asked), asked.amounts, now.monotonic)
    return this.#fitting(tenant, asked, now) !== undefined
  }

  /** It is in the journal. */
  durable({ slice, admission }: Local): void {
    slice.durable(admission)
  }

  /** It was not granted: nobody was told that it was. */
  undo({ slice, admission }: Local): void {
    slice.undo(admission)
    this.#locals.delete(idKey(slice.tenant, admission.id))
    if (admission.task !== null) this.#attempts.delete(taskKey(slice.tenant, admission.task))
  }

  /** Of a reservation that no aggregator is known to know. */
  local(tenant: string, id: string): Local | undefined {
    return this.#locals.get(idKey(tenant, id))
  }

  /** Whether something is still to be told of a slice. */
  holds(tenant: string, lease: number): boolean {
    return this.#slices.has(sliceKey(tenant, lease))
  }

  /** What an earlier start decided by a slice. @param ended whether that is all of it */
  recover(tenant: string, lease: number, admissions: readonly Admission[], ended: boolean): void {
    const key = sliceKey(tenant, lease)
    if (this.#slices.has(key)) return
    const slice = Slice.earlier(tenant, lease, admissions, ended)
    this.#slices.set(key, slice)
    for (const admission of admissions) this.#keep({ slice, admission })
  }

  /** Everything is given back as soon as it is asked. */
  end(): void {
    for (const slice of this.#slices.values()) this.#stop(slice)
  }

  /** What is to be told now. @param asks whether more may be asked for */
  round(now: Moment, asks: boolean): LeaseRound {
    const slices: ToldSlice[] = []
    let admissions = 0
    for (const slice of this.#slices.values()) {
      if (slice.isIdle(now.monotonic, IDLE_MS)) this.#stop(slice)
      if (slices.length >= SLICES_MAX || admissions >= ADMISSIONS_MAX) break
      const told = slice.told(ADMISSIONS_MAX - admissions)
      if (told === undefined) continue
      admissions += told.admissions.length
      slices.push(told)
    }
    const asked: LeaseAsked[] = asks
      ? this.#demand.asks((who, resource) => this.#leftOf(who, resource), now.monotonic, ASKS_MAX)
      : []
    return { version: LEASES_VERSION, ...this.#identity, slices, asks: asked }
  }

  /** @param round that this answers; no other one is under way @param sent when it was sent */
  answered(round: LeaseRound, answer: LeaseAnswer, sent: Moment): Heard {
    if (answer.superseded !== null && !this.#hadAny) return { startsAfter: answer.superseded }
    this.#superseded = answer.superseded !== null
    const { termMs, reservedMaxMs, rememberedMs } = answer
    this.#terms = { termMs, reservedMaxMs, rememberedMs }
    this.#basis = sent
    this.#hadAny ||= answer.slices.length > 0
    const held = new Set<string>()
    for (const one of answer.slices) {
      held.add(sliceKey(one.tenant, one.lease))
      this.#hold(one, sent.monotonic)
    }
    for (const { tenant, lease, reported } of answer.earlier) {
      const slice = this.#slices.get(sliceKey(tenant, lease))
      if (slice !== undefined) this.#forget(slice, slice.reported(reported))
    }
    const told = new Map(
      round.slices.map((one) => [sliceKey(one.tenant, one.lease), one.admissions.at(-1)?.index ?? 0]),
    )
    for (const { tenant, lease } of answer.closed) {
      const key = sliceKey(tenant, lease)
      this.#close(key, told.get(key) ?? 0)
    }
    // Somebody ended it meanwhile: what was decided by it is still to be told.
    for (const [key, slice] of this.#slices) if (this.#superseded || !held.has(key)) this.#stop(slice)
    return this.#superseded ? 'superseded' : 'held'
  }

  /** It starts anew, with nothing: another one of its name started more often. */
  become(identity: Identity): void {
    this.#identity = identity
  }

  #keep(local: Local): void {
    const { tenant } = local.slice
    const { id, task } = local.admission
    this.#locals.set(idKey(tenant, id), local)
    if (task !== null) this.#attempts.set(taskKey(tenant, task), id)
  }

  #hold(one: HeldSlice, at: number): void {
    const { tenant, lease, said, owner, granted, reported, recalled } = one
    const key = sliceKey(tenant, lease)
    let slice = this.#slices.get(key)
    if (slice === undefined) {
      slice = new Slice(tenant, lease, said, owner, at)
      this.#slices.set(key, slice)
      this.#byWho.set(whoKey(tenant, said), slice)
    }
    slice.grant(granted)
    this.#forget(slice, slice.reported(reported))
    if (recalled) this.#stop(slice)
  }

  /** @param index of the last decision that was told, all before it too */
  #close(key: string, index: number): void {
    const slice = this.#slices.get(key)
    if (slice === undefined) return
    this.#forget(slice, slice.reported(index))
    this.#stop(slice)
    if (!slice.isOpen) this.#slices.delete(key)
  }

  /** They are known. */
  #forget(slice: Slice, admissions: readonly Admission[]): void {
    for (const { id, task } of admissions) {
      const key = idKey(slice.tenant, id)
      this.#locals.delete(key)
      this.#known.add(key)
      if (task !== null) this.#attempts.delete(taskKey(slice.tenant, task))
    }
    for (const oldest of this.#known) {
      if (this.#known.size <= KNOWN_IDS_MAX) break
      this.#known.delete(oldest)
    }
  }

  #stop(slice: Slice): void {
    slice.stop()
    if (slice.who !== undefined && this.#byWho.get(slice.who) === slice) this.#byWho.delete(slice.who)
  }

  #fitting(tenant: string, asked: AskedCheck, now: Moment): Slice | undefined {
    const slice = this.#byWho.get(whoKey(tenant, saidOf(asked)))
    return slice?.fits(asked.amounts) === true && this.stands(now) ? slice : undefined
  }

  #leftOf(who: string, resource: string): number {
    return this.#byWho.get(who)?.leftOf(resource) ?? 0
  }
}

function saidOf({ said: [userId, project, department] }: AskedCheck): {
  readonly userId: string
  readonly project: string
  readonly department: string
} {
  return { userId, project, department }
}

const idKey = (tenant: string, id: string): string => `${tenant}\n${id}`
const sliceKey = (tenant: string, lease: number): string => `${tenant}\n${lease}`
const taskKey = (tenant: string, { taskId, attempt }: AskedTask): string => `${tenant}\n${attempt}\n${taskId}`
