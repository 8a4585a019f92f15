/** Numbers, names and times as a person reads them. Names come from a disk: nothing in them may reach a terminal as it is. */

/** 1234567 → 1,234,567 */
export function whole(n: number): string {
  return n.toLocaleString('en-US')
}

/** `1 item`, `2 items` */
export function counted(n: number, noun: string): string {
  return `${whole(n)} ${noun}${n === 1 ? '' : 's'}`
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** 1536 → 1.5 KiB */
export function size(bytes: number): string {
  if (bytes < 1024) return counted(bytes, 'byte')
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(1)} ${UNITS[power]}`
}

/** A file name, in quotes and escaped unless it is plain. */
export function named(name: string): string {
  if (/^[\w.\-/]+$/.test(name)) return name
  return `"${name.replace(/[^ !#-[\]-~]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)}"`
}

/** An arrival, µs since the epoch, in RFC 3339. */
export function arrivalTime(micros: number): string {
  const ms = Math.floor(micros / 1000)
  const rest = String(micros - ms * 1000).padStart(3, '0')
  return `${new Date(ms).toISOString().slice(0, -1)}${rest}Z`
}

/** Positions (from, to], as those of the first and the last item. */
export function positions(from: number, to: number): string {
  return to - from === 1 ? `position ${whole(to)}` : `positions ${whole(from + 1)} to ${whole(to)}`
}

/** Lines of a name and a text, the texts below each other. */
export function lines(rows: readonly (readonly [name: string, text: string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}\n`).join('')
}
