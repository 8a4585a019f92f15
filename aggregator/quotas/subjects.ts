/**
 * Subjects in memory, with their quotas, counters and what is set aside for them.
 *
 * Counters are a cache with a bound: those that were asked for longest ago go first, and are counted anew when they are asked for
 * again. What is set aside is no cache: it stays as long as there are reservations or leases, whether the subject is in memory or not.
 */
import { Counter } from './counter.ts'
import { ExactSum } from './exact-sum.ts'
import type { Hold } from './hold.ts'
import type { Lease } from './lease.ts'
import type { Level, Quota, QuotaIndex } from './quota.ts'
import { LEVELS } from './quota.ts'
import type { Linked } from './recent-list.ts'
import { RecentList } from './recent-list.ts'
import { isGauge } from './resource.ts'
import type { QuotaWindow } from './window.ts'
import { periodOf, windowKey } from './window.ts'

/** How much of what is set aside is lent to collectors, of one resource. */
class Lent {
  readonly sum: ExactSum = new ExactSum()
  /** Of it what is lent to those that nobody hears of. */
  readonly doubted: ExactSum = new ExactSum()

  lend(amount: number, doubted: boolean): void {
    this.sum.add(amount)
    if (doubted) this.doubted.add(amount)
  }

  doubt(amount: number): void {
    this.doubted.add(amount)
  }
}

const NOTHING_LENT = new Lent()

/** What is set aside for one subject, by resource. */
export class Held {
  /** Reservations, in the order in which they were set aside, which is that of their records. */
  readonly holds: Set<Hold> = new Set()
  readonly leases: Set<Lease> = new Set()
  readonly #sums = new Map<string, ExactSum>()
  readonly #lent = new Map<string, Lent>()

  get isEmpty(): boolean {
    return this.holds.size === 0 && this.leases.size === 0
  }

  /** Reservations and leases. The same object each time. */
  of(resource: string): ExactSum {
    let sum = this.#sums.get(resource)
    if (sum === undefined) {
      sum = new ExactSum()
      this.#sums.set(resource, sum)
    }
    return sum
  }

  /** Of it leases. The same object each time, to be told of them. */
  lent(resource: string): Lent {
    let lent = this.#lent.get(resource)
    if (lent === undefined) {
      lent = new Lent()
      this.#lent.set(resource, lent)
    }
    return lent
  }

  /** To look at. */
  lentNow(resource: string): Readonly<Lent> {
    return this.#lent.get(resource) ?? NOTHING_LENT
  }
}

/** A quota of a subject, with what it is held against. */
export interface Meter {
  readonly quota: Quota
  readonly held: ExactSum
  /** Undefined: it has to be counted. */
  counter: Counter | undefined
}

interface SubjectCounter {
  readonly resource: string
  readonly window: string
  readonly counter: Counter
}

export class Subject implements Linked<Subject> {
  readonly tenant: string
  readonly level: Level
  readonly subject: string
  readonly held: Held
  meters: readonly Meter[] = []
  // Its place among those in memory: `Subjects` alone writes these.
  newer: Subject | undefined
  older: Subject | undefined
  /** As it was when it was kept; 0: it is not in memory. */
  keptSize = 0
  #counters: SubjectCounter[] = []
  #index: QuotaIndex | undefined
  #until = 0

  constructor(tenant: string, level: Level, subject: string, held: Held) {
    this.tenant = tenant
    this.level = level
    this.subject = subject
    this.held = held
  }

  get counters(): readonly SubjectCounter[] {
    return this.#counters
  }

