/** The windows of quotas, and which period of one a moment lies in. */
import { SLOT_MS, slotOf } from '../tasks/shares.ts'

export type QuotaWindow =
  /** A day, a week from Monday on, a month, as the clocks of a zone have them. */
  | { readonly kind: 'day' | 'week' | 'month'; readonly zone: string }
  /** The last so many seconds, a multiple of 900: a quarter of an hour counts in full while any of it is among them. */
  | { readonly kind: 'rolling'; readonly seconds: number }
  | { readonly kind: 'lifetime' }

/** What slots count, by their starts, ms since the epoch: from ≤ slot < to. Of a rolling window and a lifetime `to` is Infinity. */
export interface Period {
  readonly from: number
  readonly to: number
}

/** Whether a text names a time zone that this machine knows. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return true
  } catch {
    return false
  }
}

/** The same text for the same window: counters of two quotas with one are one. */
export function windowKey(window: QuotaWindow): string {
  switch (window.kind) {
    case 'rolling':
      return `rolling ${window.seconds}`
    case 'lifetime':
      return 'lifetime'
    default:
      return `${window.kind} ${window.zone}`
  }
}

/** The period that a moment lies in. Boundaries are starts of slots: offsets of zones in use are multiples of 15 minutes. */
export function periodOf(window: QuotaWindow, at: number): Period {
  switch (window.kind) {
    case 'rolling':
      return { from: slotOf(at) - window.seconds * 1000, to: Number.POSITIVE_INFINITY }
    case 'lifetime':
      return { from: 0, to: Number.POSITIVE_INFINITY }
    default:
      return calendarPeriod(window.kind, zoneOf(window.zone), at)
  }
}

/** In which thresholds are told once: the period, and for a rolling window one of its length after the other. */
export function noticePeriodOf(window: QuotaWindow, at: number): Period {
  if (window.kind !== 'rolling') return periodOf(window, at)
  const length = window.seconds * 1000
  const from = Math.floor(at / length) * length
  return { from, to: from + length }
}

const DAY_MS = 86_400_000
const ZONES_MAX = 1000
const zones = new Map<string, Zone>()

function zoneOf(name: string): Zone {
  let zone = zones.get(name)
  if (zone === undefined) {
    if (zones.size >= ZONES_MAX) zones.clear()
    zone = new Zone(name)
    zones.set(name, zone)
  }
  return zone
}

type Calendar = 'day' | 'week' | 'month'

/** Nearly all questions are about the period that the last one was about. */
function calendarPeriod(kind: Calendar, zone: Zone, at: number): Period {
  const last = zone.last[kind]
  if (last !== undefined && at >= last.from && at < last.to) return last
  const period = foundPeriod(kind, zone, at)
  zone.last[kind] = period
  return period
}

/** Dates are those of the zone, as the ms that UTC would have them at. */
function foundPeriod(kind: Calendar, zone: Zone, at: number): Period {
  let date = firstOf(kind, zone.dateAt(at))
  for (;;) {
    const next = afterOf(kind, date)
    const to = zone.startOf(next)
    // Where clocks are set back over midnight, a moment of yesterday's comes after today has begun.
    if (at < to) return { from: zone.startOf(date), to }
    date = next
  }
}

function firstOf(kind: Calendar, date: number): number {
  if (kind === 'day') return date
  if (kind === 'week') return date - ((new Date(date).getUTCDay() + 6) % 7) * DAY_MS
  return date - (new Date(date).getUTCDate() - 1) * DAY_MS
}

function afterOf(kind: Calendar, date: number): number {
  if (kind === 'day') return date + DAY_MS
  if (kind === 'week') return date + 7 * DAY_MS
  const day = new Date(date)
  return Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 1)
}

class Zone {
  readonly last: Partial<Record<Calendar, Period>> = {}
  readonly #format: Intl.DateTimeFormat

  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  }

  dateAt(at: number): number {
    return Math.floor((at + this.#offsetAt(at)) / DAY_MS) * DAY_MS
  }

  /** The first moment of a date, or of what comes after it where clocks leap over its midnight. */
  startOf(date: number): number {
    const before = this.#offsetAt(date - DAY_MS)
    const after = this.#offsetAt(date + DAY_MS)
    const starts = [date - before, date - after].filter((start) => start + this.#offsetAt(start) === date)
    if (starts.length > 0) return slotOf(Math.min(...starts))
    let start = slotOf(date - after)
    while (start + this.#offsetAt(start) < date) start += SLOT_MS
    return start
  }

  /** How far its clocks are ahead of UTC, ms. */
  #offsetAt(at: number): number {
    const of: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {}
    for (const { type, value } of this.#format.formatToParts(at)) of[type] = Number(value)
    const { year, month, day, hour, minute, second } = of
    return Date.UTC(year!, month! - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000
  }
}
