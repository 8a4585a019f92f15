/**
 * All that is known of tasks, as it follows from the owner's log alone: events, and the decisions about tasks that were logged beside
 * them. What takes time or a clock (reading samples, asking the archive, finding out that a task is lost) is done elsewhere and comes in
 * as a decision, so that a replay ends in the same state.
 */
import type { FleetEvent } from '../../proto/events/event.ts'
import { ownerOf } from './attribution.ts'
import type { Calculation } from './calculation.ts'
import type { OnNode } from './crowd.ts'
import { Crowds, onNode } from './crowd.ts'
import type { FoldOptions, FoldSnapshot, LostDecision, TaskChange, TaskSpan } from './fold.ts'
import { TaskFold } from './fold.ts'
import type { Span } from './step-function.ts'
import type { TaskCost, TaskError, TaskWho } from './task-details.ts'
import type { TaskKey, TaskRecord } from './task-record.ts'
import type { TaskMemory } from './task-state.ts'
import { keyOf } from './task-state.ts'
import type { Counted, UsageDelta } from './usage-out.ts'
import { deltas } from './usage-out.ts'

/** The body of a record of kind `calculation`. */
export type TaskDecision =
  | CalculatedDecision
  | { readonly what: 'lost'; readonly lost: LostDecision }
  /** Samples of its window came after its figures were made. */
  | { readonly what: 'late'; readonly key: TaskKey }
  /**
   * Directories changed, and with them the figures of these, of one tenant; or one that calls its node by another name did, and only the
   * directories know that it is theirs.
   */
  | { readonly what: 'directory'; readonly version: number; readonly keys: readonly TaskKey[] }
  /** The archive has all of it up to a position: what came to be known since then keeps it here. */
  | { readonly what: 'left'; readonly taskId: string; readonly upTo: number }
  | ReturnedDecision
  | SweptDecision

/** A row of the archive: tenant, task and attempt, in whose order they stand. */
export type SweepPlace = readonly [tenant: string, taskId: string, attempt: number]

/** How far tasks that have left memory follow the directories. */
export interface SweptDecision {
  readonly what: 'swept'
  /** All of them follow this version. */
  readonly version: number
  /** Absent: nothing is under way. Else those up to the place follow this one. */
  readonly goal?: number
  readonly after?: SweepPlace
}

export interface CalculatedDecision {
  readonly what: 'calculated'
  readonly key: TaskKey
  readonly version: number
  /** The newest position that it knew of. */
  readonly upTo: number
  /** No sample of its window is under way any more. */
  readonly final: boolean
  /** Absent: the attempt turned out to be none. */
  readonly record?: TaskRecord
  /** Absent: it has not begun, or more than can be told apart were on its node at once. */
  readonly calculation?: Calculation
  /** Its window, where they were. */
  readonly crowded?: Span
  /** What the directories and the window say of it; absent with the record. */
  readonly assessment?: Assessment
}

export interface Assessment {
  readonly error: TaskError | null
  readonly who: TaskWho
  readonly cost: TaskCost
  /** Version of the directories. */
  readonly directory: number
}

export interface ReturnedDecision {
  readonly what: 'returned'
  readonly taskId: string
  /** Absent: the archive does not have it. */
  readonly memory?: LedgerMemory
  /** The attempt that needs it, as it was on its node; absent: events of its own. */
  readonly neighbourOf?: TaskKey
}

/** A task as the archive keeps it. */
export interface LedgerMemory extends TaskMemory {
  readonly accounts: readonly Account[]
}

/** What was calculated of an attempt last. */
export interface Account {
  readonly key: TaskKey
  /** Position of the calculation. */
  readonly n: number
  /** The newest position that the calculation knew of. */
  readonly upTo: number
  readonly counted: Counted
  readonly final: boolean
  /** Version of the directories that it was made by. */
  readonly directory?: number
  /** Where and when it was taken to be. */
  readonly node?: string
  readonly from?: number
  readonly to?: number
  /** It has no figures, since more than can be told apart were there at once. */
  readonly crowded?: true
}

