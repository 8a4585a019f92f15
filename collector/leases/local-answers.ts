/** What is answered for a decision that was made here: as an aggregator does, without figures, and with who decided. */
import { decimalOf } from '../../proto/quotas/amount.ts'
import type { SliceAmount } from '../../proto/quotas/lease-round.ts'
import type { Local } from './lease-desk.ts'

const GRANTED = { granted: true, over: [], shadow: [], unknown: [], degraded: false, quotas: [] }

/** @param now ms */
export function checkAnswer(collector: string, now: number): object {
  return { ...GRANTED, decided_by: decidedBy(collector), as_of: utc(now) }
}

/** @param now ms */
export function reservationAnswer({ slice, admission }: Local, collector: string, now: number): object {
  const { id, amounts, task, from, expires } = admission
  const { userId, project, department } = slice.owner
  return {
    id,
    state: 'open',
    user_id: userId || null,
    project: project || null,
    department: department || null,
    task_id: task?.taskId ?? null,
    attempt: task?.attempt ?? null,
    amounts: amountsAnswer(amounts),
    committed: null,
    reserved_at: utc(from),
    expires_at: utc(expires),
    closed_at: null,
    late: false,
    overrun: false,
    ...checkAnswer(collector, now),
  }
}

function amountsAnswer(amounts: readonly SliceAmount[]): Record<string, string> {
  return Object.fromEntries(amounts.map(({ resource, amount }) => [resource, decimalOf(resource, amount)]))
}

const decidedBy = (collector: string): string => `collector ${collector}`
const utc = (ms: number): string => new Date(ms).toISOString()
