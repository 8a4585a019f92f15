/**
 * What a change of the directories makes of tasks that have left memory: they come back, are calculated anew, and leave again.
 *
 *     changed ─▶ rows of `tasks` in their order, a page a step ─▶ those it may be about come back ─▶ dirty ─▶ how far, in the log
 *
 * How far it is follows from the log (`swept`), so that it goes on behind where it was after a kill, and a change is never forgotten:
 * until all rows were looked at, the log says an older version. A step waits until what the one before brought back is calculated.
 */
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { Account } from './accounts.ts'
import { ChangesSince } from './directory-changes.ts'
import type { TaskLedger } from './ledger.ts'
import type { LedgerMemory, SweepPlace, TaskDecision } from './task-decision.ts'
import type { TaskKey } from './task-record.ts'

/** A row of an attempt, as far as it says what a change is about. */
export interface ArchivedAttempt {
  readonly tenant: string
  readonly taskId: string
  readonly attempt: number
  readonly userId: string
  /** Every name of its node. */
  readonly names: readonly string[]
  /** ms; infinity: nobody told an end. */
  readonly to: number
}

export interface SweptArchive {
  /** Attempts behind one, in the order of tenant, task and attempt, that were there after a time. */
  after(place: SweepPlace, since: number, max: number): Promise<readonly ArchivedAttempt[]>
  /** How many there are. */
  countAfter(place: SweepPlace, since: number): Promise<number>
  loadAll(tenant: string, taskIds: readonly string[]): Promise<readonly LedgerMemory[]>
}

export interface ArchiveSweepOptions {
  readonly archive: SweptArchive
  readonly directory: () => DirectorySnapshot
  readonly append: (tenant: string, decision: TaskDecision) => Promise<void>
  /** In whose name it is logged how far it is. */
  readonly operator: string
  /** Samples of windows that began earlier are about to go, ms: figures made without them would be worse than those that are there. */
  readonly samplesFrom: () => number
}

/** Rows that are looked at in one step, and tasks that come back in one. */
const PAGE = 1000
const RETURNED_MAX = 64
/** With so many that wait to be calculated, no more come. */
const DIRTY_MAX = 64
const FIRST: SweepPlace = ['', '', 0]

export class ArchiveSweep {
  readonly #ledger: TaskLedger
  readonly #options: ArchiveSweepOptions
  /** Directories of this version have nothing to say of tasks that those before did not. */
  #nothingUpTo = 0
  /** Rows that are still to be looked at; undefined: not counted since this process began, or since this sweep did. */
  #left: number | undefined
  #counts = { looked: 0, returned: 0 }

  constructor(ledger: TaskLedger, options: ArchiveSweepOptions) {
    this.#ledger = ledger
    this.#options = options
  }

  get counts(): Readonly<{ looked: number; returned: number }> {
    return this.#counts
  }

  /** Rows that are still to be looked at; 0: none, as far as is known. */
  get left(): number {
    return this.#left ?? 0
  }

  /** @returns whether there was something to do: there may be more */
  async step(): Promise<boolean> {
    const { archive, directory, append, operator, samplesFrom } = this.#options
    const { version, goal: begun, after = FIRST } = this.#ledger.swept
    const known = directory()
    if (begun !== undefined && known.version < begun) return false // they are not all read yet
    if (begun === undefined && known.version <= Math.max(version, this.#nothingUpTo)) return false
    const changes = new ChangesSince(known, version)
    if (begun === undefined && changes.from === undefined) {
      this.#nothingUpTo = known.version
      return false
    }
    if (this.#ledger.dirtyCount >= DIRTY_MAX) return false
    const goal = begun ?? known.version
    const since = Math.max(changes.from ?? Number.POSITIVE_INFINITY, samplesFrom())
    this.#left ??= await archive.countAfter(after, since)
    const page = await archive.after(after, since, PAGE)
    const touched = page.filter((attempt) => changes.touch(attempt))
    const last = touched.length > RETURNED_MAX ? touched[RETURNED_MAX - 1]! : page.at(-1)
    const looked = last === undefined ? [] : page.slice(0, page.indexOf(last) + 1)
    await this.#bringBack(touched.slice(0, RETURNED_MAX), known)
    const isDone = looked.length === page.length && page.length < PAGE
    this.#counts.looked += looked.length
    this.#left = isDone ? undefined : Math.max(0, this.#left - looked.length)
    const place = { version, goal, after: [last?.tenant ?? '', last?.taskId ?? '', last?.attempt ?? 0] as const }
    await append(operator, { what: 'swept', ...(isDone ? { version: goal } : place) })
    return true
  }

  async #bringBack(attempts: readonly ArchivedAttempt[], { version }: DirectorySnapshot): Promise<void> {
    const { archive, append, samplesFrom } = this.#options
    const isOld = ({ directory, from }: Account): boolean =>
      directory !== undefined && directory < version && (from ?? 0) >= samplesFrom()
    const byTenant = new Map<string, { readonly away: Set<string>; readonly here: TaskKey[] }>()
    for (const { tenant, taskId, attempt } of attempts) {
      const found = byTenant.get(tenant) ?? { away: new Set(), here: [] }
      byTenant.set(tenant, found)
      if (!this.#ledger.tasks.has(tenant, taskId)) found.away.add(taskId)
      else {
        // Those in memory were looked at there, but for who has come back since.
        const account = this.#ledger.account({ tenant, taskId, attempt })
        if (account !== undefined && isOld(account)) found.here.push(account.key)
      }
    }
    for (const [tenant, { away, here }] of byTenant) {
      const keys = [...here]
      for (const memory of away.size === 0 ? [] : await archive.loadAll(tenant, [...away])) {
        const old = memory.accounts.filter(isOld)
        if (old.length === 0 || this.#ledger.tasks.has(tenant, memory.taskId)) continue
        await append(tenant, { what: 'returned', taskId: memory.taskId, memory })
        keys.push(...old.map(({ key }) => key))
        this.#counts.returned++
      }
      if (keys.length > 0) await append(tenant, { what: 'directory', version, keys })
    }
  }
}
