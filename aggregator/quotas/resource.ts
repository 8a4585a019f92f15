/**
 * Amounts of quotas are whole numbers of a resource's smallest unit: what a row of `usage` can hold of it. µs of `*_seconds`, millionths
 * of `credits` and of `*_wh`, and 1 of everything else.
 */
import { decimalOf, decimalOfLarge, scaleOf } from '../../proto/quotas/amount.ts'
import { ExactSum } from './exact-sum.ts'

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

/** Exact, without zeros that say nothing: `12.5`. In the unit that people write. */
export function decimalOfSum(resource: string, sum: ExactSum): string {
  if (sum.sign === 0) return '0'
  const safe = sum.toSafeInteger() // as nearly all are: a BigInt costs ten times as much
  return safe === undefined ? decimalOfLarge(resource, sum.toBigInt()) : decimalOf(resource, safe)
}