/** Plain JSON. */
export interface LedgerSnapshot {
  readonly fold: FoldSnapshot
  readonly accounts: readonly Account[]
  readonly dirty: readonly Dirty[]
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
  /** By task, then by attempt. */
  readonly #accounts = new Map<string, Map<number, Account>>()
  readonly #dirty = new Map<string, Dirty>()
  /** Tasks that may be in the archive, with events that have come since. */
  readonly #waiting = new Map<string, Waiting>()
  /** By node: until when tasks were on it that are in the archive now, ms. */
  readonly #leftUntil = new Map<string, number>()
  readonly #crowds = new Crowds()
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

  /** Whether more were on a node at once than can be told apart. */
  isCrowded(tenant: string, names: readonly string[], from: number, to: number): boolean {
    return this.#onNode(tenant, names, from, to).crowded
  }

  /** Whether its own record is another one than was calculated, and not only something around it. */
  isChanged(key: TaskKey): boolean {
    return this.#dirty.get(nameOf(key))?.changed !== undefined
  }

  /** Who is on the node of one that changed under its other names; in a crowd those that have figures. @param names its own first */
  sharing(own: TaskKey, names: readonly string[], from: number, to: number): TaskKey[] {
    const { tenant } = own
    const others = names.slice(1)
    for (const name of others) this.#crowds.moved(keyOf(tenant, name))
    const { crowded } = this.#onNode(tenant, names, from, to)
    const spans = crowded ? this.#onNode(tenant, others, from, to).spans : [...this.#spansOn(tenant, others, from, to)]
    return spans.flatMap(({ key }) =>
      nameOf(key) === nameOf(own) || (crowded && this.account(key)?.crowded === true) ? [] : [key],
    )
  }

  /** Attempts that had no figures in a crowd, where something changed on their node since. Each is given once. */
  takeCrowded(max: number): TaskKey[] {
    return this.#crowds.take(max)
  }

