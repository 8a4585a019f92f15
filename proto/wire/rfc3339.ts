/**
 * RFC 3339 times, as xtrace's clients write them, to and from milliseconds since the epoch.
 *
 * Written by hand: `Date.parse` takes a dozen other grammars, and this runs once per point of every heartbeat.
 * Accepted: `2026-11-01T10:00:00Z`, any number of fraction digits, `T`, `t` or one blank as separator, `Z`, `z`, `+08:00`,
 * `+0800` or ` UTC` as zone, second 60. Refused: no zone, no seconds, a date alone, epoch numbers.
 */

const DAY_MS = 86_400_000
const DAYS_IN_MONTH: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/**
 * @returns milliseconds since the epoch (finer digits are cut off), or undefined when the text is not such a time
 */
export function parseRfc3339(text: string): number | undefined {
  const year = digits(text, 0, 4)
  const month = digits(text, 5, 2)
  const day = digits(text, 8, 2)
  const hour = digits(text, 11, 2)
  const minute = digits(text, 14, 2)
  const second = digits(text, 17, 2)
  const separator = text[10]
  if (text[4] !== '-' || text[7] !== '-' || text[13] !== ':' || text[16] !== ':') return undefined
  if (separator !== 'T' && separator !== 't' && separator !== ' ') return undefined
  // NaN, the answer for anything but digits, fails every one of these comparisons.
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month))) return undefined
  if (!(hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60)) return undefined
  let at = 19
  let ms = 0
  if (text[at] === '.') {
    at++
    const from = at
    for (let scale = 100; isDigit(text, at); at++, scale /= 10) if (scale >= 1) ms += (text.charCodeAt(at) - 48) * scale
    if (at === from) return undefined
  }
  const offset = zoneMinutes(text, at)
  if (offset === undefined) return undefined
  // Date.UTC reads years 0-99 as 1900-1999; 400 years later has the same calendar.
  const days = Date.UTC(year + 400, month - 1, day) / DAY_MS - 146_097
  return days * DAY_MS + hour * 3_600_000 + (minute - offset) * 60_000 + second * 1000 + ms
}

/** `2026-02-14T10:01:00+00:00`, with three fraction digits where they are not zero: the form of metric answers. */
export function formatRfc3339(ms: number): string {
  const iso = new Date(ms).toISOString()
  return `${ms % 1000 === 0 ? iso.slice(0, -5) : iso.slice(0, -1)}+00:00`
}

function zoneMinutes(text: string, at: number): number | undefined {
  const zone = text.slice(at)
  if (zone === 'Z' || zone === 'z' || zone === ' UTC') return 0
  const sign = zone[0] === '+' ? 1 : zone[0] === '-' ? -1 : 0
  const colon = zone[3] === ':'
  if (sign === 0 || zone.length !== (colon ? 6 : 5)) return undefined
  const hours = digits(zone, 1, 2)
  const minutes = digits(zone, colon ? 4 : 3, 2)
  return hours >= 0 && hours <= 23 && minutes >= 0 && minutes <= 59 ? sign * (hours * 60 + minutes) : undefined
}

/** The number in `n` digits at `at`, or NaN. */
function digits(text: string, at: number, n: number): number {
  let value = 0
  for (let i = at; i < at + n; i++) {
    if (!isDigit(text, i)) return Number.NaN
    value = value * 10 + text.charCodeAt(i) - 48
  }
  return value
}

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code >= 48 && code <= 57
}

function daysInMonth(year: number, month: number): number {
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return (DAYS_IN_MONTH[month - 1] as number) + (leap ? 1 : 0)
}
