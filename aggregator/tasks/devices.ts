/** A node's GPUs and totals as step functions, made of the series that measure them. */
import type { Measure } from './metric-mapping.ts'
import type { Points } from './step-function.ts'
import { heldSteps, risingSteps, StepFunction, sumOf } from './step-function.ts'
import type { TaskRecord } from './task-record.ts'
import type { Measured } from './window.ts'
import { joined } from './window.ts'

export interface Holding {
  /** The usual time between two samples, ms. */
  readonly intervalMs: number
}

/** What measures something, and the samples themselves where they are values and no counts. */
export interface Measurement {
  readonly steps: StepFunction
  readonly points: Points | undefined
  /** Computed from power, though it counts. */
  readonly derived: boolean
}

export interface Gpu {
  /** Its UUID, or its index where nobody says the UUID. */
  readonly id: string
  /** All that it is called. */
  readonly names: ReadonlySet<string>
  /** Pods that its series name, as namespace/pod. */
  readonly pods: ReadonlySet<string>
  readonly measures: ReadonlyMap<Measure, Measurement>
  /** By process, where series of processes are there. */
  readonly processes: readonly {
    readonly process: string
    readonly pod: string | undefined
    readonly steps: StepFunction
  }[]
}

/** A sample holds for two and a half intervals at most; over a longer gap than ten nobody knows when a counter rose. */
export const HOLD_INTERVALS = 2.5
const GAP_INTERVALS = 10

export function gpusOf(measured: readonly Measured[], holding: Holding): Gpu[] {
  const own = measured.filter(({ scope, gpu }) => scope === 'gpu' && gpu.length > 0)
  return gpuGroups(own).map((series) => {
    const names = new Set(series.flatMap(({ gpu }) => gpu))
    const measures = new Map<Measure, Measurement>()
    for (const measure of new Set(series.map((one) => one.measure))) {
      if (measure === 'gpu_share') continue
      const found = preferred(series.filter((one) => one.measure === measure))
      measures.set(measure, measurementOf(found, joined(found.map(({ points }) => points)), holding))
    }
    return {
      id: [...names].sort((a, b) => b.length - a.length || (a < b ? -1 : 1))[0]!,
      names,
      pods: new Set(series.flatMap((one) => podName(one.namespace, one.pod) ?? [])),
      measures,
      processes: processesOf(series, holding),
    }
  })
}

/** The total of the node, or of a pod: series of the preferred metrics added up. */
export function totalOf(measured: readonly Measured[], measure: Measure, holding: Holding): Measurement | undefined {
  const all = measured.filter((one) => one.measure === measure)
  if (all.length === 0) return undefined
  // Reads and writes are two metrics of one measure: those of the preferred one's scope belong together.
  const { scope } = all.reduce((a, b) => (b.rank < a.rank ? b : a))
  const steps = all.filter((one) => one.scope === scope).map((one) => measurementOf([one], one.points, holding).steps)
  const [first] = all
  return {
    steps: sumOf(steps),
    points: all.length === 1 && first!.kind === 'gauge' ? first!.points : undefined,
    derived: false,
  }
}

/** Memory in use where only what is there and what is left is told. */
export function differenceOf(total: Measurement, left: Measurement): Measurement {
  const steps = left.steps.steps.flatMap((step) => {
    const whole = total.steps.at(step.from)
    return whole === undefined ? [] : [{ ...step, value: whole - step.value }]
  })
  return { steps: new StepFunction(steps), points: undefined, derived: false }
}

/** Series of the task's own pod, where there are some. */
export function ofPod(measured: readonly Measured[], { facts }: Pick<TaskRecord, 'facts'>): Measured[] {
  const { pod, namespace } = facts
  if (pod === undefined) return []
  return measured.filter(
    (one) => one.scope === 'pod' && one.pod === pod && (namespace === undefined || one.namespace === namespace),
  )
}

