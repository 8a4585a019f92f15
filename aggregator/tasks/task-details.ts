/**
 * All that is known of an attempt as its newest calculation has it: the JSON in the column `details` of `tasks`. It is what an API
 * shows, and what the task comes back to memory from. Times are ms since the epoch; amounts of money are millionths of the currency.
 */
import type { Verdict } from '../../proto/errors/categorize.ts'
import type { Unpriced } from '../directory/cost.ts'
import type { Attribution } from '../directory/snapshot.ts'
import type { Calculation } from './calculation.ts'
import type { LedgerMemory } from './task-decision.ts'
import type { TaskRecord } from './task-record.ts'
import type { UsageResource } from './usage-out.ts'

/** Of an attempt that turned out to be part of another: a row that replaces one, and that readers leave out. */
export const VOID_STATE = 'void'

export interface TaskDetails {
  /** Of the calculation: 1, 2, … */
  readonly version: number
  /** For the aggregator itself: what the task comes back to memory from. Not to be shown. Null: with {@link VOID_STATE}. */
  readonly memory: LedgerMemory | null
  /** States, times, facts, flags (what was assumed), loads (stages), pod. Null with {@link VOID_STATE}. */
  readonly record: TaskRecord | null
  /** Figures by metric and GPU with coverage and confidence, quantities with their method, flags. Null: it has not begun. */
  readonly calculation: Calculation | null
  /** Ids of the events that it follows from, in the order of their times; of many the first and the last 64. */
  readonly events: readonly string[]
  /** Null: it did not fail. */
  readonly error: TaskError | null
  readonly who: TaskWho
  readonly cost: TaskCost
}

/** Why it failed. @see proto/errors/README.md */
export interface TaskError extends Verdict {
  /** What the end said, as it came, up to 8,192 characters. */
  readonly text: string
}

/** Whose it is, and which machine it was on: what the directories and the event's tags said when it was calculated. */
export interface TaskWho extends Omit<Attribution, 'tenant'> {
  readonly userId: string | null
  readonly node: {
    /** The one name it has here; null: no event named it. */
    readonly name: string | null
    /** Every name by which samples may call it. */
    readonly names: readonly string[]
    /** Of the directory's entry. */
    readonly entry: string | null
    readonly vmType: string | null
    readonly gpuModel: string | null
  }
  /** Whose samples the figures are made of: the task's tenant's, those that the operator's tenant has of the machine, or none. */
  readonly samplesOf: 'tenant' | 'operator' | 'none'
}

export type TaskCost = PricedTask | UnpricedTask

interface PricedTask {
  /** Sum of the lines. */
  readonly micros: number
  readonly currency: string
  readonly lines: readonly TaskCostLine[]
}

interface UnpricedTask {
  readonly micros: null
  /** `quantity_unknown`: there is a price, and no samples that say how much it was. */
  readonly reason: Unpriced | 'quantity_unknown' | 'not_begun'
  /** For a person. */
  readonly detail: string
}

/** What a resource cost in one phase and one quarter of an hour. */
export interface TaskCostLine {
  readonly phase: 'queue' | 'load' | 'run'
  readonly resource: UsageResource
  /** Start of the quarter of an hour. */
  readonly slot: number
  /** Whole number of the resource's unit: `USAGE_UNITS`. */
  readonly amount: number
  readonly micros: number
  /** Ids of the prices that held. */
  readonly prices: readonly string[]
}
