/**
 * Amounts of quotas are whole numbers of a resource's smallest unit: what a row of `usage` can hold of it. µs of `*_seconds`, millionths
 * of `credits` and of `*_wh`, and 1 of everything else.
 */

/** Most that one record may add or set aside, in the smallest unit: up to here a row's amount is exact. */
export const AMOUNT_MAX: number = 2 ** 51

/** How many of the smallest unit are one of the unit that people write. */
export function scaleOf(resource: string): 1 | 1_000_000 {
  return resource.endsWith('_seconds') || resource.endsWith('_wh') || resource === 'credits' ? 1_000_000 : 1
}

const MILLION = 1_000_000

/** Exact, without zeros that say nothing: `12.5`. In the unit that people write. @param amount a safe integer */
export function decimalOf(resource: string, amount: number): string {
  if (scaleOf(resource) === 1) return amount.toString()
  const size = Math.abs(amount)
  const rest = size % MILLION
  return decimal(amount < 0, ((size - rest) / MILLION).toString(), rest)
}

/** The same of any size. */
export function decimalOfLarge(resource: string, amount: bigint): string {
  if (scaleOf(resource) === 1) return amount.toString()
  const size = amount < 0n ? -amount : amount
  return decimal(amount < 0n, (size / BigInt(MILLION)).toString(), Number(size % BigInt(MILLION)))
}

function decimal(isLess: boolean, whole: string, millionths: number): string {
  const fraction = millionths === 0 ? '' : `.${millionths.toString().padStart(6, '0').replace(/0+$/, '')}`
  return `${isLess ? '-' : ''}${whole}${fraction}`
}
