/** What the GPUs delivered in the time whose tasks are looked at, and what of it no task had. Nothing where nobody knows. */
import type { NodeUsageAnswer } from '../../tasks/node-usage-answers.ts'
import { counted, formatMoney, formatValue } from './format.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'
import type { TasksQuestion } from './tasks-question.ts'
import { nodeUsageParameters } from './tasks-question.ts'

/** It goes through the samples of the whole time. */
const EVERY_MS = 300_000

export interface IdleTimeProps {
  readonly credentials: Credentials
  readonly question: TasksQuestion
}

export function IdleTime({ credentials, question }: IdleTimeProps) {
  const { period, first, last, node } = question
  const asked = JSON.stringify([credentials, period, first, last, node])
  const { data } = usePolling(asked, EVERY_MS, async (signal) => {
    const parameters = nodeUsageParameters(question, Date.now())
    return parameters === undefined
      ? undefined
      : ask<NodeUsageAnswer>(credentials, 'v1/usage/nodes', parameters, signal)
  })
  const text = data === undefined ? '' : idleText(data)
  return text === '' ? null : <p class="why muted">{text}</p>
}

function idleText({ totals }: NodeUsageAnswer): string {
  const sum = (name: 'delivered_gpu_seconds' | 'idle_gpu_seconds'): number =>
    totals.reduce((all, total) => all + Number(total[name]), 0)
  const [delivered, idle] = [sum('delivered_gpu_seconds'), sum('idle_gpu_seconds')]
  if (delivered === 0) return ''
  const gpus = Math.max(...totals.map((total) => total.gpus))
  const costs = totals.flatMap(({ idle_cost_micros, currency }) =>
    idle_cost_micros === null || idle_cost_micros === 0 ? [] : [formatMoney(idle_cost_micros, currency)],
  )
  const cost = costs.length === 0 ? '' : `, ${costs.join(' and ')}`
  return `${counted(gpus, 'GPU')} in this time: ${formatValue(delivered / 3600, 'hours')}, idle ${formatValue(idle / 3600, 'hours')} (${formatValue(idle / delivered, 'ratio')}${cost}).`
}
