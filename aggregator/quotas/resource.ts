/**
 * Amounts of quotas are whole numbers of a resource's smallest unit: what a row of `usage` can hold of it. µs of `*_seconds`, millionths
 * of `credits` and of `*_wh`, and 1 of everything else.
 */
import { ExactSum } from './exact-sum.ts'

/** Most that one record may add or set aside, in the smallest unit: up to here a row's amount is exact. */
export const AMOUNT_MAX: number = 2 ** 51

/** How many of the smallest unit are one of the unit that people write. */
export function scaleOf(resource: string): 1 | 1_000_000 {
  return resource.endsWith('_seconds') || resource.endsWith('_wh') || resource === 'credits' ? 1_000_000 : 1
}

/** What is held and given back, and never counted. */
export function isGauge(resource: string): boolean {
  return resource === 'concurrent_tasks'
}

/** A limit as a definition has it. @param units whole, of the unit that people write */
export function limitOf(resource: string, units: number): ExactSum {
  return ExactSum.ofBigInt(BigInt(units) * BigInt(scaleOf(resource)))
}

/** @param decimal as ClickHouse writes a Decimal(38, 6): `-12.5`, `3` */
export function sumOfDecimal(resource: string, decimal: string): ExactSum {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(decimal) ?? []
  if (whole === undefined) throw new RangeError(`Cannot read an amount from "${decimal}": expected a decimal number`)
  const millionths = BigInt(`${sign}${whole}${fraction.padEnd(6, '0')}`)
  return ExactSum.ofBigInt(scaleOf(resource) === 1 ? millionths / 1_000_000n : millionths)
}

const MILLION = 1_000_000

/** Exact, without zeros that say nothing: `12.5`. In the unit that people write. */
export function decimalOfSum(resource: string, sum: ExactSum): string {
  const safe = sum.toSafeInteger() // as nearly all are: a BigInt costs ten times as much
  if (scaleOf(resource) === 1) return (safe ?? sum.toBigInt()).toString()
  if (safe === undefined) {
    const value = sum.toBigInt()
    const size = value < 0n ? -value : value
    return decimal(value < 0n, (size / BigInt(MILLION)).toString(), Number(size % BigInt(MILLION)))
  }
  const size = Math.abs(safe)
  const rest = size % MILLION
  return decimal(safe < 0, ((size - rest) / MILLION).toString(), rest)
}

function decimal(isLess: boolean, whole: string, millionths: number): string {
  const fraction = millionths === 0 ? '' : `.${millionths.toString().padStart(6, '0').replace(/0+$/, '')}`
  return `${isLess ? '-' : ''}${whole}${fraction}`
}
