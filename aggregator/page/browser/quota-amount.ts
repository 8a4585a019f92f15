/** Amounts of quotas as people read them. They come as decimal texts, exact, in the unit of the resource's name. */
import type { Unit } from './format.ts'
import { formatMoney, formatValue, NONE } from './format.ts'
import { cut } from './name.tsx'

/** In what an amount is shown. */
export interface Measure {
  readonly unit: Unit
  /** So many of the resource's unit are one of it. */
  readonly per: number
}

export function measureOf(resource: string): Measure {
  if (resource.endsWith('_seconds')) return { unit: 'hours', per: 3600 }
  if (resource.endsWith('_bytes')) return { unit: 'bytes', per: 1 }
  if (resource.endsWith('_wh')) return { unit: 'watt_hours', per: 1 }
  return { unit: 'number', per: 1 }
}

/** `12.5 h` of seconds, `12.50 credits`, `1.2 M` of tokens. @param amount null: it is not known */
export function amountText(resource: string, amount: string | number | null): string {
  if (amount === null) return NONE
  if (resource === 'credits') return formatMoney(Number(amount) * 1e6, 'credits')
  const { unit, per } = measureOf(resource)
  return formatValue(Number(amount) / per, unit)
}

/** All of its digits, with its unit; for a title. */
export function exactText(resource: string, amount: string | number | null): string {
  return amount === null ? 'it could not be counted' : `${amount} ${cut(resource, 64)}`
}

export function resourceName(resource: string): string {
  const words = resource.replace(/_(seconds|bytes|wh)$/, '').replaceAll('_', ' ')
  const name =
    words.replace(/\bgpu\b/, 'GPU').replace(/\bcpu\b/, 'CPU') + (resource.endsWith('_seconds') ? ' time' : '')
  return cut(name[0]!.toUpperCase() + name.slice(1), 40)
}
