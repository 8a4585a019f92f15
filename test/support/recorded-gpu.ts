/** The recording of a real H100 and its tasks (test/fixtures/gpu-h100), and a folder with a stand-in for nvidia-smi that replays it. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryDirectory } from './programs.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/gpu-h100/', import.meta.url))
const STAND_IN = fileURLToPath(new URL('./nvidia-smi.mjs', import.meta.url))

export const recordedHelp: string = readFileSync(join(FIXTURE, 'help-query-gpu.txt'), 'utf8')

/** A second of the recording: cells by column, as nvidia-smi wrote them, with units. */
export interface RecordedRow {
  readonly at: number
  readonly cells: Readonly<Record<string, string>>
}

export function recordedRows(): RecordedRow[] {
  const [head = '', ...lines] = readFileSync(join(FIXTURE, 'samples.csv'), 'utf8').trim().split('\n')
  const columns = head.split(', ').map((column) => column.replace(/ \[.*\]$/, ''))
  return lines.map((line) => {
    const cells = Object.fromEntries(line.split(', ').map((cell, i) => [columns[i]!, cell]))
    return { at: Date.parse(`${cells['timestamp']!.replaceAll('/', '-').replace(' ', 'T')}Z`), cells }
  })
}

export interface RecordedTask {
  readonly task_id: string
  readonly kind: string
  readonly start: string
  readonly end: string
  readonly result: boolean
  readonly detail: string
  readonly tokens?: number
}

export function recordedTasks(): RecordedTask[] {
  return readFileSync(join(FIXTURE, 'tasks.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordedTask)
}

/** What the stand-in is to do: see test/support/nvidia-smi.mjs. */
export interface Control {
  readonly row?: number
  readonly mode?: 'replay' | 'hang' | 'lost' | 'none' | 'rows-then-lost'
  readonly hidden?: readonly string[]
  readonly refused?: string
  readonly uuids?: readonly string[]
  readonly model?: string
}

export interface StandIn {
  /** PATH that finds it before anything else. */
  readonly path: string
  steer(control: Control): void
  /** The arguments of each start. */
  calls(): string[]
}

export function nvidiaSmiStandIn(control: Control = {}): StandIn {
  const folder = temporaryDirectory()
  symlinkSync(STAND_IN, join(folder, 'nvidia-smi'))
  const steer = (to: Control): void => writeFileSync(join(folder, 'control.json'), JSON.stringify(to))
  steer(control)
  writeFileSync(join(folder, 'calls'), '')
  return {
    path: `${folder}:${process.env['PATH']}`,
    steer,
    calls: () => readFileSync(join(folder, 'calls'), 'utf8').split('\n').filter(Boolean),
  }
}
