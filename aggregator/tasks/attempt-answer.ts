/** An attempt as lists answer it, and as CSV has it. */
import { utc } from '../overview/answers.ts'
import type { Calculation, Quantity } from './calculation.ts'
import type { TaskAnswer, TaskStateAnswer } from './task-answers.ts'
import type { FoundTask } from './task-query.ts'

export const TASK_COLUMNS: readonly (keyof TaskAnswer)[] = [
  'task_id',
  'attempt',
  'state',
  'provisional',
  'user_id',
  'project',
  'department',
  'node_id',
  'model',
  'queued_at',
  'started_at',
  'ended_at',
  'duration_seconds',
  'result',
  'error_category',
  'gpu_held_seconds',
  'gpu_busy_seconds',
  'cpu_core_seconds',
  'energy_wh',
  'cost_micros',
  'currency',
  'updated_at',
]

export function attemptAnswer(found: FoundTask): TaskAnswer {
  const { started, ended, updated, result, currency, costMicro } = found
  const used = (found.quantities === '' ? {} : JSON.parse(found.quantities)) as Partial<Calculation['usage']>
  const value = (quantity: Quantity | undefined): number | null => quantity?.value ?? null
  return {
    task_id: found.taskId,
    attempt: found.attempt,
    state: found.state as TaskStateAnswer,
    provisional: found.provisional,
    user_id: said(found.userId),
    project: said(found.project),
    department: said(found.department),
    node_id: said(found.nodeId),
    model: said(found.model),
    queued_at: timeOrNull(found.queued),
    started_at: timeOrNull(started),
    ended_at: timeOrNull(ended),
    duration_seconds: started === 0 ? null : Math.max(0, (ended === 0 ? updated : ended) - started) / 1000,
    result: result === -1 ? null : result === 1,
    error_category: said(found.errorCategory),
    gpu_held_seconds: value(used.gpu_seconds_held),
    gpu_busy_seconds: value(used.gpu_seconds_busy),
    cpu_core_seconds: value(used.cpu_core_seconds),
    energy_wh: value(used.energy),
    cost_micros: currency === '' ? null : costMicro,
    currency: said(currency),
    updated_at: utc(updated),
  }
}

export function attemptCells(answer: TaskAnswer): string[] {
  return TASK_COLUMNS.map((column) => String(answer[column] ?? ''))
}

function said(text: string): string | null {
  return text === '' ? null : text
}

export function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined || ms === 0 ? null : utc(ms)
}
