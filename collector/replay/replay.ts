/** Replays a recording through a collector's doors. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sample } from '../host/figure.ts'
import type { ReplayArguments } from './arguments.ts'
import { Doors } from './doors.ts'
import type { Step, Told } from './plan.ts'
import { eventIdOf, eventOf, samplesOf, stepsOf, taskIdOf } from './plan.ts'
import type { RecordedTask } from './recording.ts'
import { RecordingError, readSamples, readTasks } from './recording.ts'

export interface Output {
  out(text: string): void
  err(text: string): void
  /** Progress is one line that changes; elsewhere a line now and then. */
  readonly terminal: boolean
}

interface Sums {
  samples: number
  accepted: number
  duplicate: number
  refused: number
}

/** As many samples go in one request. */
const SAMPLES_MAX = 5000
const PLAIN_EVERY_MS = 10_000

/** @throws RecordingError, DoorError */
export async function replay(given: ReplayArguments, output: Output): Promise<{ readonly refused: number }> {
  const directory = resolve(given.directory)
  const readings = readSamples('samples.csv', textOf(join(directory, 'samples.csv')))
  const tasks = readTasks('tasks.jsonl', textOf(join(directory, 'tasks.jsonl')))
  const steps = stepsOf(readings, tasks)
  if (steps.length === 0) throw new RecordingError(`${directory}: there is nothing in it`)
  const told: Told = {
    host: given.host ?? basename(directory),
    user: given.user,
    project: given.project,
    salt: given.newIds ? randomUUID() : '',
  }
  const doors = new Doors(given.url, given.token)
  const { shift, known } = await shiftOf(steps, tasks, told, doors, given.speed)
  if (known)
    output.out(
      `It was replayed before, to end at ${at(steps.at(-1)!.time + shift)}: the same again (--new-ids makes other tasks of it).\n`,
    )
  const sums = await send(steps, { told, shift, doors, speed: known ? Number.POSITIVE_INFINITY : given.speed, output })
  output.out(summary(given, told, tasks, sums))
  return sums
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new RecordingError(`${path} cannot be read: ${(error as Error).message}`)
  }
}

/** So that it ends when the replay does; what is known already stays where it is. */
async function shiftOf(
  steps: readonly Step[],
  tasks: readonly RecordedTask[],
  told: Told,
  doors: Doors,
  speed: number,
): Promise<{ shift: number; known: boolean }> {
  for (const task of told.salt === '' ? tasks : []) {
    const before = await doors.timeOf(eventIdOf(task, true, told.salt))
    if (before !== undefined) return { shift: before - task.end, known: true }
  }
  const [first, last] = [steps[0]!.time, steps.at(-1)!.time]
  return { shift: Date.now() + Math.ceil((last - first) / speed) - last, known: false }
}

interface Sending {
  readonly told: Told
  readonly shift: number
  readonly doors: Doors
  /** Times as fast as it was recorded. */
  readonly speed: number
  readonly output: Output
}

async function send(steps: readonly Step[], { told, shift, doors, speed, output }: Sending): Promise<Sums> {
  const sums: Sums = { samples: 0, accepted: 0, duplicate: 0, refused: 0 }
  const begun = performance.now()
  const first = steps[0]!.time
  let waiting: Sample[] = []
  let shown = begun
  const flush = async (): Promise<void> => {
    if (waiting.length === 0) return
    await doors.samples(waiting)
    sums.samples += waiting.length
    waiting = []
  }
  for (const [i, step] of steps.entries()) {
    const due = begun + (step.time - first) / speed
    if (due > performance.now()) {
      await flush()
      await sleep(due - performance.now())
    }
    if ('reading' in step) waiting.push(...samplesOf(step.reading, told, shift))
    if (!('reading' in step) || waiting.length >= SAMPLES_MAX) await flush()
    if ('task' in step) {
      const { status, why } = await doors.event(eventOf(step.task, step.end, told, shift))
      sums[status]++
      if (status === 'refused') output.err(`refused: ${why}\n`)
    }
    if (output.terminal) output.err(`\r${i + 1} of ${steps.length} `)
    else if (performance.now() - shown > PLAIN_EVERY_MS) {
      shown = performance.now()
      output.err(`${i + 1} of ${steps.length}\n`)
    }
  }
  await flush()
  if (output.terminal) output.err('\r\x1b[K')
  return sums
}

function summary({ url }: ReplayArguments, told: Told, tasks: readonly RecordedTask[], sums: Sums): string {
  const { samples, accepted, duplicate, refused } = sums
  const ask = `curl -s -H "Authorization: Bearer $(cat data/token)"`
  const [task] = tasks
  return [
    `${samples} samples of host ${told.host}, ${accepted + duplicate + refused} events of ${tasks.length} tasks: ${accepted} new, ${duplicate} duplicate, ${refused} refused.`,
    'Look at them:',
    `  ${ask} '${url}/v1/tasks?project=${encodeURIComponent(told.project)}'`,
    ...(task === undefined ? [] : [`  ${ask} '${url}/v1/tasks/${taskIdOf(task, told.salt)}'`]),
    `  ${ask} '${url}/v1/usage?group_by=project&format=csv'`,
    '',
  ].join('\n')
}

const at = (ms: number): string => new Date(ms).toISOString()
