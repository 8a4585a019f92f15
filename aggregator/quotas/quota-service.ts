/**
 * Quotas for whoever asks: what takes time around the fold's decisions, which take none.
 *
 *     ask ─▶ definitions of now ─▶ decide ──cold?──▶ count, up to a deadline ─▶ decide again
 *                                    │
 *                                 granted: set aside in memory ─▶ owner log (durable) ─▶ answer
 *                                                                    └── not taken: given back, "later"
 *
 * Nothing is answered as granted before it is in the log. Where what was used cannot be counted in time, each quota does as it is
 * defined, closed or open, and the answer says so.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { EntryTable } from '../directory/entry-table.ts'
import type { Quota as QuotaRecord } from '../directory/quota.ts'
import type { Append } from '../owner/fold.ts'
import type { OwnerRecord } from '../owner/owner-log.ts'
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { ColdCounts } from './cold-counts.ts'
import type { Cold, ColdCounter, Decision, Demand, Figure, Granted, Refused, WhenCold } from './decision.ts'
import type { OpenReservation, Reservation } from './hold.ts'
import { LEVELS, subjectAt } from './quota.ts'
import { indexOf } from './quota-definitions.ts'
import type { AdjustBody, Amount } from './quota-record.ts'
import { quotaRecord } from './quota-record.ts'
import { QuotaTimers } from './quota-timers.ts'
import type { QuotasFold, ReserveRequest, Subject } from './quotas-fold.ts'

export interface QuotaServiceOptions {
  readonly fold: QuotasFold
  readonly counts: ColdCounts
  /** Definitions of now. */
  readonly definitions: () => EntryTable<QuotaRecord>
  /** Of the owner. */
  readonly append: Append
  /** Whether rows of records may wait for ClickHouse. */
  readonly hasRoom: () => boolean
  /** Most reservations that are open. */
  readonly openMax: number
  /** How long a question waits for a count, ms. */
  readonly countWithinMs: number
  readonly clock: Clock
  readonly log: Logger
}

/** A decision, and how those whom it touches stand with the quotas of its resources, narrowest first. */
export interface Checked {
  readonly decision: Granted | Refused
  readonly figures: readonly Figure[]
}

interface Looked extends Checked {
  readonly outcome: Checked['decision']['outcome']
}

/** What a reservation became; `repeated`: it was granted before. */
export type ReserveOutcome =
  | { readonly outcome: 'granted'; readonly reservation: Reservation; readonly repeated: boolean }
  | Refused
  | { readonly outcome: 'conflict'; readonly field: 'id' | 'task'; readonly other: string }

/** `conflict`: it is what `reservation` says, and cannot become what was asked. */
export type SettleOutcome =
  | { readonly outcome: 'done' | 'conflict'; readonly reservation: Reservation }
  | { readonly outcome: 'unknown' }

/** `conflict`: the id is another's. */
export type AdjustOutcome =
  | { readonly outcome: 'done'; readonly adjustment: AdjustBody; readonly repeated: boolean }
  | { readonly outcome: 'conflict' }

/** Nothing is decided now; it may be asked again. */
export class QuotasUnavailable extends Error {
  override readonly name = 'QuotasUnavailable'
}

/** Of decisions, those of checks too; `degraded`: without knowing all that was used. */
interface QuotaCounts {
  checks: number
  granted: number
  repeated: number
  refused: number
  degraded: number
  unavailable: number
}

/** Another look after a count: what was counted may have left memory again, which with any sensible bound it has not. */
const LOOKS_MAX = 3
/** A round of a collector, and the next one where that was lost. */
const REPORTED_WITHIN_MS = 2500
const REPORT_LOOK_MS = 50
/** Of a million reservations a page far on is found by looking at them all, 0.3 µs each: decisions come between. */
const LOOKED_AT_A_TURN = 2000

