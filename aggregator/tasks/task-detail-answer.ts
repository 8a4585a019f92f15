/** One attempt with everything that is known of it, as it is answered. */
import { utc } from '../overview/answers.ts'
import { assumptionsOf } from './assumptions.ts'
import { attemptAnswer, timeOrNull } from './attempt-answer.ts'
import type { Calculation } from './calculation.ts'
import { figureAnswers, quantityAnswers } from './figure-answer.ts'
import type {
  CostAnswer,
  StageAnswer,
  TaskAttemptAnswer,
  TaskChartAnswer,
  TaskErrorAnswer,
  UsageLineAnswer,
  WindowAnswer,
} from './task-answers.ts'
import type { TaskCost, TaskDetails, TaskError } from './task-details.ts'
import type { FoundTask } from './task-query.ts'
import type { TaskRecord } from './task-record.ts'
import { decimalOf, unitOf } from './usage-units.ts'

const SLOT_MS = 900_000

export function taskAttemptAnswer(
  found: FoundTask,
  details: TaskDetails,
  charts: readonly TaskChartAnswer[],
): TaskAttemptAnswer {
  const { record, calculation, who, cost, error, events, version } = details
  const { facts } = record ?? {}
  return {
    ...attemptAnswer(found),
    version,
    vm_type: who.node.vmType ?? facts?.vmType ?? null,
    gpu_model: who.node.gpuModel,
    url: facts?.url ?? null,
    namespace: facts?.namespace ?? null,
    pod: facts?.pod ?? null,
    resource_id: facts?.resourceId ?? null,
    tags: record?.tags ?? {},
    attribution: {
      project_from: who.how.project,
      department_from: who.how.department,
      membership_id: who.how.membership,
      chosen: who.how.chosen,
      environment: who.environment,
      cost_center: who.costCenter,
    },
    samples_of: who.samplesOf,
    stages: record === null ? [] : stagesOf(record),
    window: windowAnswer(calculation),
    quantities: quantityAnswers(calculation),
    gpus: (calculation?.gpus ?? []).map(({ gpu, figures }) => ({ gpu, figures: figureAnswers(figures) })),
    node_figures: figureAnswers(calculation?.node ?? {}),
    usage: usageLines(calculation),
    cost: costAnswer(cost, calculation),
    error: error === null ? null : errorAnswer(error),
    assumptions: assumptionsOf([...(record?.flags ?? []), ...(calculation?.flags ?? [])]),
    event_ids: events,
    charts,
  }
}

function stagesOf({ queuedAt, startedAt, endedAt, loads, pod }: TaskRecord): StageAnswer[] {
  const stages = [
    ...(queuedAt === undefined ? [] : [stage('queued', queuedAt, startedAt)]),
    ...(pod === undefined ? [] : [stage('pod', pod.deployedAt, pod.readyAt)]),
    ...loads.map((load) => stage('loading', load.startedAt, load.endedAt, load.ok)),
    ...(startedAt === undefined ? [] : [stage('running', startedAt, endedAt)]),
  ]
  const begin = ({ from, to }: StageAnswer): string => from ?? to ?? ''
  return stages.sort((a, b) => (begin(a) < begin(b) ? -1 : begin(a) > begin(b) ? 1 : 0))
}

function stage(
  name: StageAnswer['stage'],
  from: number | undefined,
  to: number | undefined,
  ok: boolean | undefined = undefined,
): StageAnswer {
  const seconds = from === undefined || to === undefined ? null : Math.max(0, to - from) / 1000
  return { stage: name, from: timeOrNull(from), to: timeOrNull(to), seconds, ok: ok ?? null }
}

function windowAnswer(calculation: Calculation | null): WindowAnswer | null {
  if (calculation === null) return null
  const { from, to } = calculation.window
  return { from: utc(from), to: utc(to), seconds: (to - from) / 1000, open: calculation.flags.includes('open') }
}

/** Amounts by resource and slot, each with what it costs itself, also where the whole cannot be said. */
function usageLines(calculation: Calculation | null): UsageLineAnswer[] {
  const amounts = [...(calculation?.amounts ?? [])].sort(
    (a, b) => a.slot - b.slot || (a.resource < b.resource ? -1 : a.resource > b.resource ? 1 : 0),
  )
  return amounts.map(({ resource, slot, amount, costMicro, currency }) => ({
    ...slotAnswer(resource, slot, amount),
    cost_micros: costMicro ?? null,
    currency: currency ?? null,
  }))
}

function costAnswer(cost: TaskCost, calculation: Calculation | null): CostAnswer {
  if (cost.micros === null) {
    const isPart = calculation?.amounts.some(({ costMicro }) => costMicro !== undefined) === true
    const why = isPart ? `${cost.detail}; what the rest costs stands beside its amounts` : cost.detail
    return { micros: null, currency: null, reason: cost.reason, why, lines: [] }
  }
  const priced = new Set(cost.lines.flatMap(({ prices }) => prices)).size
  return {
    micros: cost.micros,
    currency: cost.currency,
    reason: null,
    why: `The sum of ${cost.lines.length} lines under ${priced} ${priced === 1 ? 'price' : 'prices'}, each rounded once.`,
    lines: cost.lines.map(({ phase, resource, slot, amount, micros, prices }) => ({
      phase,
      ...slotAnswer(resource, slot, amount),
      cost_micros: micros,
      price_ids: prices,
    })),
  }
}

function slotAnswer(counted: string, slot: number, amount: number) {
  const resource = counted === 'energy' ? 'energy_wh' : counted
  return {
    resource,
    unit: unitOf(resource),
    from: utc(slot),
    to: utc(slot + SLOT_MS),
    amount: decimalOf(resource, amount),
  }
}

function errorAnswer({
  category,
  type,
  text,
  rule,
  version,
  retry,
  chargeable,
  matched,
  evidence,
}: TaskError): TaskErrorAnswer {
  return {
    category,
    type,
    text,
    matched: matched === null ? null : { from: matched.start, to: matched.end, words: matched.words },
    rule,
    version,
    retry,
    chargeable_to: chargeable,
    evidence: evidence.map((one) => ({ kind: one.kind, text: evidenceText(one) })),
  }
}

function evidenceText(evidence: TaskError['evidence'][number]): string {
  const gpu = 'gpu' in evidence && evidence.gpu !== undefined ? ` on GPU ${evidence.gpu}` : ''
  switch (evidence.kind) {
    case 'xid':
      return `XID ${evidence.number}${gpu}`
    case 'counter':
      return `${evidence.name} grew by ${evidence.grew}${gpu}`
    case 'throttle':
      return `Clocks were held back: reasons 0x${evidence.reasons.toString(16)}${gpu}`
    case 'gpu_memory':
      return `${evidence.used} of ${evidence.total} of memory were used${gpu}`
    case 'pod':
      return `Kubernetes: ${evidence.reason}`
    case 'slurm':
      return `Slurm: ${evidence.state}`
    case 'load':
      return `Weights were ${evidence.result ? '' : 'not '}loaded`
    case 'policy':
      return `The policy check ${evidence.result ? 'allowed' : 'denied'} it`
    case 'quota_refused':
      return 'The quota refused it'
    case 'cancelled':
      return 'It was cancelled'
    default:
      return (evidence satisfies never as { kind: string }).kind
  }
}
