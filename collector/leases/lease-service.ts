/**
 * Leases of a collector, around the desk, which is pure: the journal, rounds to an aggregator, and the beginning and the end.
 *
 *     start ─▶ journals of earlier starts, a new one ─▶ first round ─▶ … a round a second … ─▶ stop: everything is returned
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LeaseAnswer, LeaseRound } from '../../proto/quotas/lease-round.ts'
import type { AskedCheck, AskedReservation } from '../../proto/quotas/request.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { Identity, Local, Moment } from './lease-desk.ts'
import { LeaseDesk } from './lease-desk.ts'
import type { EarlierJournal, JournaledAdmission, LeaseJournal, LeaseJournals } from './lease-journal.ts'

export interface LeaseServiceOptions {
  readonly collector: string
  /** Of the machine, since it started. */
  readonly boot: string
  readonly journals: LeaseJournals
  /** Rejects where there is no answer. */
  readonly ask: (round: LeaseRound) => Promise<LeaseAnswer>
  readonly clock: Clock
  readonly log: Logger
}

/** A reservation that was granted here; `repeated`: before. `pass`: an aggregator decides. `later`: it lacks what was decided here. */
export type LocalOutcome =
  | { readonly kind: 'granted'; readonly local: Local; readonly repeated: boolean }
  | { readonly kind: 'pass' }
  | { readonly kind: 'later' }

interface LeaseCounts {
  granted: number
  repeated: number
  checked: number
  passed: number
  void: number
  rounds: number
  failures: number
}

const ROUND_MS = 1000
/** Several that wait for one round make one. */
const POKED_MS = 20
const REPORTED_WITHIN_MS = 3000
/** A journal that is longer is begun anew when nothing of it is needed. */
const JOURNAL_BYTES_MAX = 16 * 1024 * 1024
const STOP_ROUNDS_MAX = 5
const STOP_PAUSE_MS = 100

export class CollectorLeases implements Service {
  readonly name = 'leases'
  readonly #options: LeaseServiceOptions
  readonly #often: RateLimitedLog
  readonly #desk: LeaseDesk
  /** What is on its way into the journal, by what is decided. */
  readonly #writing = new Map<Local, Promise<boolean>>()
  readonly #counts: LeaseCounts = { granted: 0, repeated: 0, checked: 0, passed: 0, void: 0, rounds: 0, failures: 0 }
  #journal: LeaseJournal | undefined
  #earlier = new Map<string, EarlierJournal>()
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #stopping = false
  #problem: string | undefined
  /** Told after each round that was answered. */
  #waiting: (() => void)[] = []

  constructor(options: LeaseServiceOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(60_000, () => options.clock.monotonic())
    this.#desk = new LeaseDesk(this.#identity(options.journals.starts + 1))
  }

  get counts(): Readonly<LeaseCounts> {
    return this.#counts
  }

  get sizes(): LeaseDesk['sizes'] {
    return this.#desk.sizes
  }

  /** Longest time of a reservation, ms; 0: nothing is decided here yet. */
  get reservedMaxMs(): number {
    return this.#desk.reservedMaxMs
  }

  get collector(): string {
    return this.#options.collector
  }

