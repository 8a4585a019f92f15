/** Numbers and times as people read them: three digits that matter, the unit beside them. */

/** How a figure is shown. */
export type Unit =
  | 'number'
  | 'ratio'
  | 'percent'
  | 'bytes'
  | 'mebibytes'
  | 'seconds'
  | 'hours'
  | 'watts'
  | 'watt_hours'
  | 'celsius'
  | 'time'

const THIN = '\u202f'
/** What is not known. Never a zero. */
export const NONE = '—'

export function formatValue(value: number | null | undefined, unit: Unit = 'number', perSecond = false): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE
  return formatIn(unit, value) + (perSecond ? '/s' : '')
}

function formatIn(unit: Unit, value: number): string {
  switch (unit) {
    case 'ratio':
      return `${digits(value * 100)}${THIN}%`
    case 'percent':
      return `${digits(value)}${THIN}%`
    case 'bytes':
      return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'])
    case 'mebibytes':
      return scaled(value * 1024 * 1024, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'])
    case 'watts':
      return scaled(value, 1000, ['W', 'kW', 'MW'])
    case 'watt_hours':
      return scaled(value, 1000, ['Wh', 'kWh', 'MWh', 'GWh'])
    case 'celsius':
      return `${digits(value)}${THIN}°C`
    case 'seconds':
      return value !== 0 && Math.abs(value) < 1 ? `${digits(value * 1000)}${THIN}ms` : `${digits(value)}${THIN}s`
    case 'hours':
      if (value === 0 || Math.abs(value) >= 1) return `${digits(value)}${THIN}h`
      return Math.abs(value) >= 1 / 60 ? `${digits(value * 60)}${THIN}min` : formatIn('seconds', value * 3600)
    case 'time':
      return formatTime(value * 1000)
    case 'number':
      return Math.abs(value) < 10_000 ? digits(value) : scaled(value, 1000, ['', 'k', 'M', 'G', 'T'])
    default:
      return unit satisfies never
  }
}

/** A whole count, with its thousands apart. */
export function formatCount(count: number): string {
  return count.toLocaleString('en').replaceAll(',', THIN)
}

/** So many of something. */
export function counted(count: number, what: string): string {
  return `${formatCount(count)} ${what}${count === 1 ? '' : 's'}`
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let scale = 0
  let rest = value
  while (Math.abs(rest) >= base && scale < units.length - 1) {
    rest /= base
    scale++
  }
  const unit = units[scale] ?? ''
  return unit === '' ? digits(rest) : `${digits(rest)}${THIN}${unit}`
}

function digits(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e15 || (size > 0 && size < 1e-3)) return value.toExponential(2)
  const fraction = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toLocaleString('en', { maximumFractionDigits: fraction }).replaceAll(',', THIN)
}

/** How long ago, of two times in ms. */
export function formatAge(then: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - then) / 1000))
  if (seconds < 1) return 'now'
  if (seconds < 60) return `${seconds}${THIN}s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${THIN}min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}${THIN}h ago`
  return `${Math.floor(seconds / 86_400)}${THIN}d ago`
}

/** How long something took, in its two largest units: `1 d 3 h`, `3 min 20 s`, `39 ms`. */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE
  if (seconds < 60) return formatIn('seconds', seconds)
  const parts = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  let rest = Math.round(seconds)
  const first = parts.findIndex(([size]) => rest >= size)
  const shown = parts.slice(first, first + 2).map(([size, unit]) => {
    const count = Math.floor(rest / size)
    rest -= count * size
    return count === 0 ? '' : `${count}${THIN}${unit}`
  })
  return shown.join(' ').trim()
}

/** Money of millionths: `12.34 EUR`; what is less than a cent as far as it goes. */
export function formatMoney(micros: number | null | undefined, currency: string | null | undefined): string {
  if (micros === null || micros === undefined || !Number.isFinite(micros)) return NONE
  const amount = micros / 1e6
  const fraction = Math.abs(amount) >= 1 || micros === 0 ? 2 : Math.abs(amount) >= 0.01 ? 4 : 6
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: fraction }
  return `${amount.toLocaleString('en', digits).replaceAll(',', THIN)} ${currency ?? ''}`.trim()
}

/** Time of day here, with the date where it is another day. */
export function formatTime(ms: number): string {
  const date = new Date(ms)
  const time = date.toLocaleTimeString('en-GB')
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString('en-CA')} ${time}`
}

const BY_NAME: readonly (readonly [pattern: RegExp, unit: Unit])[] = [
  [/^DCGM_FI_DEV_(GPU_UTIL|MEM_COPY_UTIL)/, 'percent'],
  [/^DCGM_FI_DEV_FB_|_mb$/, 'mebibytes'],
  [/^DCGM_FI_DEV_POWER_|_watts(_|$)/, 'watts'],
  [/_TEMP$|_celsius(_|$)/, 'celsius'],
  [/_bytes(_|$)/, 'bytes'],
  [/_ratio(_|$)/, 'ratio'],
  [/_percent(_|$)/, 'percent'],
  [/_(timestamp|last_request|boot_time)(_seconds)?$/, 'time'],
  [/_seconds(_|$)/, 'seconds'],
]

/** What a metric's name says of its unit. */
export function unitOf(name: string): Unit {
  return BY_NAME.find(([pattern]) => pattern.test(name))?.[1] ?? 'number'
}
