/**
 * What stands behind the `#` of the address: the view, and what is asked there. It can be shared, and is the same after a reload.
 *
 *     #/?host=gpu-01    #/tasks?state=failed&period=7d    #/tasks/ID?attempt=2    #/metrics?name=node_load1&range=1h
 *     #/quotas?level=user    #/quotas/user/ada?quota=ID
 */
import type { MetricQuestion } from './metric-question.ts'
import { readQuestion } from './metric-question.ts'
import type { QuotasQuestion, SubjectQuestion } from './quotas-question.ts'
import { LEVELS, readQuotasQuestion, readSubjectQuestion } from './quotas-question.ts'
import type { TasksQuestion } from './tasks-question.ts'
import { readTasksQuestion } from './tasks-question.ts'

export type Place =
  | { readonly view: 'overview'; readonly host: string | undefined }
  | { readonly view: 'metrics'; readonly question: MetricQuestion }
  | { readonly view: 'tasks'; readonly question: TasksQuestion }
  /** An attempt of the task; undefined: its last. */
  | { readonly view: 'task'; readonly taskId: string; readonly attempt: number | undefined }
  | { readonly view: 'quotas'; readonly question: QuotasQuestion }
  | { readonly view: 'subject'; readonly question: SubjectQuestion }

export function readPlace(hash: string): Place {
  const [, path = '', search = ''] = /^#?\/?([^?]*)\??(.*)$/s.exec(hash) ?? []
  const parameters = new URLSearchParams(search)
  const [view, first = '', second = ''] = path.split('/')
  if (view === 'metrics') return { view, question: readQuestion(parameters) }
  if (view === 'quotas') {
    const level = LEVELS.find((one) => one === first)
    return level === undefined || second === ''
      ? { view, question: readQuotasQuestion(parameters) }
      : { view: 'subject', question: readSubjectQuestion(level, decoded(second), parameters) }
  }
  if (view !== 'tasks') return { view: 'overview', host: parameters.get('host') ?? undefined }
  if (first === '') return { view, question: readTasksQuestion(parameters) }
  const attempt = Number(parameters.get('attempt') ?? '')
  return {
    view: 'task',
    taskId: decoded(first),
    attempt: Number.isInteger(attempt) && attempt > 0 ? attempt : undefined,
  }
}

export function taskLink(taskId: string, attempt?: number): string {
  return `#/tasks/${encodeURIComponent(taskId)}${attempt === undefined ? '' : `?attempt=${attempt}`}`
}

/** As it is where it was not encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
