/** Amounts of usage as answers have them: decimal numbers in the unit that a resource's name says, exact to a millionth. */

/** @param resource such as gpu_seconds, energy_wh, transfer_bytes, tokens */
export function unitOf(resource: string): 's' | 'Wh' | 'B' | '1' {
  if (resource.endsWith('_seconds')) return 's'
  if (resource.endsWith('_bytes')) return 'B'
  return resource === 'energy' || resource.endsWith('_wh') ? 'Wh' : '1'
}

/** @param amount whole number of the units of `USAGE_UNITS` */
export function decimalOf(resource: string, amount: number | bigint): string {
  const unit = unitOf(resource)
  return unit === 's' || unit === 'Wh' ? decimal(BigInt(amount)) : BigInt(amount).toString()
}

/** @param millionths of what is written */
function decimal(millionths: bigint): string {
  const [sign, size] = millionths < 0n ? ['-', -millionths] : ['', millionths]
  const text = size.toString().padStart(7, '0')
  return `${sign}${text.slice(0, -6)}${`.${text.slice(-6)}`.replace(/\.?0+$/, '')}`
}

/** Without zeros that say nothing. @param text of a Decimal, as ClickHouse writes it */
export function plainDecimal(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}