/** The GPUs of a task: those it names, those whose series name its pod, else all of the node. */
export function gpusOfTask(
  gpus: readonly Gpu[],
  { facts }: Pick<TaskRecord, 'facts'>,
): { gpus: Gpu[]; named: boolean } {
  if (facts.gpus !== undefined) {
    const wanted = facts.gpus
    return { gpus: gpus.filter(({ names }) => wanted.some((name) => names.has(name))), named: true }
  }
  const { pod, namespace } = facts
  const podded = pod === undefined ? [] : gpus.filter(({ pods }) => namesPod(pods, namespace, pod))
  return podded.length > 0 ? { gpus: podded, named: true } : { gpus: [...gpus], named: false }
}

/** How much of a GPU a task's own processes use. */
export function weightOn(gpu: Gpu, { facts }: Pick<TaskRecord, 'facts'>): StepFunction | undefined {
  const { pod, namespace, process } = facts
  const own = gpu.processes.filter(
    (one) =>
      (process !== undefined && one.process === process) ||
      (pod !== undefined && one.pod !== undefined && namesPod(new Set([one.pod]), namespace, pod)),
  )
  return own.length === 0 ? undefined : sumOf(own.map(({ steps }) => steps))
}

function namesPod(pods: ReadonlySet<string>, namespace: string | undefined, pod: string): boolean {
  return [...pods].some(
    (name) => name === podName(namespace, pod) || (namespace === undefined && name.endsWith(`/${pod}`)),
  )
}

function podName(namespace: string | undefined, pod: string | undefined): string | undefined {
  return pod === undefined ? undefined : `${namespace ?? ''}/${pod}`
}

/** Series that share a name of a GPU are of one GPU: one says its UUID and its index, another its index alone. */
function gpuGroups(series: readonly Measured[]): Measured[][] {
  const surest = [...series].sort((a, b) => b.gpu.length - a.gpu.length)
  const groups: { names: Set<string>; series: Measured[] }[] = []
  const byName = new Map<string, (typeof groups)[number]>()
  for (const one of surest) {
    const known = byName.get(one.gpu[0]!)
    if (known !== undefined) {
      known.series.push(one)
      continue
    }
    const group = { names: new Set(one.gpu), series: [one] }
    groups.push(group)
    for (const name of group.names) if (!byName.has(name)) byName.set(name, group)
  }
  return groups
    .map((group) => ({ first: [...group.names].sort()[0]!, series: group.series }))
    .sort((a, b) => (a.first < b.first ? -1 : 1))
    .map((group) => group.series)
}

function processesOf(series: readonly Measured[], holding: Holding): Gpu['processes'] {
  return series.flatMap((one) =>
    one.measure !== 'gpu_share' || one.process === undefined
      ? []
      : [
          {
            process: one.process,
            pod: podName(one.namespace, one.pod),
            steps: measurementOf([one], one.points, holding).steps,
          },
        ],
  )
}

function preferred(series: readonly Measured[]): Measured[] {
  const rank = Math.min(...series.map((one) => one.rank))
  return series
    .filter((one) => one.rank === rank)
    .sort((a, b) => (JSON.stringify(a.labels) < JSON.stringify(b.labels) ? -1 : 1))
}

function measurementOf(series: readonly Measured[], points: Points, { intervalMs }: Holding): Measurement {
  const interval = Math.max(intervalMs, medianGap(points))
  const derived = series.some((one) => one.derived)
  return series[0]!.kind === 'counter'
    ? { steps: risingSteps(points, GAP_INTERVALS * interval), points: undefined, derived }
    : { steps: heldSteps(points, HOLD_INTERVALS * interval), points, derived }
}

/** Who samples more slowly than is usual is not missing half of the time. */
function medianGap({ times }: Points): number {
  const gaps: number[] = []
  for (let i = 1; i < times.length; i++) gaps.push(times[i]! - times[i - 1]!)
  return medianOf(gaps)
}

/** 0: of too few to say. */
export function medianOf(gaps: readonly number[]): number {
  return gaps.length < 3 ? 0 : [...gaps].sort((a, b) => a - b)[gaps.length >> 1]!
}
