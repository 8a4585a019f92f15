/**
 * What an attempt used: figures of its window, and absolute amounts by slot. A pure function of the attempt, of those that were on
 * its node meanwhile, and of the samples; calculated again it replaces.
 */
import type { Gpu, Measurement } from './devices.ts'
import { differenceOf, gpusOf, gpusOfTask, ofPod, totalOf, weightOn } from './devices.ts'
import type { Figure } from './figure.ts'
import { COVERAGE_MIN, figureOf } from './figure.ts'
import type { Measure, MetricMapping } from './metric-mapping.ts'
import type { Series } from './series-source.ts'
import type { Delivered, Division, Holder, Share } from './shares.ts'
import { deliveredBy, deliveredTime, sharesOf, slotOf } from './shares.ts'
import type { Span, StepFunction } from './step-function.ts'
import { TaskBill } from './task-bill.ts'
import type { TaskCost } from './task-details.ts'
import type { TaskPrices } from './task-prices.ts'
import type { TaskRecord } from './task-record.ts'
import type { UsageAmount, UsageResource } from './usage-out.ts'
import { measuredOf } from './window.ts'

export interface CalculationInput {
  /** Started. */
  readonly record: TaskRecord
  /** Attempts on the node at some time in the window; the own one may be among them. */
  readonly neighbours: readonly TaskRecord[]
  /** All names of the node. */
  readonly nodeNames: readonly string[]
  readonly series: readonly Series[]
  readonly mapping: MetricMapping
  /** The usual time between two samples, ms. */
  readonly intervalMs: number
  /** Up to when open attempts have been going on, ms. */
  readonly now: number
  /** Where it ran. */
  readonly prices: TaskPrices
}

/** A quantity of the whole window. Null where less than half of it has data; never zero for want of data. */
export interface Quantity {
  readonly value: number | null
  readonly unit: string
  /** Share of the window that has data, 0 to 1. */
  readonly coverage: number
  /** How it was found: what was measured, and how it was divided where others were there too. */
  readonly method: string
  readonly confidence: 'full' | 'low'
}

export interface GpuFigures {
  readonly gpu: string
  readonly figures: Readonly<Partial<Record<Measure, Figure>>>
}

export interface Calculation {
  readonly window: Span
  readonly gpus: readonly GpuFigures[]
  readonly node: Readonly<Partial<Record<Measure, Figure>>>
  readonly usage: Readonly<Record<QuantityName, Quantity>>
  readonly amounts: readonly UsageAmount[]
  readonly flags: readonly CalculationFlag[]
}

export type CalculationFlag =
  | 'shared_equally' // others were on the GPU and nothing says who used how much
  | 'gpus_of_node' // neither the events nor labels say which GPUs: all of the node's
  | 'node_shared' // CPU, disk or network are the node's, divided among those that were on it
  | 'no_samples' // of the node, in the window
  | 'open' // it has not ended

export type QuantityName =
  | 'gpu_seconds_held'
  | 'gpu_seconds_busy'
  | 'gpu_idle_share'
  | 'gpu_memory_peak'
  | 'energy'
  | 'cpu_core_seconds'
  | 'memory_peak'
  | 'disk_bytes'
  | 'network_bytes'
  | 'tokens_in'
  | 'tokens_out'
  | 'load_seconds'
  | 'queue_seconds'

/** How far before a window its samples are read: a slot, and what may hold at its start. */
export function readSpanOf({ from, to }: Span, intervalMs: number): Span {
  return { from: slotOf(from) - 10 * intervalMs, to: to + 2 * intervalMs }
}

export function windowOf({ startedAt, endedAt }: TaskRecord, now: number): Span {
  const from = startedAt ?? now
  return { from, to: Math.max(from, endedAt ?? now) }
}

export function calculate(input: CalculationInput): Calculation & { readonly cost: TaskCost } {
  return new Run(input).result()
}

const keyOf = ({ taskId, attempt }: TaskRecord): string => `${taskId}/${attempt}`