export class QuotaService implements Service {
  readonly name = 'quotas'
  readonly #options: QuotaServiceOptions
  readonly #timers: QuotaTimers
  /** Reservations and adjustments that are being logged, by {@link keyOf}. */
  readonly #logging = new Map<string, Promise<unknown>>()
  #definitions: EntryTable<QuotaRecord> | undefined
  readonly #counts: QuotaCounts = { checks: 0, granted: 0, repeated: 0, refused: 0, degraded: 0, unavailable: 0 }

  constructor(options: QuotaServiceOptions) {
    this.#options = options
    this.#timers = new QuotaTimers({ ...options, define: () => this.#define() })
  }

  get counts(): Readonly<QuotaCounts> {
    return this.#counts
  }

  async start(): Promise<void> {
    this.#define()
    this.#timers.start()
  }

  async stop(): Promise<void> {
    this.#options.counts.stop()
    await this.#timers.stop()
  }

  health(): Health {
    const { problem } = this.#options.counts
    return problem === undefined
      ? { ready: true }
      : { ready: true, detail: `what was used cannot be counted: ${problem}` }
  }

  /** Whether it would fit, by what is known in memory or can be counted in time. Sets nothing aside. */
  async check(demand: Demand): Promise<Checked> {
    return this.#checked(await this.#decided((whenCold) => this.#look(demand, whenCold)))
  }

  /** The same at once; undefined: something has to be counted for it. */
  checkInMemory(demand: Demand): Checked | undefined {
    this.#define()
    const look = this.#look(demand, 'ask')
    return isCold(look) ? undefined : this.#checked(look)
  }

