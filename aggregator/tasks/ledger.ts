/**
 * All that is known of tasks, as it follows from the owner's log alone: events, and the decisions about tasks that were logged beside
 * them. What takes time or a clock (reading samples, asking the archive, finding out that a task is lost) is done elsewhere and comes in
 * as a decision, so that a replay ends in the same state.
 */
import type { FleetEvent } from '../../proto/events/event.ts'
import type { Account, Place } from './accounts.ts'
import { Accounts, FOR_EVER, isProvisional, nameOf, placeOf, together } from './accounts.ts'
import { ownerOf } from './attribution.ts'
import type { OnNode } from './crowd.ts'
import { onNode } from './crowd.ts'
import type { FoldOptions, FoldSnapshot, TaskSpan, Told } from './fold.ts'
import { TaskFold } from './fold.ts'
import type { Span } from './step-function.ts'
import type {
  CalculatedDecision,
  LedgerMemory,
  ReturnedDecision,
  SweptDecision,
  TaskDecision,
} from './task-decision.ts'
import type { TaskKey, TaskRecord } from './task-record.ts'
import { keyOf } from './task-state.ts'
import type { UsageDelta } from './usage-out.ts'
import { deltas } from './usage-out.ts'

/** Plain JSON. */
export interface LedgerSnapshot {
  readonly fold: FoldSnapshot
  readonly accounts: readonly Account[]
  readonly dirty: readonly Dirty[]
  /** Absent: written by a version that did not have it. */
  readonly touched?: readonly (readonly [attempt: string, n: number])[]
  readonly leftUntil: readonly (readonly [node: string, until: number])[]
  /** Absent: none was ever begun. */
  readonly swept?: Omit<SweptDecision, 'what'>
  readonly waiting: readonly {
    readonly tenant: string
    readonly taskId: string
    readonly events: readonly FleetEvent[]
  }[]
}

/** A record of the log, as far as tasks are concerned. */
export type LedgerInput = { readonly n: number; readonly tenant: string } & (
  | { readonly event: FleetEvent }
  | { readonly decision: TaskDecision }
)

/** An attempt whose last calculation is not of what is known now. */
interface Dirty {
  readonly key: TaskKey
  /** Since when. */
  readonly n: number
  /** When its own record changed last; absent: a neighbour's did. */
  readonly changed?: number
  /** Where its records had it since it was calculated last. */
  readonly was?: readonly Place[]
}

interface Waiting {
  readonly tenant: string
  readonly taskId: string
  readonly events: FleetEvent[]
}

export interface LedgerOptions extends FoldOptions {
  /** Tasks on one node at one moment; where there are more none of them has figures. */
  readonly nodeTasksMax: number
}

export class TaskLedger {
  readonly #options: LedgerOptions
  #fold: TaskFold
  readonly #accounts = new Accounts()
  readonly #dirty = new Map<string, Dirty>()
  /** Attempts with figures that are not final: the newest position at which something around them changed. */
  readonly #touched = new Map<string, number>()
  /** Tasks that may be in the archive, with events that have come since. */
  readonly #waiting = new Map<string, Waiting>()
  /** By node: until when tasks were on it that are in the archive now, ms. */
  readonly #leftUntil = new Map<string, number>()
  #swept: Omit<SweptDecision, 'what'> = { version: 0 }
  #appliedUpTo = 0

  constructor(options: LedgerOptions) {
    this.#options = options
    this.#fold = new TaskFold(options)
  }

  /** For look-ups. */
  get tasks(): Pick<
    TaskFold,
    'has' | 'record' | 'openRecords' | 'timesOf' | 'onNode' | 'spansOnNode' | 'nodesByName' | 'size' | 'openCount'
  > {
    return this.#fold
  }

  /** How far tasks that have left memory follow the directories. */
  get swept(): Omit<SweptDecision, 'what'> {
    return this.#swept
  }

  get appliedUpTo(): number {
    return this.#appliedUpTo
  }

