/** One attempt of a task, as everybody sees it: plain JSON, a function of what was told. */
import type { Attempt, TaskFlag } from './attempts.ts'
import type { NodeStages, PodLife, WeightsLoad } from './node-stages.ts'
import type { Outcome, TaskFacts, TaskSignal } from './signal.ts'

export interface TaskKey {
  readonly tenant: string
  readonly taskId: string
  /** From 1; retries share the task's id. */
  readonly attempt: number
}

export type TaskState = 'queued' | 'loading' | 'running' | Outcome | 'lost'

/** Times in ms since the epoch; what is not known is absent. */
export interface TaskRecord extends TaskKey {
  readonly state: TaskState
  readonly queuedAt?: number
  readonly startedAt?: number
  readonly endedAt?: number
  /** What the first signal that knew it said. */
  readonly facts: TaskFacts
  readonly tags: Readonly<Record<string, string>>
  /** What the deciding end said, cut at 8,192 characters. */
  readonly detail?: string
  /** Of the weights, on its node, for it. */
  readonly loads: readonly WeightsLoad[]
  readonly pod?: PodLife
  /** Sorted. */
  readonly flags: readonly TaskFlag[]
}

/** What is tied to an attempt from outside its own signals. */
export interface Ties {
  /** What its own signals say, {@link factsOf}. */
  readonly facts: TaskFacts
  readonly loads: readonly WeightsLoad[]
  readonly pod: ReturnType<NodeStages['podOf']>
  readonly signalsDropped: boolean
}

export function recordOf(tenant: string, taskId: string, attempt: Attempt, ties: Ties): TaskRecord {
  const { queuedAt, startedAt, endedAt, end } = attempt
  const flags = new Set(attempt.flags)
  if (ties.signalsDropped) flags.add('signals_dropped')
  if (ties.loads.some((load) => load.ok === false)) flags.add('load_failed')
  if (ties.pod === 'ambiguous') flags.add('pod_ambiguous')
  const detail = end?.detail ?? attempt.signals.findLast((signal) => signal.detail !== undefined)?.detail
  return {
    tenant,
    taskId,
    attempt: attempt.number,
    state: stateOf(attempt, ties.loads),
    ...(queuedAt === undefined ? {} : { queuedAt }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    facts: ties.facts,
    tags: tagsOf(attempt.signals),
    ...(detail === undefined ? {} : { detail }),
    loads: ties.loads,
    ...(typeof ties.pod === 'object' ? { pod: ties.pod } : {}),
    flags: [...flags].sort(),
  }
}

function stateOf({ end, endedAt, startedAt, generationAt }: Attempt, loads: readonly WeightsLoad[]): TaskState {
  if (end !== undefined) return end.outcome ?? 'completed'
  if (endedAt !== undefined) return 'lost'
  if (generationAt === undefined && loads.some((load) => load.endedAt === undefined)) return 'loading'
  return startedAt === undefined ? 'queued' : 'running'
}

/** The union: of two that know, the first in the order of signals. */
export function factsOf(signals: readonly TaskSignal[]): TaskFacts {
  const facts: TaskFacts = Object.assign({}, ...signals.map((signal) => signal.facts).reverse())
  return inOrder(facts)
}

function tagsOf(signals: readonly TaskSignal[]): Record<string, string> {
  const tags: Record<string, string> = Object.assign({}, ...signals.map((signal) => signal.tags).reverse())
  return inOrder(tags)
}

/** The same content is the same JSON. */
function inOrder<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))) as T
}