  #look(demand: Demand, whenCold: WhenCold): Looked | Cold {
    const figures: Figure[] = []
    const decision = this.#options.fold.check(demand, this.#now(), whenCold, figures)
    return isCold(decision) ? decision : { outcome: decision.outcome, decision, figures }
  }

  #checked(looked: Looked): Checked {
    this.#counts.checks++
    this.#note(looked.decision)
    return looked
  }

  /**
   * Sets amounts aside for a time, all or nothing. Asked again, it is answered the same.
   * @throws QuotasUnavailable when it cannot be logged; then nothing is set aside
   */
  async reserve(request: ReserveRequest): Promise<ReserveOutcome> {
    const { fold, openMax } = this.#options
    const { tenant, id } = request
    const key = keyOf('reservation', tenant, id)
    for (;;) {
      if (fold.reservation(tenant, id) === undefined && fold.sizes.open + fold.sizes.pending >= openMax)
        throw this.#unavailable(`${openMax} reservations are open: see quota_reservations_max`)
      const reserved = await this.#decided((whenCold) => fold.reserve(request, this.#now(), whenCold))
      switch (reserved.outcome) {
        case 'pending':
          await (this.#logging.get(key) ?? sleep(REPORT_LOOK_MS)) // a collector's report of it is being logged
          continue
        case 'repeat':
          this.#counts.repeated++
          return { outcome: 'granted', reservation: reserved.reservation, repeated: true }
        case 'granted':
          this.#note(reserved.decision)
          return { outcome: 'granted', reservation: await this.#logged(request, reserved.record), repeated: false }
        case 'refused':
          this.#note(reserved)
          return reserved
        case 'conflict':
          return reserved
        default:
          return reserved satisfies never
      }
    }
  }

  /** One that a collector granted is known when it told us, once a second: so long it is waited for. */
  async reservation(tenant: string, id: string): Promise<Reservation | undefined> {
    const { fold, clock } = this.#options
    const until = clock.monotonic() + REPORTED_WITHIN_MS
    for (;;) {
      const found = fold.reservation(tenant, id)
      if (found !== undefined || clock.monotonic() >= until || !fold.lending.leases.isLent(tenant)) return found
      await sleep(REPORT_LOOK_MS)
    }
  }

  /** Whether something is lent of a tenant, or in doubt: a reservation that is not known here may have been granted all the same. */
  hasLent(tenant: string): boolean {
    for (const _ of this.#options.fold.lending.leases.heldOf(tenant)) return true
    return false
  }

  /** Definitions that were changed since hold from now on. */
  define(): void {
    this.#define()
  }

  /** Open ones of a subject, the oldest first. @param after position of the record of the last one before */
  async openOf(subject: Subject, after: number, max: number): Promise<readonly OpenReservation[]> {
    const found: OpenReservation[] = []
    let looked = 0
    for (const one of this.#options.fold.openOf(subject, after)) {
      if (one !== undefined) found.push(one)
      if (found.length >= max) break
      if (++looked % LOOKED_AT_A_TURN === 0) await nextTurn()
    }
    return found
  }

  /**
   * What was used; what was reserved beyond it is free again. One that has expired is charged all the same.
   * @param amounts undefined: as reserved
   * @throws QuotasUnavailable
   */
  commit(tenant: string, id: string, amounts: readonly Amount[] | undefined): Promise<SettleOutcome> {
    const now = this.#now()
    const isDone = ({ state, committed }: Reservation, used: readonly Amount[]): boolean =>
      state === 'committed' && sameAmounts(committed ?? [], used)
    return this.#settle(
      tenant,
      id,
      (found) =>
        found.state === 'open' || found.state === 'expired'
          ? this.#options.fold.commit(tenant, id, amounts ?? found.amounts, now)
          : undefined,
      (found) => isDone(found, amounts ?? found.amounts),
    )
  }

  /** Nothing was used. @throws QuotasUnavailable */
  release(tenant: string, id: string): Promise<SettleOutcome> {
    return this.#settle(
      tenant,
      id,
      ({ state }) => (state === 'open' ? this.#options.fold.release(tenant, id, this.#now()) : undefined),
      ({ state }) => state === 'released' || state === 'expired',
    )
  }

  /** It is set aside until then. @param expires ms @throws QuotasUnavailable */
  extend(tenant: string, id: string, expires: number): Promise<SettleOutcome> {
    return this.#settle(
      tenant,
      id,
      ({ state }) => (state === 'open' ? this.#options.fold.extend(tenant, { id, expires }, this.#now()) : undefined),
      ({ state, expires: until }) => state === 'open' && until === expires,
    )
  }

  /** Counts more or less, once for each id. Asked again, it is answered the same. @throws QuotasUnavailable */
  async adjust(tenant: string, body: AdjustBody): Promise<AdjustOutcome> {
    const { fold } = this.#options
    const key = keyOf('adjustment', tenant, body.id)
    for (let other = this.#logging.get(key); other !== undefined; other = this.#logging.get(key))
      await other.catch(() => {}) // whoever asked for it was told
    const known = fold.adjustment(tenant, body.id)
    if (known !== undefined)
      return known.hash === body.hash ? { outcome: 'done', adjustment: known, repeated: true } : { outcome: 'conflict' }
    await this.#logs(key, quotaRecord('quota.adjust', tenant, body, this.#now() * 1000))
    return { outcome: 'done', adjustment: body, repeated: false }
  }

  /** How a subject stands with its quotas; of those that could not be counted in time, `counted` is undefined. */
  async figures(subject: Subject): Promise<readonly Figure[]> {
    this.#define()
    const { fold } = this.#options
    const cold = fold.cold(subject, this.#now())
    if (cold.length > 0) await this.#counted(cold)
    return fold.figures(subject, this.#now())
  }

  /** How those whom a demand touches stand with the quotas of its resources, narrowest first, as far as is known in memory. */
  figuresOf({ tenant, owner, amounts }: { tenant: string; owner: UsageOwner; amounts: readonly Amount[] }): Figure[] {
    const { fold } = this.#options
    const now = this.#now()
    return LEVELS.flatMap((level) => {
      const subject = subjectAt(level, tenant, owner)
      if (subject === '') return []
      return fold
        .figures({ tenant, level, subject }, now)
        .filter(({ quota }) => amounts.some(({ resource }) => resource === quota.resource))
    })
  }

  /** Counts what is cold, as far as there is time, and decides by it. */
  async #decided<T extends { readonly outcome: string }>(
    decide: (whenCold: WhenCold) => T | Cold,
  ): Promise<Exclude<T, Cold>> {
    for (let look = 0; look < LOOKS_MAX; look++) {
      this.#define()
      const decision = decide('ask')
      if (!isCold(decision)) return decision as Exclude<T, Cold>
      if (!(await this.#counted(decision.counters))) break
    }
    this.#define()
    return decide('as_defined') as Exclude<T, Cold> // as they are defined, it is decided at once
  }

  #counted(counters: readonly ColdCounter[]): Promise<boolean> {
    return this.#options.counts.wait(counters, this.#options.countWithinMs)
  }

  #define(): void {
    const definitions = this.#options.definitions()
    if (definitions === this.#definitions) return
    this.#definitions = definitions
    this.#options.fold.use(indexOf(definitions))
  }

  async #logged({ tenant, id }: ReserveRequest, record: OwnerRecord): Promise<Reservation> {
    const { fold } = this.#options
    try {
      await this.#logs(keyOf('reservation', tenant, id), record)
    } catch (error) {
      fold.undo(tenant, id)
      throw error
    }
    this.#timers.look()
    return fold.reservation(tenant, id)! // it was applied
  }

  async #logs(key: string, record: OwnerRecord): Promise<void> {
    const logged = this.#append(record)
    this.#logging.set(key, logged)
    try {
      await logged
    } finally {
      this.#logging.delete(key)
    }
  }

  async #settle(
    tenant: string,
    id: string,
    recordFor: (found: Reservation) => OwnerRecord | undefined,
    isDone: (found: Reservation) => boolean,
  ): Promise<SettleOutcome> {
    const { fold } = this.#options
    await this.#logging.get(keyOf('reservation', tenant, id))?.catch(() => {}) // whoever reserved it was told
    const found = await this.reservation(tenant, id)
    if (found === undefined) return { outcome: 'unknown' }
    if (!isDone(found)) {
      const record = recordFor(found)
      if (record !== undefined) await this.#append(record)
      this.#timers.look()
    }
    // Somebody else's may have come before.
    const now = fold.reservation(tenant, id) ?? found
    return { outcome: isDone(now) ? 'done' : 'conflict', reservation: now }
  }

  /** @throws QuotasUnavailable; then it is not in the log */
  async #append(record: OwnerRecord): Promise<void> {
    if (!this.#options.hasRoom()) throw this.#unavailable('too many rows wait for ClickHouse')
    try {
      await this.#options.append([record])
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      throw this.#unavailable(messageOf(error))
    }
  }

  #unavailable(why: string): QuotasUnavailable {
    this.#counts.unavailable++
    return new QuotasUnavailable(why)
  }

  #note(decision: Granted | Refused): void {
    this.#counts[decision.outcome]++
    if (isDegraded(decision)) this.#counts.degraded++
  }

  #now(): number {
    return this.#options.clock.now()
  }
}

/** Whether it was decided without knowing all that was used. */
export function isDegraded(decision: Granted | Refused): boolean {
  return decision.outcome === 'granted'
    ? decision.unknown.length > 0
    : decision.by.some(({ counted }) => counted === undefined)
}

function isCold(decision: { readonly outcome: string }): decision is Cold {
  return decision.outcome === ('cold' satisfies Decision['outcome'])
}

const keyOf = (of: 'reservation' | 'adjustment', tenant: string, id: string): string => `${of} ${tenant}\n${id}`

/** Nothing of a resource is the same as not naming it. */
function sameAmounts(some: readonly Amount[], others: readonly Amount[]): boolean {
  const text = (amounts: readonly Amount[]): string =>
    JSON.stringify(
      amounts
        .filter(({ amount }) => amount !== 0)
        .map(({ resource, amount }) => [resource, amount])
        .sort(),
    )
  return text(some) === text(others)
}
