/**
 * Slices of quotas, for the collectors that hold them: one round a second each.
 *
 *     round ─▶ what it decided, what it ends ─▶ owner log ─▶ what it would have: sized, set aside ─▶ owner log ─▶ all that it holds
 *     nobody heard of it for a term ─▶ in doubt, which frees nothing
 *
 * A holder decides within a term of the moment in which it asked, so that what it was told last holds no longer than a term after the
 * answer: what the one that started after it returns is taken then, and not before. Times here are monotonic, and are of this process:
 * what was before it began may have been heard of until then.
 */

import type {
  Admission,
  HeldSlice,
  LeaseAnswer,
  LeaseAsked,
  LeaseRound,
  ToldSlice,
} from '../../proto/quotas/lease-round.ts'
import { startsOf } from '../../proto/quotas/lease-round.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { Append } from '../owner/fold.ts'
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { ColdCounter } from './decision.ts'
import type { Lease } from './lease.ts'
import type { LeaseBody } from './lease-record.ts'
import { leaseRecord } from './lease-record.ts'
import { isTooLarge } from './lease-size.ts'
import type { Lending } from './lending.ts'
import type { ReserveBody } from './quota-record.ts'
import { quotaRecord } from './quota-record.ts'
import { QuotasUnavailable } from './quota-service.ts'
import type { QuotasFold } from './quotas-fold.ts'

export interface LeaseServiceOptions {
  readonly fold: QuotasFold
  /** Definitions of now are in the fold. */
  readonly define: () => void
  /** Counters are to be counted; nobody waits. */
  readonly count: (counters: readonly ColdCounter[]) => void
  readonly directory: () => DirectorySnapshot
  readonly append: Append
  /** That this process decides: before every answer to a collector that no append stands behind. */
  readonly confirm: () => Promise<void>
  readonly hasRoom: () => boolean
  /** Whether slices are lent; without, those that are lent are asked back. */
  readonly lends: boolean
  readonly termMs: number
  readonly reservedMaxMs: number
  readonly rememberedMs: number
  readonly clock: Clock
  readonly log: Logger
}

/** What somebody said of a lease became of it; `conflict`: its holder is heard of, or it is held no more. */
export type EndOutcome = 'done' | 'unknown' | 'conflict'

interface LeaseCounts {
  rounds: number
  granted: number
  reported: number
  returned: number
  writtenOff: number
  released: number
}

const LOOK_MS = 1000
/** Beyond a term: clocks run at rates that are not quite the same. */
const RATE_MARGIN = 1.05
const DOUBT_AFTER_MS = 1000
/** Totals stay exact numbers. */
const GRANTED_MAX = 2 ** 52
/** Nothing is known of a collector that holds nothing and was not heard of for so long. */
const FORGOTTEN_MS = 600_000
const REBOOTED = 'its machine was started anew: its journal may lack what it decided last'
const SAID = { over: [], shadow: [], unknown: [] }

/** Of one collector. */
interface Heard {
  /** The latest one. */
  epoch: string
  /** When it was answered last, by epoch; monotonic, ms. */
  readonly at: Map<string, number>
  /** One round at a time. */
  turn: Promise<unknown>
  waiting: number
}

export class LeaseService implements Service {
  readonly name = 'leases'
  readonly #options: LeaseServiceOptions
  readonly #often: RateLimitedLog
  readonly #heard = new Map<string, Heard>()
  readonly #counts: LeaseCounts = { rounds: 0, granted: 0, reported: 0, returned: 0, writtenOff: 0, released: 0 }
  #began = 0
  #serial = 0
  #timer: NodeJS.Timeout | undefined
  #doubting: Promise<void> = Promise.resolve()

  constructor(options: LeaseServiceOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(60_000, () => options.clock.monotonic())
  }

  get counts(): Readonly<LeaseCounts> {
    return this.#counts
  }

