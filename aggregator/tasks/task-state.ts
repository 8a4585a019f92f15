/** What is kept of one task in memory. */
import type { Anchor } from './anchors.ts'
import type { Attempt } from './attempts.ts'
import type { StageSignal, TaskFacts, TaskSignal } from './signal.ts'
import { bySignalOrder } from './signal.ts'

/** A task with everything that its records follow from. Plain JSON. */
export interface TaskMemory {
  readonly tenant: string
  readonly taskId: string
  readonly signals: readonly TaskSignal[]
  readonly dropped: boolean
  /** What was tied to it, by group. */
  readonly stages: readonly (readonly [group: string, signal: StageSignal])[]
}

export interface Task {
  readonly tenant: string
  readonly taskId: string
  readonly signals: Map<string, TaskSignal>
  dropped: boolean
  attempts: readonly PlacedAttempt[]
  /** By attempt, as JSON. */
  records: Map<number, string>
}

export interface PlacedAttempt {
  readonly attempt: Attempt
  readonly facts: TaskFacts
  readonly pods: string | undefined
  readonly loads: { readonly group: string; readonly anchor: Anchor } | undefined
  /** Its record as JSON, as it was made last, and the JSON of what came from outside its own signals. */
  made?: { readonly ties: string; readonly json: string }
}

/** Of a task's signals as many of the first and as many of the last are kept: both sets are the same in whatever order they came. */
const SIGNALS_KEPT = 64

/** @returns whether it is new, and kept */
export function addSignal(task: Task, signal: TaskSignal): boolean {
  const { signals } = task
  if (signals.has(signal.id)) return false
  signals.set(signal.id, signal)
  if (signals.size <= 2 * SIGNALS_KEPT) return true
  const dropped = [...signals.values()].sort(bySignalOrder)[SIGNALS_KEPT]!
  signals.delete(dropped.id)
  const known = task.dropped
  task.dropped = true
  return dropped !== signal || !known
}

export function memoryOf(task: Task, stages: readonly (readonly [string, StageSignal])[]): TaskMemory {
  const { tenant, taskId, signals, dropped } = task
  return { tenant, taskId, signals: [...signals.values()].sort(bySignalOrder), dropped, stages }
}

export function isClosed({ attempts }: Task): boolean {
  return attempts.every(({ attempt }) => attempt.endedAt !== undefined)
}

export function lastSignalOf({ signals }: Task): number {
  let last = Number.NEGATIVE_INFINITY
  for (const { time } of signals.values()) last = Math.max(last, time)
  return last
}

export const keyOf = (tenant: string, taskId: string): string => JSON.stringify([tenant, taskId])
