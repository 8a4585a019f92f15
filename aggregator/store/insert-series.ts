/** Describes series in the table `series`; again on another day while they live, so that they are kept as long as their figures. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Label } from '../../proto/wire/labels.ts'
import type { SeriesInfo } from '../hot/series-registry.ts'
import type { Database } from './clickhouse.ts'
import { bytesOf, nativeBlock, stringColumn, stringListColumn } from './native.ts'

const COLUMNS: readonly string[] = ['tenant', 'name', 'series', 'kv', 'seen']
/** Series that are encoded in one turn of the event loop: a few ms. */
const SLICE = 1000

/** @param day days since the epoch */
export async function insertSeries(
  db: Database,
  database: string,
  series: readonly SeriesInfo[],
  day: number,
): Promise<void> {
  if (series.length === 0) return
  const blocks: Uint8Array[] = []
  for (let at = 0; at < series.length; at += SLICE) {
    if (at > 0) await nextTurn()
    blocks.push(...blockOf(series.slice(at, at + SLICE), day))
  }
  await db.insert(`${database}.series`, COLUMNS, blocks)
}

function blockOf(series: readonly SeriesInfo[], day: number): Uint8Array[] {
  const ids = new Uint8Array(series.length * 16)
  for (const [i, { id }] of series.entries()) ids.set(id, i * 16)
  return nativeBlock(series.length, [
    { name: 'tenant', type: 'String', data: stringColumn(series.map((s) => s.tenant)) },
    { name: 'name', type: 'String', data: stringColumn(series.map((s) => s.name)) },
    { name: 'series', type: 'UInt128', data: ids },
    { name: 'kv', type: 'Array(String)', data: stringListColumn(series.map((s) => s.labels.map(encodeLabel))) },
    { name: 'seen', type: 'Date', data: bytesOf(new Uint16Array(series.length).fill(day)) },
  ])
}

/** `key=value`; an `=` or backslash in the key stands behind a backslash, so that the first bare `=` ends it. */
export function encodeLabel([key, value]: Label): string {
  return `${encodeLabelKey(key)}=${value}`
}

export function encodeLabelKey(key: string): string {
  return key.replace(/[\\=]/g, '\\$&')
}

export function decodeLabel(text: string): Label {
  let key = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '=') return [key, text.slice(i + 1)]
    if (text[i] === '\\') i++
    key += text[i] ?? ''
  }
  return [key, '']
}