  async start(): Promise<void> {
    this.#began = this.#options.clock.monotonic()
    this.#timer = setInterval(() => {
      this.#doubting = this.#doubting.then(() => this.doubt())
    }, LOOK_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#doubting
  }

  health(): Health {
    return { ready: true }
  }

  /** @throws QuotasUnavailable when it cannot be logged: it is to be sent again */
  round(round: LeaseRound): Promise<LeaseAnswer> {
    const heard = this.#of(round.collector)
    heard.waiting++
    const answer = heard.turn.then(() => this.#round(round, heard)).finally(() => heard.waiting--)
    heard.turn = answer.catch(() => {}) // whoever asked is told
    return answer
  }

  /** What is held of a tenant, the oldest first. */
  held(tenant: string): Lease[] {
    return [...this.#options.fold.lending.leases.heldOf(tenant)].sort((a, b) => a.n - b.n)
  }

  /** When its holder was heard of last, ms ago; undefined: not since this process began. */
  silentMs({ holder: { collector, epoch } }: Lease): number | undefined {
    const at = this.#heard.get(collector)?.at.get(epoch)
    return at === undefined ? undefined : this.#options.clock.monotonic() - at
  }

  /**
   * Somebody says that its holder is no more: what is left is charged, or free again. Only of what is in doubt, and whose holder was
   * answered by nobody for a term.
   * @throws QuotasUnavailable
   */
  async end(
    kind: 'quota.lease.write_off' | 'quota.lease.release',
    tenant: string,
    n: number,
    by: { readonly reason: string; readonly who: string },
  ): Promise<EndOutcome> {
    const lease = this.#options.fold.lending.leases.find(tenant, n)
    if (lease === undefined) return 'unknown'
    const silent = this.#options.clock.monotonic() - this.#heardAt(lease.holder.collector, lease.holder.epoch)
    if (lease.state !== 'doubted' || silent < this.#termOf(lease.body)) return 'conflict'
    await this.#append([leaseRecord(kind, tenant, { lease: n, ...by }, this.#now())])
    const ended = kind === 'quota.lease.write_off' ? 'written_off' : 'released'
    if ((lease.state as Lease['state']) !== ended) return 'conflict'
    this.#counts[kind === 'quota.lease.write_off' ? 'writtenOff' : 'released']++
    return 'done'
  }

  /** Of whom nobody heard for a term, and more. It never fails. */
  async doubt(): Promise<void> {
    const { fold, clock, log } = this.#options
    const records = new Map<string, OwnerRecord>()
    for (const { state, tenant, holder, body } of fold.lending.leases.held()) {
      const { collector, epoch } = holder
      const silent = clock.monotonic() - this.#heardAt(collector, epoch)
      if (state !== 'lent' || silent < this.#termOf(body) + DOUBT_AFTER_MS) continue
      const key = JSON.stringify([tenant, collector, epoch])
      records.set(key, leaseRecord('quota.lease.doubt', tenant, { collector, epoch }, this.#now()))
    }
    this.#forget()
    if (records.size === 0) return
    try {
      await this.#append([...records.values()])
    } catch (error) {
      this.#often.once('doubt', (held) =>
        log.warn({ error: messageOf(error), held }, 'leases cannot be put in doubt: tried again'),
      )
    }
  }

  async #round(round: LeaseRound, heard: Heard): Promise<LeaseAnswer> {
    const { fold } = this.#options
    const { collector, epoch } = round
    this.#counts.rounds++
    const newest = this.#newest(collector, heard)
    const isOver = newest !== undefined && newest !== epoch && startsOf(newest) >= startsOf(epoch)
    if (!isOver) heard.epoch = epoch
    this.#options.define()
    // One that is over says what it decided all the same: nobody else knows all of it.
    const { appended, unknown } = await this.#told(round, isOver)
    const lent = !isOver && (await this.#lend(round))
    // What was appended is answered by the owner; so must be what was not.
    if (!appended && !lent) await this.#confirm()
    if (!isOver) heard.at.set(epoch, this.#options.clock.monotonic())
    const all = fold.lending.leases.heldBy(collector)
    return {
      ...this.#terms(),
      superseded: isOver ? startsOf(newest) : null,
      slices: all.filter(({ holder }) => holder.epoch === epoch).map((lease) => this.#slice(lease)),
      closed: round.slices
        .filter((slice) => !unknown.has(slice) && fold.lending.leases.find(slice.tenant, slice.lease)?.isHeld !== true)
        .map(({ tenant, lease }) => ({ tenant, lease })),
      earlier: isOver
        ? []
        : all
            .filter(({ holder }) => holder.epoch !== epoch)
            .map(({ tenant, n, holder, reported }) => ({ tenant, lease: n, epoch: holder.epoch, reported })),
    }
  }

  /** What it decided and what it ends, in one piece. @returns whether there was anything, and the slices of which not all is known yet */
  async #told(
    round: LeaseRound,
    isOver: boolean,
  ): Promise<{ readonly appended: boolean; readonly unknown: ReadonlySet<ToldSlice> }> {
    const { fold } = this.#options
    const now = this.#now()
    const records: OwnerRecord[] = []
    const reports: (() => void)[] = []
    for (const tenant of new Set(
      fold.lending.leases
        .heldBy(round.collector)
        .filter(({ state, holder }) => !isOver && state === 'doubted' && holder.epoch === round.epoch)
        .map((lease) => lease.tenant),
    ))
      records.push(leaseRecord('quota.lease.renew', tenant, { collector: round.collector, epoch: round.epoch }, now))
    let reported = 0
    const unknown = new Set<ToldSlice>()
    for (const slice of round.slices) {
      const { tenant, lease: n, admissions, ended } = slice
      const lease = fold.lending.leases.find(tenant, n)
      const bodies = admissions
        .filter(({ index }) => index > (lease?.reported ?? 0))
        .sort((a, b) => a.index - b.index)
        .map((admission) => bodyOf(admission, n, lease))
      const { count, done } = fold.lending.report(tenant, bodies)
      reports.push(done)
      reported += count
      for (const body of bodies.slice(0, count)) records.push(quotaRecord('quota.reserve', tenant, body, now * 1000))
      if (count < bodies.length) unknown.add(slice)
      else if (ended && lease?.isHeld === true) records.push(...this.#ended(lease, round))
    }
    try {
      if (records.length > 0) await this.#append(records)
    } finally {
      for (const done of reports) done()
    }
    this.#counts.reported += reported
    return { appended: records.length > 0, unknown }
  }

  /** By its holder at once; by the one that started after it when the holder's term is over, whatever became of it. */
  #ended(lease: Lease, { collector, epoch, boot }: LeaseRound): OwnerRecord[] {
    const { holder, tenant, n, body } = lease
    if (holder.collector !== collector) return []
    const now = this.#now()
    if (holder.epoch !== epoch) {
      const silent = this.#options.clock.monotonic() - this.#heardAt(collector, holder.epoch)
      if (silent < this.#termOf(body) * RATE_MARGIN) return []
      if (body.boot !== boot) {
        this.#counts.writtenOff++
        const end = { lease: n, reason: REBOOTED, who: `collector ${collector}` }
        return [leaseRecord('quota.lease.write_off', tenant, end, now)]
      }
    }
    this.#counts.returned++
    return [leaseRecord('quota.lease.return', tenant, { lease: n, by: epoch }, now)]
  }

  /** @returns whether anything was lent */
  async #lend(round: LeaseRound): Promise<boolean> {
    const { fold, lends, hasRoom } = this.#options
    if (!lends || round.asks.length === 0 || !hasRoom()) return false
    const now = this.#now()
    const held = fold.lending.leases.heldBy(round.collector)
    const records: OwnerRecord[] = []
    const cold: ColdCounter[] = []
    for (const ask of round.asks) {
      const lent = this.#lendTo(round, ask, held, now)
      if (lent === undefined || lent.outcome === 'none') continue
      if (lent.outcome === 'cold') cold.push(...lent.counters)
      else records.push(lent.record)
    }
    if (cold.length > 0) this.#options.count(cold)
    if (records.length === 0) return false
    try {
      await this.#append(records)
    } catch (error) {
      for (const { key } of records) fold.lending.leases.undo(key)
      throw error
    }
    this.#counts.granted += records.length
    return true
  }

  #lendTo(
    { collector, epoch, boot }: LeaseRound,
    { tenant, said, wanted, least }: LeaseAsked,
    held: readonly Lease[],
    now: number,
  ): ReturnType<Lending['lend']> | undefined {
    const { fold, termMs } = this.#options
    const mine = held.filter((lease) => lease.tenant === tenant && isSame(lease.body.said, said))
    // At most one slice of a collector and whom it is of is in doubt.
    if (mine.some(({ holder }) => holder.epoch !== epoch)) return undefined
    const own = mine[0]
    const owner = this.#ownerOf(tenant, said, now)
    if (own !== undefined && !this.#isGood(own, owner)) return undefined
    const id = `${collector} ${epoch} ${this.#began}.${++this.#serial}`
    const body = { id, lease: own?.n ?? null, collector, epoch, boot, termMs, said, owner, from: now }
    return fold.lending.lend({ tenant, body, wanted, least, has: own?.left ?? [] }, now)
  }

  #slice(lease: Lease): HeldSlice {
    const { tenant, n, body, granted, reported } = lease
    const recalled =
      !this.#options.lends ||
      !this.#isGood(lease, this.#ownerOf(tenant, body.said, this.#now())) ||
      this.#isTooLarge(lease)
    return { tenant, lease: n, said: body.said, owner: body.owner, granted, reported, recalled }
  }

  /** Whether it may grow: a membership may have changed, and numbers have an end. */
  #isGood({ body, granted }: Lease, owner: UsageOwner): boolean {
    return isSame(body.owner, owner) && granted.every(({ amount }) => amount < GRANTED_MAX)
  }

  #isTooLarge({ tenant, body, left }: Lease): boolean {
    const free = this.#options.fold.lending.freeFor(tenant, body.owner, this.#now())
    return free !== undefined && isTooLarge(left, free)
  }

  #ownerOf(tenant: string, { userId, project, department }: UsageOwner, at: number): UsageOwner {
    const tags = { project, department }
    const known = this.#options.directory().attribute({ tenant, userId: userId || undefined, at, tags })
    return { userId, project: known.project ?? '', department: known.department ?? '' }
  }

  #terms(): Pick<LeaseAnswer, 'termMs' | 'reservedMaxMs' | 'rememberedMs'> {
    const { termMs, reservedMaxMs, rememberedMs } = this.#options
    return { termMs, reservedMaxMs, rememberedMs }
  }

  /** As its holder may have been told: when it was lent, or since. */
  #termOf({ termMs }: LeaseBody): number {
    return Math.max(termMs, this.#options.termMs)
  }

  /** The latest epoch of a collector that is known, here or in the log. */
  #newest(collector: string, { epoch }: Heard): string | undefined {
    let newest = epoch === '' ? undefined : epoch
    for (const { holder } of this.#options.fold.lending.leases.heldBy(collector))
      if (newest === undefined || startsOf(holder.epoch) > startsOf(newest)) newest = holder.epoch
    return newest
  }

  #heardAt(collector: string, epoch: string): number {
    return this.#heard.get(collector)?.at.get(epoch) ?? this.#began
  }

  #of(collector: string): Heard {
    let heard = this.#heard.get(collector)
    if (heard === undefined) {
      heard = { epoch: '', at: new Map(), turn: Promise.resolve(), waiting: 0 }
      this.#heard.set(collector, heard)
    }
    return heard
  }

  #forget(): void {
    const { fold, clock } = this.#options
    for (const [collector, { at, waiting }] of this.#heard) {
      const held = new Set(fold.lending.leases.heldBy(collector).map(({ holder }) => holder.epoch))
      for (const [epoch, last] of at) if (clock.monotonic() - last > FORGOTTEN_MS && !held.has(epoch)) at.delete(epoch)
      if (at.size === 0 && held.size === 0 && waiting === 0) this.#heard.delete(collector)
    }
  }

  /** @throws QuotasUnavailable */
  async #confirm(): Promise<void> {
    await this.#options.confirm().catch((error: unknown) => {
      throw new QuotasUnavailable(messageOf(error))
    })
  }

  /** @throws QuotasUnavailable; then it is not in the log */
  async #append(records: readonly OwnerRecord[]): Promise<void> {
    if (!this.#options.hasRoom()) throw new QuotasUnavailable('too many rows wait for ClickHouse')
    try {
      await this.#options.append(records)
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      throw new QuotasUnavailable(messageOf(error))
    }
  }

  #now(): number {
    return this.#options.clock.now()
  }
}

/** @param lease undefined: it was forgotten; the reservation is of whom nobody knows, and is known by its id */
function bodyOf(admission: Admission, n: number, lease: Lease | undefined): ReserveBody {
  const { index, id, amounts, task, from, expires, hash } = admission
  const owner = lease?.body.owner ?? { userId: '', project: '', department: '' }
  return { id, owner, amounts, task, from, expires, hash, said: SAID, lease: { lease: n, index } }
}

function isSame(one: UsageOwner, other: UsageOwner): boolean {
  return one.userId === other.userId && one.project === other.project && one.department === other.department
}
