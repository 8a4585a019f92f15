/** What nodes delivered and what of it was idle, as it is answered: JSON and CSV. */
import { csvLine } from '../directory/csv.ts'
import { utc } from '../overview/answers.ts'
import type { NodeUsageResult } from './node-usage.ts'
import type { NodeUsageAnswer, NodeUsageLineAnswer, NodeUsageSumsAnswer } from './node-usage-answers.ts'
import type { NodeUsageFilter, NodeUsageGroup } from './node-usage-filter.ts'
import type { NodeUsageLine, NodeUsageSums } from './node-usage-sums.ts'
import { periodEnd } from './usage-answer.ts'
import { decimalOf } from './usage-units.ts'

const FIELDS: Readonly<Record<NodeUsageGroup, keyof NodeUsageLineAnswer>> = {
  node: 'node_id',
  gpu: 'gpu',
  gpu_model: 'gpu_model',
  vm_type: 'vm_type',
  slot: 'period',
  hour: 'period',
  day: 'period',
  month: 'period',
}
const SUMS = [
  'gpus',
  'delivered_gpu_seconds',
  'attributed_gpu_seconds',
  'idle_gpu_seconds',
  'unmeasured_gpu_seconds',
  'idle_ratio',
  'coverage',
  'delivered_cost_micros',
  'attributed_cost_micros',
  'idle_cost_micros',
  'currency',
] as const satisfies readonly (keyof NodeUsageSumsAnswer)[]

/** @param lines of the page */
export function nodeUsageAnswer(
  filter: NodeUsageFilter,
  { totals, asOf, hoursUntil }: NodeUsageResult,
  lines: readonly NodeUsageLine[],
  cursor: string | null,
): NodeUsageAnswer {
  const border = hoursUntil === undefined ? '' : utc(hoursUntil)
  return {
    from: utc(filter.from),
    to: utc(filter.to),
    as_of: utc(asOf),
    group_by: filter.groups,
    data: lines.map((line) => lineAnswer(filter, line, asOf)),
    next_cursor: cursor,
    totals: totals.map((sums) => sumsAnswer(sums, asked(filter, asOf))),
    method:
      hoursUntil === undefined ? 'samples' : hoursUntil >= filter.to ? 'hourly_figures' : 'hourly_figures, samples',
    warnings:
      hoursUntil === undefined
        ? []
        : [
            `before ${border} only hourly figures are kept: where a GPU was away for a part of an hour, that part is its end`,
          ],
  }
}

export function nodeUsageCsv(filter: NodeUsageFilter, lines: readonly NodeUsageLine[], asOf: number): string {
  const columns = [...filter.groups.map((group) => FIELDS[group]), ...SUMS]
  const rows = lines.map((line) => {
    const answer = lineAnswer(filter, line, asOf)
    return columns.map((column) => String(answer[column] ?? ''))
  })
  return [columns, ...rows].map((cells) => csvLine(cells)).join('')
}

function lineAnswer(filter: NodeUsageFilter, line: NodeUsageLine, asOf: number): NodeUsageLineAnswer {
  const named = Object.fromEntries(filter.groups.map((group, i) => [FIELDS[group], line.keys[i]!]))
  return { ...named, ...sumsAnswer(line, asked(filter, asOf, named['period'])) }
}

/** How long was asked for, ms. @param period of the line, where it has one */
function asked({ groups, from, to }: NodeUsageFilter, asOf: number, period?: string): number {
  const until = Math.min(to, asOf)
  if (period === undefined) return until - from
  return Math.min(until, periodEnd(groups, period)) - Math.max(from, Date.parse(period))
}

function sumsAnswer(sums: NodeUsageSums, askedMs: number): NodeUsageSumsAnswer {
  const { gpus, delivered, attributed, idle, unmeasured, currency } = sums
  const seconds = (micros: bigint): string => decimalOf('gpu_seconds', micros)
  const cost = (micros: number): number | null => (currency === '' ? null : micros)
  const whole = gpus * askedMs * 1000
  return {
    gpus,
    delivered_gpu_seconds: seconds(delivered),
    attributed_gpu_seconds: seconds(attributed),
    idle_gpu_seconds: seconds(idle),
    unmeasured_gpu_seconds: seconds(unmeasured),
    idle_ratio: delivered === 0n ? null : Number(idle) / Number(delivered),
    coverage: whole > 0 ? Math.min(1, Number(delivered) / whole) : 0,
    delivered_cost_micros: cost(sums.deliveredCost),
    attributed_cost_micros: cost(sums.attributedCost),
    idle_cost_micros: cost(sums.idleCost),
    currency: currency === '' ? null : currency,
  }
}