  /** In counters, those of rolling windows by how much more they are. */
  get size(): number {
    let size = 1
    for (const { counter } of this.#counters) size += sizeOf(counter.window)
    return size
  }

  isResolved(index: QuotaIndex | undefined, now: number): boolean {
    return this.#index === index && now < this.#until
  }

  /** Its quotas are those of now. Counters that none of them needs are dropped. */
  resolve(index: QuotaIndex, now: number): void {
    const { quotas, until } = index.of(this.tenant, this.level, this.subject, now)
    const kept: SubjectCounter[] = []
    this.meters = quotas.map((quota) => {
      const { resource } = quota
      const window = windowKey(quota.window)
      const counter =
        this.#find(resource, window) ??
        (isGauge(resource) ? new Counter(quota.window, periodOf(quota.window, now)) : undefined)
      if (counter !== undefined) kept.push({ resource, window, counter })
      return { quota, held: this.held.of(resource), counter }
    })
    this.#counters = kept
    this.#index = index
    this.#until = until
  }

  /** Takes a counter in, where it has none, and one of its quotas needs it, as far as these are known. */
  take(resource: string, counter: Counter): void {
    const window = windowKey(counter.window)
    if (this.#find(resource, window) !== undefined) return
    const meters = this.meters.filter(({ quota }) => quota.resource === resource && windowKey(quota.window) === window)
    // Quotas may have changed while it was counted.
    if (this.#index !== undefined && meters.length === 0) return
    this.#counters.push({ resource, window, counter })
    for (const meter of meters) meter.counter = counter
  }

  /** @param at up to when periods have begun, ms */
  add(resource: string, slot: number, amount: ExactSum, at: number): void {
    for (const own of this.#counters) if (own.resource === resource) own.counter.add(slot, amount, at)
  }

  #find(resource: string, window: string): Counter | undefined {
    return this.#counters.find((own) => own.resource === resource && own.window === window)?.counter
  }
}

/** A slot costs about a quarter of a counter. */
const SLOTS_A_COUNTER = 4
const SLOT_SECONDS = 900

function sizeOf(window: QuotaWindow): number {
  return window.kind === 'rolling' ? 1 + Math.ceil(window.seconds / SLOT_SECONDS / SLOTS_A_COUNTER) : 1
}

/** Of one tenant. */
type Names = Readonly<Record<Level, Map<string, Subject>>>

export class Subjects {
  readonly #countersMax: number
  /** Those in memory, found without making a key. */
  readonly #byTenant = new Map<string, Names>()
  readonly #recent = new RecentList<Subject>()
  /** Of those that have reservations or leases. */
  readonly #held = new Map<string, Held>()
  #size = 0
  #weight = 0
  #index: QuotaIndex | undefined

  /** @param countersMax what a subject and a counter cost counts one each */
  constructor(countersMax: number) {
    this.#countersMax = countersMax
  }

  get size(): number {
    return this.#size
  }

  /** Subjects and counters. */
  get weight(): number {
    return this.#weight
  }

  get index(): QuotaIndex | undefined {
    return this.#index
  }

  use(index: QuotaIndex): void {
    this.#index = index
  }

  /** A subject with its quotas of now. */
  at(tenant: string, level: Level, subject: string, now: number): Subject {
    const known = this.peek(tenant, level, subject)
    if (known?.isResolved(this.#index, now)) {
      this.#recent.use(known)
      return known
    }
    const found = known ?? this.#make(tenant, level, subject)
    if (this.#index !== undefined) found.resolve(this.#index, now)
    this.#keep(found)
    return found
  }

  /** Where it is in memory. It counts as no use of it. */
  peek(tenant: string, level: Level, subject: string): Subject | undefined {
    return this.#byTenant.get(tenant)?.[level].get(subject)
  }

  /** Takes a counter in, where there is none. */
  take(tenant: string, level: Level, subject: string, resource: string, counter: Counter): void {
    const found = this.peek(tenant, level, subject) ?? this.#make(tenant, level, subject)
    found.take(resource, counter)
    this.#keep(found)
  }

  /** Those asked for last come first. */
  newest(): Iterable<Subject> {
    return this.#recent
  }

  /** A reservation more is held against a subject. */
  hold(tenant: string, level: Level, subject: string, one: Hold): Held {
    const held = this.#heldFor(tenant, level, subject)
    held.holds.add(one)
    return held
  }

  /** One less. */
  unhold(tenant: string, level: Level, subject: string, one: Hold): void {
    const key = keyOf(tenant, level, subject)
    const held = this.#held.get(key)
    if (held?.holds.delete(one) === true && held.isEmpty) this.#held.delete(key)
  }

  /** A lease more is held against a subject. */
  lend(tenant: string, level: Level, subject: string, one: Lease): Held {
    const held = this.#heldFor(tenant, level, subject)
    held.leases.add(one)
    return held
  }

  /** One less. */
  unlend(tenant: string, level: Level, subject: string, one: Lease): void {
    const key = keyOf(tenant, level, subject)
    const held = this.#held.get(key)
    if (held?.leases.delete(one) === true && held.isEmpty) this.#held.delete(key)
  }

  /** Undefined: it has no reservation. */
  heldOf(tenant: string, level: Level, subject: string): Held | undefined {
    return this.#held.get(keyOf(tenant, level, subject))
  }

  #heldFor(tenant: string, level: Level, subject: string): Held {
    const key = keyOf(tenant, level, subject)
    let held = this.#held.get(key)
    if (held === undefined) {
      held = this.peek(tenant, level, subject)?.held ?? new Held()
      this.#held.set(key, held)
    }
    return held
  }

  #make(tenant: string, level: Level, subject: string): Subject {
    return new Subject(tenant, level, subject, this.#held.get(keyOf(tenant, level, subject)) ?? new Held())
  }

  /** It is the one that was used last, and the bound holds. */
  #keep(subject: Subject): void {
    const { size } = subject
    // One that alone is more than the bound is kept by nobody: whoever asks has it for this turn.
    if (size > this.#countersMax) {
      this.#drop(subject)
      return
    }
    if (subject.keptSize === 0) this.#add(subject)
    this.#weight += size - subject.keptSize
    subject.keptSize = size
    this.#recent.use(subject)
    while (this.#weight > this.#countersMax) this.#drop(this.#recent.oldest!) // more than one: each alone is within the bound
  }

  #add(subject: Subject): void {
    const { tenant, level } = subject
    let names = this.#byTenant.get(tenant)
    if (names === undefined) {
      names = { user: new Map(), project: new Map(), department: new Map(), tenant: new Map() }
      this.#byTenant.set(tenant, names)
    }
    names[level].set(subject.subject, subject)
    this.#size++
  }

  #drop(subject: Subject): void {
    if (subject.keptSize === 0) return
    const { tenant, level } = subject
    this.#recent.remove(subject)
    this.#weight -= subject.keptSize
    this.#size--
    subject.keptSize = 0
    const names = this.#byTenant.get(tenant)! // it is there as long as any of its subjects
    names[level].delete(subject.subject)
    if (LEVELS.every((one) => names[one].size === 0)) this.#byTenant.delete(tenant)
  }
}

/** No tenant has this character in its name. */
function keyOf(tenant: string, level: Level, subject: string): string {
  return `${LEVELS.indexOf(level)}${tenant}\n${subject}`
}
