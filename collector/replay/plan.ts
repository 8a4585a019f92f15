/** What is sent of a recording, and when: pure. */
import type { FleetEvent } from '../../proto/events/event.ts'
import { uuidV5 } from '../../proto/events/uuid.ts'
import type { Sample } from '../host/figure.ts'
import type { RecordedReading, RecordedTask } from './recording.ts'

export interface Told {
  /** Name of the machine, as its samples and events have it. */
  readonly host: string
  readonly user: string
  readonly project: string
  /** Makes other ids of tasks and events; '': those of the recording. */
  readonly salt: string
}

/** In the order of time; `time` as it was recorded, ms. */
export type Step =
  | { readonly time: number; readonly reading: RecordedReading }
  | { readonly time: number; readonly task: RecordedTask; readonly end: boolean }

/** Made once, at random: the same recording has the same ids wherever it is replayed. */
const NAMESPACE = '5d5a0a2e6f0b4c628d0b7a1f53e0a4d9'

export function stepsOf(readings: readonly RecordedReading[], tasks: readonly RecordedTask[]): Step[] {
  return [
    ...readings.map((reading): Step => ({ time: reading.time, reading })),
    ...tasks.flatMap((task): Step[] => [
      { time: task.start, task, end: false },
      { time: task.end, task, end: true },
    ]),
  ].sort((a, b) => a.time - b.time)
}

/** @param shift added to all times, ms */
export function samplesOf({ time, gpu, values }: RecordedReading, { host }: Told, shift: number): Sample[] {
  const labels = { job: 'gpu', instance: host, Hostname: host, gpu: gpu.index, UUID: gpu.uuid, modelName: gpu.model }
  return [...values].map(([name, value]) => ({ name, labels, value, timestamp: time + shift }))
}

export function eventOf(task: RecordedTask, end: boolean, told: Told, shift: number): FleetEvent {
  const { host, user, project, salt } = told
  const taskId = taskIdOf(task, salt)
  const at = (ms: number): string => new Date(ms + shift).toISOString()
  return {
    event_id: eventIdOf(task, end, salt),
    event_type: end ? 'xumi.generation.complete' : 'xumi.generation.start',
    timestamp: at(end ? task.end : task.start),
    source: 'fleetmeter-replay',
    version: '1.0',
    user_id: user,
    tags: { project },
    task_id: taskId,
    model: task.kind,
    url: `recording://${host}/${task.kind}`,
    created: at(end ? task.end : task.start),
    prompt: '',
    node_id: uuidV5(NAMESPACE, `node ${host}`),
    host_name: host,
    vm_type: 'recorded',
    ...(end ? { start_generation: at(task.start), result: task.result, detail: task.detail } : {}),
    ...(end && task.tokens !== undefined ? { tokens: task.tokens } : {}),
  } as unknown as FleetEvent
}

export function taskIdOf({ taskId }: RecordedTask, salt: string): string {
  return salt === '' ? taskId : uuidV5(NAMESPACE, `task ${taskId} ${salt}`)
}

export function eventIdOf(task: RecordedTask, end: boolean, salt: string): string {
  return uuidV5(NAMESPACE, `${end ? 'complete' : 'start'} ${taskIdOf(task, salt)}`)
}
