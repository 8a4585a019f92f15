/**
 * A recorded GPU host: `samples.csv` as `nvidia-smi --query-gpu=timestamp,index,uuid,name,… --format=csv` writes it, and `tasks.jsonl`, a
 * line for each task: {"task_id", "kind", "start", "end", "result", "detail", "tokens"}. Times without a zone are UTC.
 */
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'

/** What is sent of a reading: samples of one GPU at one time. */
export interface RecordedReading {
  /** ms since the epoch, as it was recorded. */
  readonly time: number
  readonly gpu: { readonly index: string; readonly uuid: string; readonly model: string }
  /** By DCGM's names. */
  readonly values: ReadonlyMap<string, number>
}

export interface RecordedTask {
  readonly taskId: string
  readonly kind: string
  readonly start: number
  readonly end: number
  readonly result: boolean
  readonly detail: string
  readonly tokens: number | undefined
}

/** A recording that cannot be read, with the file and the line. */
export class RecordingError extends Error {}

/** The names that the host sampler gives them, without units: those of nvidia-smi stand in square brackets. */
const METRICS: ReadonlyMap<string, string> = new Map([
  ['utilization.gpu', 'DCGM_FI_DEV_GPU_UTIL'],
  ['utilization.memory', 'DCGM_FI_DEV_MEM_COPY_UTIL'],
  ['memory.used', 'DCGM_FI_DEV_FB_USED'],
  ['memory.total', 'DCGM_FI_DEV_FB_TOTAL'],
  ['temperature.gpu', 'DCGM_FI_DEV_GPU_TEMP'],
  ['temperature.memory', 'DCGM_FI_DEV_MEMORY_TEMP'],
  ['power.draw', 'DCGM_FI_DEV_POWER_USAGE'],
  ['clocks.current.sm', 'DCGM_FI_DEV_SM_CLOCK'],
  ['clocks.current.memory', 'DCGM_FI_DEV_MEM_CLOCK'],
  ['fan.speed', 'DCGM_FI_DEV_FAN_SPEED'],
  ['pstate', 'DCGM_FI_DEV_PSTATE'],
  ['ecc.errors.uncorrected.volatile.total', 'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL'],
])
const NEEDED = ['timestamp', 'index', 'uuid', 'name'] as const

/** @throws RecordingError */
export function readSamples(file: string, text: string): RecordedReading[] {
  const [head = '', ...lines] = text.split(/\r?\n/)
  const columns = head.split(',').map((column) => column.trim().replace(/ \[.*\]$/, ''))
  for (const name of NEEDED)
    if (!columns.includes(name)) throw new RecordingError(`${file}, line 1: there is no column "${name}"`)
  if (!columns.some((column) => METRICS.has(column)))
    throw new RecordingError(`${file}, line 1: no column is a figure; there are ${[...METRICS.keys()].join(', ')}`)
  return lines.flatMap((line, i) => (line.trim() === '' ? [] : [readingOf(file, i + 2, columns, line.split(','))]))
}

function readingOf(file: string, line: number, columns: readonly string[], cells: readonly string[]): RecordedReading {
  if (cells.length !== columns.length)
    throw new RecordingError(`${file}, line ${line}: ${cells.length} cells under ${columns.length} columns`)
  const cell = (name: string): string => cells[columns.indexOf(name)]!.trim()
  const time = parseRfc3339(`${cell('timestamp').replaceAll('/', '-').replace(' ', 'T')}Z`)
  if (time === undefined)
    throw new RecordingError(`${file}, line ${line}: "${cell('timestamp')}" is no time such as 2026/11/21 00:01:39.395`)
  const values = new Map<string, number>()
  for (const column of columns) {
    const metric = METRICS.get(column)
    if (metric === undefined) continue
    const text = cell(column).replace(/^P(?=\d)/, '')
    if (text.startsWith('[')) continue // [N/A], [Not Supported]
    const value = Number.parseFloat(text)
    if (!Number.isFinite(value))
      throw new RecordingError(`${file}, line ${line}: "${cell(column)}" under ${column} is no number`)
    values.set(metric, value)
  }
  return { time, gpu: { index: cell('index'), uuid: cell('uuid'), model: cell('name') }, values }
}

/** @throws RecordingError */
export function readTasks(file: string, text: string): RecordedTask[] {
  const seen = new Map<string, number>()
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '') return []
    const task = taskOf(file, i + 1, line)
    const before = seen.get(task.taskId)
    if (before !== undefined)
      throw new RecordingError(`${file}, line ${i + 1}: task ${task.taskId} stands on line ${before} already`)
    seen.set(task.taskId, i + 1)
    return [task]
  })
}

function taskOf(file: string, line: number, text: string): RecordedTask {
  const wrong = (what: string): RecordingError => new RecordingError(`${file}, line ${line}: ${what}`)
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    throw wrong('no JSON')
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw wrong('expected an object')
  const fields = given as Readonly<Record<string, unknown>>
  const told = (name: string): string => {
    const value = fields[name]
    if (typeof value !== 'string' || value === '' || value.length > 8192) throw wrong(`"${name}": expected a text`)
    return value
  }
  const time = (name: string): number => {
    const ms = parseRfc3339(told(name))
    if (ms === undefined) throw wrong(`"${name}": expected a time such as 2026-11-21T00:01:50.209Z`)
    return ms
  }
  const { result, detail = '', tokens } = fields
  if (typeof result !== 'boolean') throw wrong('"result": expected true or false')
  if (typeof detail !== 'string') throw wrong('"detail": expected a text')
  if (tokens !== undefined && !(typeof tokens === 'number' && tokens >= 0))
    throw wrong('"tokens": expected a number of at least 0')
  const task = { taskId: told('task_id'), kind: told('kind'), start: time('start'), end: time('end') }
  if (task.end < task.start) throw wrong('it ends before it starts')
  return { ...task, result, detail, tokens }
}