/** Resources that samples tell of. */
const MEASURED_AS = {
  gpu_seconds: ['gpu_seconds_held', 'gpu'],
  gpu_busy_seconds: ['gpu_seconds_busy', 'gpu'],
  energy: ['energy', 'gpu'],
  cpu_core_seconds: ['cpu_core_seconds', 'node'],
  disk_bytes: ['disk_bytes', 'node'],
  transfer_bytes: ['network_bytes', 'node'],
} as const satisfies Partial<Record<UsageResource, readonly [QuantityName, 'gpu' | 'node']>>

/** Units of an amount in one of the measure. */
const MICRO = 1_000_000

class Run {
  readonly #input: CalculationInput
  readonly #window: Span
  readonly #key: string
  readonly #others: readonly TaskRecord[]
  readonly #gpus: readonly Gpu[]
  readonly #own: readonly Gpu[]
  readonly #flags = new Set<CalculationFlag>()
  readonly #amounts = new Map<string, UsageAmount>()
  readonly #node = new Map<Measure, Figure>()
  readonly #bill: TaskBill
  readonly #measured: ReturnType<typeof measuredOf>

  constructor(input: CalculationInput) {
    this.#input = input
    const { record, neighbours, now, mapping, nodeNames, series } = input
    this.#window = windowOf(record, now)
    this.#key = keyOf(record)
    this.#bill = new TaskBill(this.#key, this.#window, input.prices)
    this.#others = neighbours.filter((other) => keyOf(other) !== this.#key && other.startedAt !== undefined)
    this.#measured = measuredOf(mapping, nodeNames, series)
    this.#gpus = gpusOf(this.#measured, input)
    const { gpus, named } = gpusOfTask(this.#gpus, record)
    this.#own = gpus
    if (!named && gpus.length > 0) this.#flags.add('gpus_of_node')
    if (this.#measured.length === 0) this.#flags.add('no_samples')
    if (record.endedAt === undefined) this.#flags.add('open')
  }

  result(): ReturnType<typeof calculate> {
    const usage = { ...this.#gpuUsage(), ...this.#nodeUsage(), ...this.#toldUsage() }
    const amounts = [...this.#amounts.values()].filter(({ amount }) => amount !== 0)
    const bill = this.#bill.total(amounts, this.#unknown(usage))
    return {
      window: this.#window,
      gpus: this.#own.map((gpu) => ({ gpu: gpu.id, figures: this.#figuresOf(gpu) })),
      node: Object.fromEntries(this.#node),
      usage,
      amounts: bill.amounts,
      flags: [...this.#flags].sort(),
      cost: bill.cost,
    }
  }

  /** What it may have used without anybody knowing how much. A machine whose samples name no GPU has none. */
  #unknown(usage: Calculation['usage']): UsageResource[] {
    const unseen = this.#own.length > 0 || this.#flags.has('no_samples')
    const unknown = (Object.keys(MEASURED_AS) as (keyof typeof MEASURED_AS)[]).filter((resource) => {
      const [quantity, of] = MEASURED_AS[resource]
      return usage[quantity].value === null && (of === 'node' || unseen)
    })
    return unknown
  }

  #figuresOf(gpu: Gpu): GpuFigures['figures'] {
    return Object.fromEntries(
      [...gpu.measures].map(([measure, { steps, points }]) => [measure, figureOf(steps, points, this.#window)]),
    )
  }

  #gpuUsage(): Pick<
    Calculation['usage'],
    'gpu_seconds_held' | 'gpu_seconds_busy' | 'gpu_idle_share' | 'gpu_memory_peak' | 'energy'
  > {
    const told = this.#input.record.facts.gpus?.length ?? 0
    const known = this.#own.length > 0
    // GPUs that are named and have no series are held all the same.
    const unseen = Math.max(0, told - this.#own.length)
    const held = this.#part('gpu_seconds', () => deliveredTime)
    const unseenSeconds = (unseen * (this.#window.to - this.#window.from)) / 1000
    const heldSeconds = known || unseen > 0 ? held.amount / MICRO + unseenSeconds : null
    for (let i = 0; i < unseen; i++) this.#alone('gpu_seconds', deliveredTime)
    const busy = this.#part('gpu_busy_seconds', (gpu) => this.#delivery(gpu, 'gpu_utilization', MICRO))
    const energy = this.#part('energy', (gpu) => this.#delivery(gpu, energyMeasure(gpu), MICRO / 3600))
    const busySeconds = busy.coverage < COVERAGE_MIN ? null : busy.amount / MICRO
    const peaks = this.#own.map((gpu) => this.#figure(gpu, 'gpu_memory_used'))
    const coverage = (name: Measure): number => this.#coverage(this.#own.map((gpu) => gpu.measures.get(name)))
    const sampled = (name: Measure): Quantity['confidence'] =>
      this.#own.every((gpu) => this.#figure(gpu, name)?.confidence === 'full') && known ? 'full' : 'low'
    const methods = new Set(this.#own.map(energyMethod))
    return {
      gpu_seconds_held: {
        ...quantity(heldSeconds, 's', heldSeconds === null ? 0 : 1, held.method),
        confidence: heldSeconds === null ? 'low' : 'full',
      },
      gpu_seconds_busy: {
        ...quantity(busySeconds, 's', busy.coverage, busy.method),
        confidence: sampled('gpu_utilization'),
      },
      gpu_idle_share: {
        ...quantity(idleShare(heldSeconds, busySeconds), '1', busy.coverage, busy.method),
        confidence: sampled('gpu_utilization'),
      },
      gpu_memory_peak: {
        ...quantity(highest(peaks), 'B', coverage('gpu_memory_used'), 'device'),
        confidence: sampled('gpu_memory_used'),
      },
      energy: {
        ...quantity(
          energy.coverage < COVERAGE_MIN ? null : energy.amount / MICRO,
          'Wh',
          energy.coverage,
          `${[...methods].sort().join('+') || 'none'}, ${energy.method}`,
        ),
        confidence:
          this.#own.every((gpu) => this.#figure(gpu, energyMeasure(gpu))?.confidence === 'full') && known
            ? 'full'
            : 'low',
      },
    }
  }

  #nodeUsage(): Pick<Calculation['usage'], 'cpu_core_seconds' | 'memory_peak' | 'disk_bytes' | 'network_bytes'> {
    const counted = (measure: Measure, resource: UsageResource, unit: string, scale: number): Quantity => {
      const found = this.#total(measure)
      if (found === undefined) return { ...quantity(null, unit, 0, 'none'), confidence: 'low' }
      const figure = figureOf(found.steps, undefined, this.#window)
      this.#node.set(measure, figure)
      if (figure.coverage < COVERAGE_MIN)
        return { ...quantity(null, unit, figure.coverage, found.of), confidence: 'low' }
      const delivered = deliveredBy(found.steps, scale)
      if (found.of === 'pod') {
        const amount = this.#alone(resource, delivered)
        return { ...quantity(amount / scale, unit, figure.coverage, 'pod'), confidence: figure.confidence }
      }
      const holders = [this.#holder(this.#input.record), ...this.#others.map((o) => this.#holder(o))]
      const { amount, division } = this.#take(resource, this.#shares(resource, holders, delivered))
      this.#flags.add('node_shared')
      return { ...quantity(amount / scale, unit, figure.coverage, `node, ${division}`), confidence: figure.confidence }
    }
    const memory = this.#total('memory_used')
    const figure = memory === undefined ? undefined : figureOf(memory.steps, memory.points, this.#window)
    if (figure !== undefined) this.#node.set('memory_used', figure)
    return {
      cpu_core_seconds: counted('cpu', 'cpu_core_seconds', 's', MICRO),
      memory_peak: {
        ...quantity(figure?.max ?? null, 'B', figure?.coverage ?? 0, memory?.of ?? 'none'),
        confidence: figure?.confidence ?? 'low',
      },
      disk_bytes: counted('disk', 'disk_bytes', 'B', 1),
      network_bytes: counted('network', 'transfer_bytes', 'B', 1),
    }
  }

  /** What events say themselves. */
  #toldUsage(): Pick<Calculation['usage'], 'tokens_in' | 'tokens_out' | 'load_seconds' | 'queue_seconds'> {
    const { facts, loads, queuedAt, startedAt, endedAt } = this.#input.record
    const tokens =
      facts.tokensIn === undefined && facts.tokensOut === undefined
        ? facts.tokens
        : (facts.tokensIn ?? 0) + (facts.tokensOut ?? 0)
    if (tokens !== undefined) this.#at('tokens', endedAt ?? this.#window.to, Math.round(tokens))
    if (startedAt !== undefined) this.#at('tasks', startedAt, 1)
    this.#phase('queue_seconds', queuedAt, startedAt)
    for (const { startedAt: from, endedAt: to } of loads) this.#phase('load_seconds', from, to)
    const load = loads.reduce(
      (sum, { startedAt: from, endedAt: to }) => sum + (from === undefined || to === undefined ? 0 : to - from),
      0,
    )
    const told = (value: number | undefined, unit: string): Quantity => ({
      ...quantity(value ?? null, unit, value === undefined ? 0 : 1, value === undefined ? 'none' : 'event'),
      confidence: value === undefined ? 'low' : 'full',
    })
    return {
      tokens_in: told(facts.tokensIn, '1'),
      tokens_out: told(facts.tokensOut ?? (facts.tokensIn === undefined ? facts.tokens : undefined), '1'),
      load_seconds: told(
        loads.some((l) => l.startedAt !== undefined && l.endedAt !== undefined) ? load / 1000 : undefined,
        's',
      ),
      queue_seconds: told(
        queuedAt === undefined || startedAt === undefined ? undefined : (startedAt - queuedAt) / 1000,
        's',
      ),
    }
  }

  /** The task's part of what its GPUs delivered. */
  #part(
    resource: UsageResource,
    delivery: (gpu: Gpu) => Delivered | undefined,
  ): { amount: number; coverage: number; method: Division } {
    const measure: Measure | undefined = resource === 'gpu_busy_seconds' ? 'gpu_utilization' : undefined
    const coverage =
      resource === 'gpu_seconds'
        ? 1
        : this.#coverage(this.#own.map((gpu) => gpu.measures.get(measure ?? energyMeasure(gpu))))
    if (coverage < COVERAGE_MIN) return { amount: 0, coverage, method: 'alone' }
    const taken: Share[] = []
    for (const gpu of this.#own) {
      const delivered = delivery(gpu)
      if (delivered === undefined) continue
      const holders = [
        this.#holder(this.#input.record, gpu),
        ...this.#others.filter((o) => gpusOfTask(this.#gpus, o).gpus.includes(gpu)).map((o) => this.#holder(o, gpu)),
      ]
      taken.push(...this.#shares(resource, holders, delivered))
    }
    const { amount, division } = this.#take(resource, taken)
    if (division === 'equal') this.#flags.add('shared_equally')
    return { amount, coverage, method: division }
  }

  #delivery(gpu: Gpu, measure: Measure, scale: number): Delivered | undefined {
    const found = gpu.measures.get(measure)
    return found === undefined ? undefined : deliveredBy(found.steps, scale)
  }

  #take(resource: UsageResource, shares: readonly Share[]): { amount: number; division: Division } {
    let amount = 0
    let division: Division = 'alone'
    for (const share of shares) {
      if (share.key !== this.#key) continue
      amount += share.amount
      if (share.division === 'equal' || division === 'alone') division = share.division
      this.#add(resource, share.slot, share.amount)
    }
    return { amount, division }
  }

  #alone(resource: UsageResource, delivered: Delivered): number {
    return this.#take(resource, this.#shares(resource, [this.#holder(this.#input.record)], delivered)).amount
  }

  #shares(resource: UsageResource, holders: readonly Holder[], delivered: Delivered): Share[] {
    this.#bill.share(resource, holders, delivered)
    return sharesOf(holders, delivered, this.#window)
  }

  /** At once. */
  #at(resource: UsageResource, time: number, amount: number): void {
    this.#add(resource, slotOf(time), amount)
    this.#bill.at(resource, time, amount)
  }

  /** A time before it ran. */
  #phase(resource: UsageResource, from: number | undefined, to: number | undefined): void {
    if (from === undefined || to === undefined || to <= from) return
    const holders = [{ key: this.#key, from, to }]
    this.#take(resource, sharesOf(holders, deliveredTime, { from, to }))
    this.#bill.share(resource, holders, deliveredTime, { from, to })
  }

  #add(resource: UsageResource, slot: number, amount: number): void {
    const key = `${resource} ${slot}`
    this.#amounts.set(key, { resource, slot, amount: (this.#amounts.get(key)?.amount ?? 0) + amount })
  }

  #holder(record: TaskRecord, gpu?: Gpu): Holder {
    const weight = gpu === undefined ? undefined : weightOn(gpu, record)
    return { key: keyOf(record), ...windowOf(record, this.#input.now), ...(weight === undefined ? {} : { weight }) }
  }

  /** Of the pod where it has series, else of the node. */
  #total(measure: Measure): (Measurement & { readonly of: 'pod' | 'node' }) | undefined {
    const pod = totalOf(ofPod(this.#measured, this.#input.record), measure, this.#input)
    if (pod !== undefined) return { ...pod, of: 'pod' }
    const onNode = this.#measured.filter(({ scope }) => scope === 'node')
    const node = totalOf(onNode, measure, this.#input)
    if (node !== undefined) return { ...node, of: 'node' }
    if (measure !== 'memory_used') return undefined
    const [whole, left] = [
      totalOf(onNode, 'memory_total', this.#input),
      totalOf(onNode, 'memory_available', this.#input),
    ]
    return whole === undefined || left === undefined ? undefined : { ...differenceOf(whole, left), of: 'node' }
  }

  #figure(gpu: Gpu, measure: Measure): Figure | undefined {
    const found = gpu.measures.get(measure)
    return found === undefined ? undefined : figureOf(found.steps, found.points, this.#window)
  }

  /** Of all GPUs together; one without series counts as not covered. */
  #coverage(measurements: readonly (Measurement | undefined)[]): number {
    if (measurements.length === 0) return 0
    const each = measurements.map((m) => (m === undefined ? 0 : coverageOf(m.steps, this.#window)))
    return each.reduce((sum, coverage) => sum + coverage, 0) / each.length
  }
}

function coverageOf(steps: StepFunction, window: Span): number {
  return figureOf(steps, undefined, window).coverage
}

function quantity(value: number | null, unit: string, coverage: number, method: string): Omit<Quantity, 'confidence'> {
  return { value, unit, coverage, method }
}

function idleShare(held: number | null, busy: number | null): number | null {
  return held === null || busy === null || held === 0 ? null : Math.max(0, 1 - busy / held)
}

function highest(figures: readonly (Figure | undefined)[]): number | null {
  const values = figures.flatMap((figure) => figure?.max ?? [])
  return values.length === 0 ? null : Math.max(...values)
}

/** The counter where there is one that has counted; else power, held from sample to sample. */
function energyMeasure(gpu: Gpu): Measure {
  return (gpu.measures.get('gpu_energy')?.steps.steps.length ?? 0) > 0 ? 'gpu_energy' : 'gpu_power'
}

function energyMethod(gpu: Gpu): string {
  if (energyMeasure(gpu) === 'gpu_power') return gpu.measures.has('gpu_power') ? 'power' : 'none'
  return gpu.measures.get('gpu_energy')?.derived === true ? 'power' : 'counter'
}