  /** Whether tasks that were on a node at or after a time may be in the archive. */
  mayBeArchived(tenant: string, node: string, from: number): boolean {
    return (this.#leftUntil.get(keyOf(tenant, node)) ?? Number.NEGATIVE_INFINITY) > from
  }

  account(key: TaskKey): Account | undefined {
    return this.#accounts.get(keyOf(key.tenant, key.taskId))?.get(key.attempt)
  }

  /** What was calculated and is not final. */
  *provisional(): Generator<Account> {
    for (const accounts of this.#accounts.values())
      for (const account of accounts.values()) if (!account.final) yield account
  }

  *accounts(): Generator<Account> {
    for (const accounts of this.#accounts.values()) yield* accounts.values()
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
        for (const key of decision.keys) if (this.account(key) !== undefined) this.#mark(key, n)
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
    return memory === undefined ? undefined : { ...memory, accounts: this.#accountsOf(tenant, taskId) }
  }

  /** Tasks that may leave memory: what is known of them is in the archive. Those that are not final only where there are too many. */
  leaving(now: number, isStored: (n: number) => boolean): { tenant: string; taskId: string; upTo: number }[] {
    return this.#fold.leaving(now).flatMap(({ tenant, taskId, over }) => {
      const accounts = this.#accountsOf(tenant, taskId)
      const upTo = Math.max(...accounts.map(({ n }) => n))
      const settled = accounts.every(({ n, final }) => (final || over) && isStored(n))
      return settled && this.#mayLeave(tenant, taskId, upTo) ? [{ tenant, taskId, upTo }] : []
    })
  }

  snapshot(): LedgerSnapshot {
    return {
      fold: this.#fold.snapshot(),
      accounts: [...this.#accounts.values()].flatMap((accounts) => [...accounts.values()]),
      dirty: [...this.#dirty.values()],
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
    for (const account of snapshot.accounts) this.#keep(account)
    this.#crowds.allMoved()
    for (const dirty of snapshot.dirty) this.#dirty.set(nameOf(dirty.key), dirty)
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
  #changed(n: number, changes: readonly TaskChange[]): void {
    for (const { key, record } of changes) {
      const account = this.account(key)
      if (record !== undefined || account !== undefined) this.#dirty.set(nameOf(key), { key, n, changed: n })
      else this.#dirty.delete(nameOf(key))
      if (account?.node !== undefined) this.#neighbours(n, key, account.node, account.from!, account.to!)
      const node = record === undefined ? undefined : this.nodeOf(record)
      if (node !== undefined && record?.startedAt !== undefined)
        this.#neighbours(n, key, node, record.startedAt, record.endedAt ?? Number.POSITIVE_INFINITY)
    }
  }

  /** Figures that are not final are made again anyway; in a crowd, who has none has none to change. */
  #neighbours(n: number, own: TaskKey, node: string, from: number, to: number): void {
    this.#crowds.moved(keyOf(own.tenant, node))
    const { crowded, spans } = this.#onNode(own.tenant, [node], from, to)
    for (const { key } of spans) {
      const account = this.account(key)
      const provisional = account?.final === false && account.from !== undefined
      if (nameOf(key) !== nameOf(own) && !provisional && !(crowded && account?.crowded === true)) this.#mark(key, n)
    }
  }

  #onNode(tenant: string, names: readonly string[], from: number, to: number): OnNode {
    return onNode(this.#spansOn(tenant, names, from, to), { from, to }, this.#options.nodeTasksMax)
  }

  *#spansOn(tenant: string, names: readonly string[], from: number, to: number): Generator<TaskSpan> {
    for (const name of names) yield* this.#fold.spansOnNode(tenant, name, from, to)
  }

  /** Something around it changed. */
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
    const where = node === undefined || from === undefined ? {} : { node, from, to: to! }
    this.#keep({ ...counted, ...where, ...(crowded === undefined ? {} : { crowded: true }) })
    return told.deltas
  }

  /** An attempt that was never calculated is in no row: it holds the others back. */
  #mayLeave(tenant: string, taskId: string, upTo: number): boolean {
    const accounts = this.#accountsOf(tenant, taskId)
    const isCalculated = (attempt: number): boolean => this.account({ tenant, taskId, attempt }) !== undefined
    return (
      accounts.length > 0 &&
      accounts.every(({ key, n }) => n <= upTo && !this.#dirty.has(nameOf(key))) &&
      this.#fold.attemptsOf(tenant, taskId).every(isCalculated)
    )
  }

  #left(tenant: string, { taskId, upTo }: { readonly taskId: string; readonly upTo: number }): void {
    const accounts = this.#accountsOf(tenant, taskId)
    if (!this.#mayLeave(tenant, taskId, upTo)) return
    this.#fold.leave(tenant, taskId)
    for (const { node, to } of accounts) {
      if (node === undefined) continue
      const name = keyOf(tenant, node)
      this.#leftUntil.set(name, Math.max(to!, this.#leftUntil.get(name) ?? to!))
    }
    for (const account of accounts) this.#uncrowd(account)
    this.#accounts.delete(keyOf(tenant, taskId))
  }

  #returned(n: number, tenant: string, { taskId, memory, neighbourOf }: ReturnedDecision): void {
    if (memory !== undefined && !this.#fold.has(tenant, taskId)) {
      this.#fold.restore(memory)
      const changed = neighbourOf === undefined ? undefined : this.#dirty.get(nameOf(neighbourOf))?.changed
      for (const account of memory.accounts) {
        this.#keep(account)
        // What changed while it was away it does not know of. Who comes back for other reasons has nothing to be calculated for.
        if (changed !== undefined && changed > account.upTo) this.#mark(account.key, n)
      }
    }
    const waiting = this.#waiting.get(keyOf(tenant, taskId))
    this.#waiting.delete(keyOf(tenant, taskId))
    for (const event of waiting?.events ?? []) this.#changed(n, this.#fold.apply(tenant, event))
  }

  #accountsOf(tenant: string, taskId: string): Account[] {
    return [...(this.#accounts.get(keyOf(tenant, taskId))?.values() ?? [])]
  }

  #keep(account: Account): void {
    const { tenant, taskId, attempt } = account.key
    const accounts = this.#accounts.get(keyOf(tenant, taskId)) ?? new Map<number, Account>()
    const before = accounts.get(attempt)
    if (before !== undefined) this.#uncrowd(before)
    this.#accounts.set(keyOf(tenant, taskId), accounts.set(attempt, account))
    const { key, node, crowded } = account
    if (crowded === true && node !== undefined) this.#crowds.add(keyOf(tenant, node), nameOf(key), key)
  }

  #uncrowd({ key, node, crowded }: Account): void {
    if (crowded === true && node !== undefined) this.#crowds.delete(keyOf(key.tenant, node), nameOf(key))
  }
}

const nameOf = ({ tenant, taskId, attempt }: TaskKey): string => JSON.stringify([tenant, taskId, attempt])