  async start(): Promise<void> {
    const { journals, log } = this.#options
    for (const journal of journals.earlier()) {
      this.#earlier.set(journal.epoch, journal)
      if (!journal.isWhole)
        log.warn(
          { epoch: journal.epoch },
          'a journal of leases is damaged: what was lent then stays in doubt until somebody ends it',
        )
      for (const own of byLease(journal.admissions)) {
        const { tenant, lease } = own[0]!
        this.#desk.recover(
          tenant,
          lease,
          own.map(({ admission }) => admission),
          journal.isWhole,
        )
      }
    }
    this.#plan(0)
  }

  /** Everything is returned, as far as an aggregator answers. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    await Promise.all(this.#writing.values())
    this.#desk.end()
    for (let i = 0; i < STOP_ROUNDS_MAX && this.#desk.sizes.slices > 0 && !deadline.aborted; i++) {
      if (i > 0) await sleep(STOP_PAUSE_MS)
      await (this.#round ?? this.#run())
      if (this.#problem !== undefined) break
    }
    await this.#journal?.close()
    const { epoch } = this.#desk.identity
    if (this.#journal !== undefined && this.#desk.sizes.slices === 0) this.#options.journals.remove(epoch)
  }

  health(): Health {
    const problem = this.#journal?.problem ?? this.#problem
    return problem === undefined
      ? { ready: true }
      : { ready: true, detail: `quotas are decided by an aggregator alone: ${problem}` }
  }

  /** Decides here, or says that an aggregator does: then it knows what it has to. */
  async reserve(tenant: string, asked: AskedReservation): Promise<LocalOutcome> {
    const decided = this.#stopping
      ? ({ kind: 'pass', after: undefined } as const)
      : this.#desk.reserve(tenant, asked, this.#now())
    switch (decided.kind) {
      case 'taken':
        return this.#granted(decided.local)
      case 'repeated':
        return this.#repeated(decided.local)
      case 'pass':
        if (decided.after !== undefined && !(await this.reported(tenant, decided.after))) return { kind: 'later' }
        this.#counts.passed++
        return { kind: 'pass' }
      default:
        return decided satisfies never
    }
  }

  check(tenant: string, asked: AskedCheck): boolean {
    const fits = !this.#stopping && this.#desk.check(tenant, asked, this.#now())
    this.#counts[fits ? 'checked' : 'passed']++
    return fits
  }

  /** A reservation that was decided here is known to an aggregator. @returns false: it cannot be told now */
  async reported(tenant: string, id: string): Promise<boolean> {
    const until = this.#options.clock.monotonic() + REPORTED_WITHIN_MS
    while (this.#desk.local(tenant, id) !== undefined) {
      const left = until - this.#options.clock.monotonic()
      if (left <= 0) return false
      this.#poke()
      await Promise.race([new Promise<void>((resolve) => this.#waiting.push(resolve)), sleep(left)])
    }
    return true
  }

  async #granted(local: Local): Promise<LocalOutcome> {
    const standing = this.#write(local)
    this.#writing.set(local, standing)
    const stands = await standing
    this.#writing.delete(local)
    if (stands) {
      this.#counts.granted++
      return { kind: 'granted', local, repeated: false }
    }
    this.#counts.void++
    this.#counts.passed++
    return { kind: 'pass' }
  }

  /** Into the journal. @returns whether it stands; else nobody was told, and it is as if it had not been decided, for the next start too */
  async #write(local: Local): Promise<boolean> {
    const { tenant, lease } = local.slice
    const { admission } = local
    const journal = this.#journal! // there is one before there is a slice
    try {
      await journal.append({ tenant, lease, admission })
      if (this.#desk.stands(this.#now())) {
        this.#desk.durable(local)
        return true
      }
      await journal.append({ tenant, lease, void: admission.index })
    } catch (error) {
      this.#often.once('journal', (held) =>
        this.#options.log.error({ error: messageOf(error), held }, 'leases cannot be used: an aggregator decides'),
      )
    }
    this.#desk.undo(local)
    return false
  }

  async #repeated(local: Local): Promise<LocalOutcome> {
    await this.#writing.get(local) // whoever asked first is told
    await Promise.resolve()
    if (this.#desk.local(local.slice.tenant, local.admission.id) !== local) {
      this.#counts.passed++
      return { kind: 'pass' }
    }
    this.#counts.repeated++
    return { kind: 'granted', local, repeated: true }
  }

  #plan(afterMs: number): void {
    clearTimeout(this.#timer)
    if (this.#stopping) return
    this.#timer = setTimeout(() => void this.#run(), afterMs)
    this.#timer.unref()
  }

  #poke(): void {
    if (this.#round === undefined) this.#plan(POKED_MS)
  }

  #run(): Promise<void> {
    this.#round ??= this.#ask().then(() => {
      this.#round = undefined
      const waiting = this.#waiting
      this.#waiting = []
      for (const go of waiting) go()
      this.#plan(ROUND_MS)
    })
    return this.#round
  }

  async #ask(): Promise<void> {
    const { ask, journals, log } = this.#options
    this.#counts.rounds++
    try {
      this.#journal ??= await journals.begin(this.#desk.identity)
      const isLong = this.#journal.bytes >= JOURNAL_BYTES_MAX
      const sent = this.#now()
      const round = this.#desk.round(sent, !this.#stopping && !isLong)
      const answer = await ask(round)
      const heard = this.#desk.answered(round, answer, sent)
      if (heard === 'held') {
        this.#problem = undefined
        this.#recover(answer)
        if (isLong) await this.#shorten()
      } else if (heard === 'superseded') {
        this.#problem = 'another collector with this id was started: give each one an id of its own'
        this.#often.once('superseded', (held) => log.error({ held }, this.#problem!))
      } else await this.#startAfter(heard.startsAfter)
    } catch (error) {
      this.#counts.failures++
      this.#problem = messageOf(error)
      this.#often.once('round', (held) =>
        log.warn({ error: messageOf(error), held }, 'no aggregator answers about leases: quotas are passed on'),
      )
    }
  }

  /** What was lent before: nothing was decided by what no journal names, where the journal of that start is there. */
  #recover({ earlier }: LeaseAnswer): void {
    for (const { tenant, lease, epoch } of earlier)
      if (this.#earlier.get(epoch)?.isWhole === true) this.#desk.recover(tenant, lease, [], true)
    const still = new Set(earlier.map(({ epoch }) => epoch))
    for (const [epoch, { admissions }] of this.#earlier)
      if (!still.has(epoch) && admissions.every(({ tenant, lease }) => !this.#desk.holds(tenant, lease))) {
        this.#options.journals.remove(epoch)
        this.#earlier.delete(epoch)
      }
  }

  /** Where all that is in the journal is known, it begins anew, as another start. */
  async #shorten(): Promise<void> {
    const { journals } = this.#options
    const { slices, unreported } = this.#desk.sizes
    if (this.#stopping) return
    this.#desk.end()
    if (slices > 0 || unreported > 0 || this.#writing.size > 0) return
    const before = this.#desk.identity.epoch
    await this.#startAfter(journals.starts)
    journals.remove(before)
  }

  async #startAfter(starts: number): Promise<void> {
    const identity = this.#identity(starts + 1)
    const old = this.#journal
    this.#journal = await this.#options.journals.begin(identity)
    this.#desk.become(identity)
    await old?.close()
  }

  #identity(starts: number): Identity {
    const { collector, boot } = this.#options
    return { collector, epoch: `${starts}.${randomBytes(8).toString('hex')}`, boot }
  }

  #now(): Moment {
    const { clock } = this.#options
    return { wall: clock.now(), monotonic: clock.monotonic() }
  }
}

function byLease(admissions: readonly JournaledAdmission[]): JournaledAdmission[][] {
  const found = new Map<string, JournaledAdmission[]>()
  for (const one of admissions) {
    const key = `${one.tenant}\n${one.lease}`
    const own = found.get(key)
    if (own === undefined) found.set(key, [one])
    else own.push(one)
  }
  return [...found.values()]
}
