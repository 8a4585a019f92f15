/** Journals on a real disk, written by the real journal and the real shard; and the spool tool, run on them. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeFiles } from '../../collector/journal/files.ts'
import { Journal } from '../../collector/journal/journal.ts'
import type { JournalRecord } from '../../collector/journal/record.ts'
import { beginsRecord } from '../../collector/journal/record.ts'
import { CursorFile } from '../../collector/shard/cursor-file.ts'
import { runSpool } from '../../collector/spool/spool.ts'
import type { Point } from './write-request.ts'
import { remoteWriteBody } from './write-request.ts'

export const ARRIVED_US = 1_761_991_200_000_007

/** What was written into a journal. */
export interface Written {
  readonly directory: string
  /** One list a record: the values, which tell items apart. */
  readonly records: readonly (readonly number[])[]
}

/** A journal of records with so many samples each, the values counting up. */
export function writeJournal(directory: string, counts: readonly number[], segmentBytes = 400): Written {
  const journal = openJournal(directory, segmentBytes)
  const records: number[][] = []
  for (const count of counts) {
    const values = Array.from({ length: count }, (_, i) => journal.end + i + 1)
    journal.append([recordOf(journal.end, values)])
    records.push(values)
  }
  journal.close()
  return { directory, records }
}

export function openJournal(directory: string, segmentBytes = 400): Journal {
  const quarantine = join(directory, 'quarantine')
  return Journal.open(
    nodeFiles,
    { directory, quarantine, writer: 'test/0', segmentBytes, bytesMax: 1e9 },
    undefined,
    () => {},
  )
}

export function recordOf(position: number, values: readonly number[]): JournalRecord {
  const points = values.map(
    (value): Point => ({ name: 'm', labels: { series: String(value % 7) }, time: 1000 + value, value }),
  )
  return {
    position,
    count: values.length,
    kinds: [values.length, 0, 0, 0],
    at: ARRIVED_US + position * 1000,
    door: 'remote_write',
    tenant: 'default',
    verdict: new Uint8Array(0),
    dropped: new Uint8Array(0),
    overflow: new Uint8Array(0),
    body: remoteWriteBody(points),
  }
}

export function writeCursor(directory: string, position: number): void {
  new CursorFile(nodeFiles, join(directory, 'cursor')).write({ position, at: 0, lastAt: 0, windowsFrom: 0, kept: 0 })
}

export function segmentsIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.seg'))
    .sort()
    .map((name) => join(directory, name))
}

/** Changes a file's bytes. */
export function edit(path: string, change: (bytes: Buffer) => Uint8Array | undefined): void {
  const bytes = readFileSync(path)
  writeFileSync(path, change(bytes) ?? bytes)
}

/** Offset of the last record of a segment. */
export function lastRecord(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at >= 0; at--) if (beginsRecord(bytes, at)) return at
  throw new Error('no record')
}

/** Every file below a directory, with its content in hex. */
export function snapshot(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath ?? entry.path, entry.name)
      return [path.slice(directory.length), readFileSync(path, 'hex')] as const
    }),
  )
}

export interface SpoolRun {
  readonly code: number
  readonly out: string
  readonly err: string
}

export async function spool(...argv: string[]): Promise<SpoolRun> {
  let out = ''
  let err = ''
  const code = await runSpool(argv, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    elapsed: () => 0,
    columns: undefined,
    outIsTerminal: false,
  })
  return { code, out, err }
}

/** What `--json` prints of one journal, as far as tests look at it. */
export interface JournalReport {
  readonly sound: boolean
  readonly segments: number
  readonly records: number
  readonly items: Readonly<Record<string, number>>
  readonly first: number | null
  readonly last: number | null
  readonly lost: number
  readonly waiting: Readonly<Record<string, number>>
  readonly damaged: readonly { file: string; offset: number; length: number; items: number | null; settled: boolean }[]
  readonly missing: readonly {
    first: number
    last: number
    items: number
    lost: number
    proved: boolean
    ranges: number
  }[]
  readonly torn: readonly { file: string; offset: number; length: number }[]
  readonly repeated: readonly { file: string; records: number; items: number }[]
  readonly growing: boolean
  readonly problem?: string
}

export async function verified(directory: string): Promise<{ code: number; report: JournalReport }> {
  const { code, out } = await spool('verify', directory, '--json')
  const { journals } = JSON.parse(out) as { journals: JournalReport[] }
  return { code, report: journals[0]! }
}

/** The values of the dumped samples, in order; and that each has the position that it was written at. */
export async function dumped(directory: string, ...options: string[]): Promise<number[]> {
  const { out } = await spool('dump', directory, ...options)
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { position, value } = JSON.parse(line) as { position: number; value: number }
      if (position !== value) throw new Error(`item ${value} has position ${position}`)
      return value
    })
}