  /** Attempts that are to be calculated: those that changed themselves first, and of these the longest waiting. */
  get dirty(): readonly TaskKey[] {
    const rank = ({ changed }: Dirty): number => (changed === undefined ? 1 : 0)
    return [...this.#dirty.values()].sort((a, b) => rank(a) - rank(b) || a.n - b.n).map(({ key }) => key)
  }

  /** Tasks that the archive is to be asked for. */
  get waiting(): readonly { readonly tenant: string; readonly taskId: string }[] {
    return [...this.#waiting.values()].map(({ tenant, taskId }) => ({ tenant, taskId }))
  }

  /** The one name of a record's node. */
  nodeOf({ tenant, facts }: Pick<TaskRecord, 'tenant' | 'facts'>): string | undefined {
    return this.#options.nodeOf(tenant, facts)
  }

  /** Where an attempt is, and where it was taken to be since it was calculated last. */
  placesOf(key: TaskKey): Place[] {
    return this.#placesOf(key, this.#fold.record(key))
  }

  /** Whether more were on a node at once than can be told apart. */
  isCrowded(tenant: string, names: readonly string[], from: number, to: number): boolean {
    return this.#onNode(tenant, names, from, to).crowded
  }

  /** Whether its own record is another one than was calculated, and not only something around it. */
  isChanged(key: TaskKey): boolean {
    return this.#dirty.get(nameOf(key))?.changed !== undefined
  }

  /**
   * Who is on the node of one that changed and does not know of it: by another name, or come back to memory since.
   * @param names its own first
   */
  unaware(own: TaskKey, names: readonly string[], from: number, to: number): TaskKey[] {
    const { tenant } = own
    const changed = this.#dirty.get(nameOf(own))?.changed
    if (changed === undefined) return []
    for (const name of names) this.#accounts.moved(tenant, name)
    return this.#concerned(own, names, { from, to }).filter((key) => this.#knows(key) < changed)
  }

  /** Attempts that had no figures in a crowd, where something changed on their node since. Each is given once. */
  takeCrowded(max: number): TaskKey[] {
    return this.#accounts.takeCrowded(max)
  }

  /** Whether tasks that were on a node at or after a time may be in the archive. */
  mayBeArchived(tenant: string, node: string, from: number): boolean {
    return (this.#leftUntil.get(keyOf(tenant, node)) ?? Number.NEGATIVE_INFINITY) > from
  }

  account(key: TaskKey): Account | undefined {
    return this.#accounts.get(key)
  }

  /** What was calculated and is not final. */
  *provisional(): Generator<Account> {
    for (const account of this.#accounts.all()) if (!account.final) yield account
  }

  accounts(): Iterable<Account> {
    return this.#accounts.all()
  }

  get dirtyCount(): number {
    return this.#dirty.size
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  /** @returns what is to be added to what was counted, where the record is a calculation */
  apply(input: LedgerInput): readonly UsageDelta[] {
    this.#appliedUpTo = Math.max(this.#appliedUpTo, input.n)
    if ('event' in input) {
      this.#take(input.n, input.tenant, input.event)
      return []
    }
    const { decision, n, tenant } = input
    switch (decision.what) {
      case 'calculated':
        return this.#calculated(n, decision)
      case 'lost':
        this.#changed(n, this.#fold.applyLost(decision.lost))
        return []
      case 'late':
        if (this.account(decision.key) !== undefined) this.#mark(decision.key, n)
        return []
      case 'directory':
        for (const key of decision.keys)
          if (decision.around === true) this.#around(key, n)
          else if (this.account(key) !== undefined) this.#mark(key, n)
        return []
      case 'left':
        this.#left(tenant, decision)
        return []
      case 'returned':
        this.#returned(n, tenant, decision)
        return []
      case 'swept': {
        const { what: _, ...swept } = decision
        this.#swept = swept
        return []
      }
      default:
        return decision satisfies never
    }
  }

  /** What the archive has to have of a task before it may leave. */
  memoryOf(tenant: string, taskId: string): LedgerMemory | undefined {
    const memory = this.#fold.memoryOf(tenant, taskId)
    return memory === undefined ? undefined : { ...memory, accounts: this.#accounts.of(tenant, taskId) }
  }

  /** Tasks that may leave memory: what is known of them is in the archive. Those that are not final only where there are too many. */
  leaving(now: number, isStored: (n: number) => boolean): { tenant: string; taskId: string; upTo: number }[] {
    return this.#fold.leaving(now).flatMap(({ tenant, taskId, over }) => {
      const accounts = this.#accounts.of(tenant, taskId)
      const upTo = Math.max(...accounts.map(({ n }) => n))
      const settled = accounts.every(
        (account) => (account.final || over) && isStored(account.n) && !this.#accounts.isUnsettled(account),
      )
      return settled && this.#mayLeave(tenant, taskId, upTo) ? [{ tenant, taskId, upTo }] : []
    })
  }

  snapshot(): LedgerSnapshot {
    return {
      fold: this.#fold.snapshot(),
      accounts: [...this.#accounts.all()],
      dirty: [...this.#dirty.values()],
      touched: [...this.#touched],
      leftUntil: [...this.#leftUntil],
      swept: this.#swept,
      waiting: [...this.#waiting.values()].map(({ tenant, taskId, events }) => ({
        tenant,
        taskId,
        events: [...events],
      })),
    }
  }

  restore(snapshot: LedgerSnapshot): void {
    this.#fold = TaskFold.from(snapshot.fold, this.#options)
    for (const account of snapshot.accounts) this.#accounts.keep(account)
    this.#accounts.allMoved()
    for (const dirty of snapshot.dirty) this.#dirty.set(nameOf(dirty.key), dirty)
    for (const [name, n] of snapshot.touched ?? []) this.#touched.set(name, n)
    for (const [node, until] of snapshot.leftUntil) this.#leftUntil.set(node, until)
    this.#swept = snapshot.swept ?? { version: 0 }
    for (const { tenant, taskId, events } of snapshot.waiting)
      this.#waiting.set(keyOf(tenant, taskId), { tenant, taskId, events: [...events] })
  }

  #take(n: number, tenant: string, event: FleetEvent): void {
    const unknown = this.#fold.needs(tenant, event)
    if (unknown === undefined) {
      this.#changed(n, this.#fold.apply(tenant, event))
      return
    }
    const name = keyOf(tenant, unknown.taskId)
    const waiting = this.#waiting.get(name) ?? { ...unknown, events: [] }
    this.#waiting.set(name, waiting)
    waiting.events.push(event)
  }

  /** An attempt that changed is dirty, and so is who was on its node while it was, or was thought to be. */
  #changed(n: number, { changes, keptOf }: Told): void {
    for (const { key, record, before } of changes) {
      const was = together([...(this.#dirty.get(nameOf(key))?.was ?? []), this.#placeOf(before)])
      this.#dirty.set(nameOf(key), { key, n, changed: n, ...(was.length === 0 ? {} : { was }) })
      for (const place of this.#placesOf(key, record)) this.#neighbours(n, key, place)
      // Who counted it in and has left memory hears that it was none when it is calculated.
      const isUnheardOf =
        this.account(key) === undefined && !was.some(({ node, from }) => this.mayBeArchived(key.tenant, node, from))
      if (record === undefined && isUnheardOf) this.#dirty.delete(nameOf(key))
    }
    if (keptOf !== undefined) this.#toArchive(n, keptOf)
  }

  /** A task keeps something new: one of its attempts is calculated again, so that a row has it before the task may leave. */
  #toArchive(n: number, { tenant, taskId }: Omit<TaskKey, 'attempt'>): void {
    const isDue = (attempt: number): boolean => this.#dirty.get(nameOf({ tenant, taskId, attempt }))?.n === n
    const [account] = this.#accounts.of(tenant, taskId)
    if (account !== undefined && !this.#fold.attemptsOf(tenant, taskId).some(isDue)) this.#mark(account.key, n)
  }

  #placesOf(key: TaskKey, record: TaskRecord | undefined): Place[] {
    const account = this.account(key)
    const calculated = account === undefined ? undefined : placeOf(account)
    return together([calculated, ...(this.#dirty.get(nameOf(key))?.was ?? []), this.#placeOf(record)])
  }

  #placeOf(record: TaskRecord | undefined): Place | undefined {
    const node = record === undefined ? undefined : this.nodeOf(record)
    const { startedAt, endedAt = FOR_EVER } = record ?? {}
    return node === undefined || startedAt === undefined ? undefined : { node, from: startedAt, to: endedAt }
  }

  #neighbours(n: number, own: TaskKey, { node, from, to }: Place): void {
    this.#accounts.moved(own.tenant, node)
    for (const key of this.#concerned(own, [node], { from, to })) this.#around(key, n)
  }

  /** Who is to hear of it: in a crowd, who has no figures has none to change. */
  #concerned(own: TaskKey, names: readonly string[], { from, to }: Span): TaskKey[] {
    const { crowded, spans } = this.#onNode(own.tenant, names, from, to)
    const there = crowded
      ? names.flatMap((name) => [...this.#accounts.withFigures(own.tenant, name, { from, to })])
      : spans.map(({ key }) => key)
    return there.filter((key) => nameOf(key) !== nameOf(own))
  }

  /** Something around it changed. Figures that are not final are made again anyway: only not of what was known before. */
  #around(key: TaskKey, n: number): void {
    const account = this.account(key)
    if (account !== undefined && isProvisional(account)) this.#touched.set(nameOf(key), n)
    else if (account !== undefined || this.#dirty.has(nameOf(key))) this.#mark(key, n)
  }

  /** The newest position that figures of an attempt are made of, or will be. */
  #knows(key: TaskKey): number {
    const name = nameOf(key)
    return Math.max(this.account(key)?.upTo ?? -1, this.#dirty.get(name)?.n ?? -1, this.#touched.get(name) ?? -1)
  }

  #onNode(tenant: string, names: readonly string[], from: number, to: number): OnNode {
    return onNode(this.#spansOn(tenant, names, from, to), { from, to }, this.#options.nodeTasksMax)
  }

  *#spansOn(tenant: string, names: readonly string[], from: number, to: number): Generator<TaskSpan> {
    for (const name of names) yield* this.#fold.spansOnNode(tenant, name, from, to)
  }

  #mark(key: TaskKey, n: number): void {
    this.#dirty.set(nameOf(key), { ...this.#dirty.get(nameOf(key)), key, n })
  }

  #calculated(
    n: number,
    { key, version, upTo, final, record, calculation, crowded, assessment }: CalculatedDecision,
  ): readonly UsageDelta[] {
    const name = nameOf(key)
    const before = this.account(key)
    const owner = assessment === undefined ? {} : { owner: ownerOf(assessment.who) }
    const told = deltas(before?.counted, { version, amounts: calculation?.amounts ?? [], ...owner })
    if (told.counted === before?.counted) return []
    const waits = this.#dirty.get(name)
    if (waits !== undefined && waits.n <= upTo) this.#dirty.delete(name)
    const directory = assessment?.directory
    const counted = {
      key,
      n,
      upTo,
      counted: told.counted,
      final,
      ...(directory === undefined ? {} : { directory }),
    }
    const node = record === undefined ? undefined : this.nodeOf(record)
    const from = record?.startedAt
    const to = record?.endedAt ?? calculation?.window.to ?? crowded?.to ?? from
    const open = record?.endedAt === undefined ? { open: true as const } : {}
    const where = node === undefined || from === undefined ? {} : { node, from, to: to!, ...open }
    this.#accounts.keep({ ...counted, ...where, ...(crowded === undefined ? {} : { crowded: true }) })
    this.#missed(n, key, { upTo, final, record })
    return told.deltas
  }

  /** What came while it was calculated, and nobody else makes good. */
  #missed(
    n: number,
    key: TaskKey,
    { upTo, final, record }: Pick<CalculatedDecision, 'upTo' | 'final'> & { readonly record: TaskRecord | undefined },
  ): void {
    const name = nameOf(key)
    const touched = this.#touched.get(name)
    if (touched !== undefined && touched > upTo && final) this.#mark(key, touched)
    if (final || (touched !== undefined && touched <= upTo)) this.#touched.delete(name)
    const isNone = !this.#fold.attemptsOf(key.tenant, key.taskId).includes(key.attempt)
    if (record !== undefined && isNone) this.#dirty.set(name, { ...this.#dirty.get(name), key, n, changed: n })
  }

  /** An attempt that was never calculated is in no row: it holds the others back. */
  #mayLeave(tenant: string, taskId: string, upTo: number): boolean {
    const accounts = this.#accounts.of(tenant, taskId)
    const isCalculated = (attempt: number): boolean => this.account({ tenant, taskId, attempt }) !== undefined
    return (
      accounts.length > 0 &&
      accounts.every(({ key, n }) => n <= upTo && !this.#dirty.has(nameOf(key))) &&
      this.#fold.attemptsOf(tenant, taskId).every(isCalculated)
    )
  }

  #left(tenant: string, { taskId, upTo }: { readonly taskId: string; readonly upTo: number }): void {
    const accounts = this.#accounts.of(tenant, taskId)
    if (!this.#mayLeave(tenant, taskId, upTo)) return
    this.#fold.leave(tenant, taskId)
    for (const account of accounts) {
      const place = placeOf(account)
      if (place === undefined) continue
      const name = keyOf(tenant, place.node)
      this.#leftUntil.set(name, Math.max(place.to, this.#leftUntil.get(name) ?? place.to))
    }
    for (const { key } of accounts) this.#touched.delete(nameOf(key))
    this.#accounts.forget(tenant, taskId)
  }

  #returned(n: number, tenant: string, { taskId, memory, neighbourOf }: ReturnedDecision): void {
    if (memory !== undefined && !this.#fold.has(tenant, taskId)) {
      this.#fold.restore(memory)
      const changed = neighbourOf === undefined ? undefined : this.#dirty.get(nameOf(neighbourOf))?.changed
      for (const account of memory.accounts) {
        this.#accounts.keep(account)
        if (account.crowded && account.node !== undefined) this.#accounts.moved(tenant, account.node)
        // What changed while it was away it does not know of. Who comes back for other reasons has nothing to be calculated for.
        if (changed !== undefined && changed > account.upTo) this.#mark(account.key, n)
      }
    }
    const waiting = this.#waiting.get(keyOf(tenant, taskId))
    this.#waiting.delete(keyOf(tenant, taskId))
    for (const event of waiting?.events ?? []) this.#changed(n, this.#fold.apply(tenant, event))
  }
}
