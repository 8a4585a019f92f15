/** Usage as it is answered: JSON, CSV, and CSV with the columns of FOCUS. @see https://focus.finops.org */
import { csvLine } from '../directory/csv.ts'
import { utc } from '../overview/answers.ts'
import { SLOT_MS } from './shares.ts'
import type { UsageGroupLineAnswer, UsageTotalAnswer } from './task-answers.ts'
import type { UsageFilter, UsageGroup } from './usage-filter.ts'
import type { UsageLine, UsageTotal } from './usage-query.ts'
import { plainDecimal, unitOf } from './usage-units.ts'

/** Names of the groups in an answer; that of the resource is there anyway. */
const FIELDS: Readonly<Record<Exclude<UsageGroup, 'resource'>, keyof UsageGroupLineAnswer>> = {
  tenant: 'tenant',
  user: 'user_id',
  project: 'project',
  department: 'department',
  model: 'model',
  node: 'node_id',
  slot: 'period',
  hour: 'period',
  day: 'period',
  month: 'period',
}

export function usageLineAnswer({ groups }: UsageFilter, line: UsageLine): UsageGroupLineAnswer {
  const named = groups.flatMap((group, i) => (group === 'resource' ? [] : [[FIELDS[group], line.keys[i]!] as const]))
  return {
    ...Object.fromEntries(named),
    resource: line.resource,
    unit: unitOf(line.resource),
    amount: plainDecimal(line.amount),
    tasks: line.tasks,
    ...costOf(line),
  }
}

export function usageTotalAnswer(total: UsageTotal): UsageTotalAnswer {
  return {
    resource: total.resource,
    unit: unitOf(total.resource),
    amount: plainDecimal(total.amount),
    unattributed_amount: plainDecimal(total.unattributed),
    ...costOf(total),
  }
}

function costOf({ currency, costMicro }: Pick<UsageTotal, 'currency' | 'costMicro'>) {
  return currency === '' ? { cost_micros: null, currency: null } : { cost_micros: costMicro, currency }
}

export function usageCsv(filter: UsageFilter, lines: readonly UsageLine[]): string {
  const fields = filter.groups.flatMap((group) => (group === 'resource' ? [] : [FIELDS[group]]))
  const columns = [...fields, 'resource', 'unit', 'amount', 'tasks', 'cost_micros', 'currency'] as const
  const rows = lines.map((line) => {
    const answer = usageLineAnswer(filter, line)
    return columns.map((column) => String(answer[column] ?? ''))
  })
  return [columns, ...rows].map((cells) => csvLine(cells)).join('')
}

const FOCUS_COLUMNS = [
  'BilledCost',
  'BillingCurrency',
  'ChargeCategory',
  'ChargePeriodStart',
  'ChargePeriodEnd',
  'ConsumedQuantity',
  'ConsumedUnit',
  'ResourceId',
  'ServiceCategory',
  'ServiceName',
  'SkuId',
  'SubAccountId',
  'x_User',
  'x_Project',
  'x_Department',
  'x_Model',
] as const

/** A charge for each line. What FOCUS has no column for has one that begins with x_. */
export function focusCsv(filter: UsageFilter, tenant: string | undefined, lines: readonly UsageLine[]): string {
  const rows = lines.map((line) => {
    const answer = usageLineAnswer(filter, line)
    const { start, end } = chargePeriod(filter, answer.period)
    const cells: Record<(typeof FOCUS_COLUMNS)[number], string> = {
      BilledCost: answer.cost_micros === null ? '' : microsText(answer.cost_micros),
      BillingCurrency: answer.currency ?? '',
      ChargeCategory: 'Usage',
      ChargePeriodStart: start,
      ChargePeriodEnd: end,
      ConsumedQuantity: answer.amount,
      ConsumedUnit: FOCUS_UNITS[answer.unit as keyof typeof FOCUS_UNITS],
      ResourceId: answer.node_id ?? '',
      ServiceCategory: 'Compute',
      ServiceName: 'fleetmeter',
      SkuId: answer.resource,
      SubAccountId: answer.tenant ?? tenant ?? '',
      x_User: answer.user_id ?? '',
      x_Project: answer.project ?? '',
      x_Department: answer.department ?? '',
      x_Model: answer.model ?? '',
    }
    return FOCUS_COLUMNS.map((column) => cells[column])
  })
  return [FOCUS_COLUMNS, ...rows].map((cells) => csvLine(cells)).join('')
}

const FOCUS_UNITS = { s: 'Seconds', Wh: 'Watt-Hours', B: 'Bytes', '1': 'Count' } as const

/** The group's period as far as it was asked for, else all that was. */
function chargePeriod({ groups, from, to }: UsageFilter, period: string | undefined): { start: string; end: string } {
  if (period === undefined) return { start: utc(from), end: utc(to) }
  return {
    start: utc(Math.max(from, Date.parse(period))),
    end: utc(Math.min(to, periodEnd(groups, period))),
  }
}

/** When a group's period ends, ms. @param period its beginning */
export function periodEnd(groups: readonly string[], period: string): number {
  const start = new Date(period)
  if (groups.includes('month')) return Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1, 1)
  return start.getTime() + (groups.includes('day') ? 86_400_000 : groups.includes('hour') ? 3_600_000 : SLOT_MS)
}

/** Exact: millionths as a decimal number. */
function microsText(micros: number): string {
  const sign = micros < 0 ? '-' : ''
  const digits = String(Math.abs(micros)).padStart(7, '0')
  return plainDecimal(`${sign}${digits.slice(0, -6)}.${digits.slice(-6)}`)
}
