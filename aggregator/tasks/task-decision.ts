/** Decisions about tasks as the owner's log has them: the bodies of its records of kind `calculation`. Plain JSON. */
import type { Account } from './accounts.ts'
import type { Calculation } from './calculation.ts'
import type { LostDecision } from './fold.ts'
import type { Span } from './step-function.ts'
import type { TaskCost, TaskError, TaskWho } from './task-details.ts'
import type { TaskKey, TaskRecord } from './task-record.ts'
import type { TaskMemory } from './task-state.ts'

/** Of one record. */
export type TaskDecision =
  | CalculatedDecision
  | { readonly what: 'lost'; readonly lost: LostDecision }
  /** Samples of its window came after its figures were made. */
  | { readonly what: 'late'; readonly key: TaskKey }
  /**
   * Directories changed, and with them the figures of these, of one tenant; or something around them did that the ledger alone does not
   * know to be: then those whose figures are not final yet are not made again for it.
   */
  | { readonly what: 'directory'; readonly version: number; readonly keys: readonly TaskKey[]; readonly around?: true }
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
