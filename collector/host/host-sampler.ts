/**
 * This host's own figures, through the same door and shard as everybody's: the first data of a newcomer.
 *
 *     /proc, statfs ─────────────────┐
 *     stat -f (remote file systems) ─┼─▶ what came within 50 ms ──▶ one body ──▶ shard
 *     nvidia-smi, amd-smi, rocm-smi ─┘
 *
 * Each sample has the time at which it was read; nothing waits for a slow source. A source that cannot be read costs its own figures
 * and is named in {@link HostSampler.health}. Full shard: what came is dropped and counted; the next round has newer values.
 */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { TakeService } from '../shard/take-service.ts'
import { AmdGpus } from './amd-gpus.ts'
import type { Figure, Sample } from './figure.ts'
import { GpuFigures } from './gpu-reading.ts'
import type { GpuSource } from './gpu-source.ts'
import { NvidiaGpus } from './nvidia-gpus.ts'
import type { Pace } from './pace.ts'
import { bodyOf } from './sample-body.ts'
import { SystemFigures } from './system-figures.ts'
import type { Tool } from './tool.ts'

const GATHER_MS = 50
/** A host of 256 processors has 3,000 series: to write them at once would hold up everything else on this thread. */
const BODY_SAMPLES = 400
/** A GPU that computes is looked at each 5 s, or in the next slow round. */
const COMPUTING_ROUNDS = 1.5
const COMPUTING_MIN_MS = 15_000
/** What comes in between two bodies is a round or two: far beyond that something is wrong. */
const WAITING_SAMPLES_MAX = 200_000

export interface HostSamplerOptions {
  /** Value of the labels `instance` and `Hostname`. */
  readonly instance: string
  /** Value of `node_id` on nebula's names; undefined: without them. */
  readonly nodeId: string | undefined
  readonly gpus: boolean
  /** Processes on a GPU are a reason for fast rounds. */
  readonly fastWhileComputing: boolean
  readonly toolTimeoutMs: number
  /** Environment of the tools that are asked. */
  readonly toolEnv: Readonly<Record<string, string | undefined>>
  readonly tenant: string
  readonly clock: Clock
  readonly log: Logger
}

export class HostSampler implements Service {
  readonly name = 'host'
  readonly pace: Pace
  readonly #shard: Pick<TakeService, 'take'>
  readonly #options: HostSamplerOptions
  readonly #system: SystemFigures
  readonly #gpus: readonly GpuSource[]
  #waiting: Sample[] = []
  #gather: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #roundAt = 0
  #sending: Promise<void> = Promise.resolve()
  #stopped = false
  #dropped = 0

  constructor(shard: Pick<TakeService, 'take'>, pace: Pace, options: HostSamplerOptions) {
    const { clock, log, toolEnv: env, toolTimeoutMs: silentMs, instance: host, nodeId } = options
    this.#shard = shard
    this.pace = pace
    this.#options = options
    const tool = { env, silentMs, clock, log }
    this.#system = new SystemFigures(tool)
    const source = {
      tool,
      figures: new GpuFigures({ host, nodeId, slowMs: pace.slowMs, clock }),
      emit: (samples: readonly Sample[]) => this.#add(samples),
      computing: () => this.#computing(),
    }
    this.#gpus = options.gpus ? [new NvidiaGpus(source), new AmdGpus(source)] : []
    pace.onFaster = () => this.#schedule()
  }

  /** Bodies (of 400 samples at most) that found the shard full. */
  get dropped(): number {
    return this.#dropped
  }

  /** The programs that are asked for GPUs. */
  get tools(): readonly Tool[] {
    return this.#gpus.flatMap((source) => source.tools)
  }

  get gpuCount(): number {
    return this.#gpus.reduce((sum, source) => sum + source.count, 0)
  }

  /** File systems of the network that do not answer. */
  get unansweredFileSystems(): number {
    return this.#system.fileSystems.unanswered
  }

  async start(): Promise<void> {
    this.#tick()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await Promise.all([this.#round, this.#system.fileSystems.stop(), ...this.#gpus.map((source) => source.stop())])
    this.#send()
    await this.#sending
  }

  /** Always ready: a host without GPUs, or with tools that hang, is still a host. */
  health(): Health {
    const { intervalMs } = this.pace
    // Which task it is, is not for everybody who may ask for this.
    const reasons = new Set(this.pace.leases().map(({ reason }) => reason.split(':', 1)[0]))
    const told = [`every ${intervalMs} ms${reasons.size === 0 ? '' : ` (${[...reasons].join(', ')})`}`]
    if (this.gpuCount > 0) told.push(`GPUs: ${this.gpuCount}`)
    for (const { name, state, detail } of this.tools)
      if (state === 'failing' || state === 'silent') told.push(`${name}: ${detail}`)
      else if (state === 'absent') told.push(`${name} is not installed`)
    if (this.#system.missing.size > 0) told.push(`cannot read ${[...this.#system.missing].join(', ')}`)
    if (this.unansweredFileSystems > 0) told.push(`file systems that do not answer: ${this.unansweredFileSystems}`)
    return { ready: true, detail: told.join('; ') }
  }

  #computing(): void {
    if (this.#options.fastWhileComputing)
      this.pace.hold('gpu processes', Math.max(COMPUTING_MIN_MS, COMPUTING_ROUNDS * this.pace.slowMs))
  }

  #tick(): void {
    if (this.#stopped) return
    const { intervalMs } = this.pace
    this.#roundAt = this.#options.clock.monotonic()
    for (const source of this.#gpus) source.tick(intervalMs)
    // A round that outlasts the interval is not joined by another.
    this.#round ??= this.#system
      .round((figures) => this.#add(this.#ofSystem(figures)))
      .then((figures) => this.#add(this.#ofSystem(figures)))
      .finally(() => {
        this.#round = undefined
      })
    this.#schedule()
  }

  /** The next round: one interval, as it is now, after the last. */
  #schedule(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    const left = this.#roundAt + this.pace.intervalMs - this.#options.clock.monotonic()
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, left))
  }

  #ofSystem(figures: readonly Figure[]): Sample[] {
    const timestamp = this.#options.clock.now()
    const own = { instance: this.#options.instance, job: 'node' }
    return figures.map(({ name, labels, value }) => ({ name, labels: { ...own, ...labels }, value, timestamp }))
  }

  #add(samples: readonly Sample[]): void {
    for (const sample of samples)
      if (Number.isFinite(sample.value) && this.#waiting.length < WAITING_SAMPLES_MAX) this.#waiting.push(sample)
    if (this.#waiting.length > 0 && !this.#stopped) this.#gather ??= setTimeout(() => this.#send(), GATHER_MS)
  }

  #send(): void {
    clearTimeout(this.#gather)
    this.#gather = undefined
    const samples = this.#waiting
    this.#waiting = []
    if (samples.length > 0) this.#sending = this.#sending.then(() => this.#sendAll(samples))
  }

  async #sendAll(samples: readonly Sample[]): Promise<void> {
    const { tenant } = this.#options
    for (let at = 0; at < samples.length; at += BODY_SAMPLES) {
      if (at > 0) await setImmediate()
      const body = bodyOf(samples.slice(at, at + BODY_SAMPLES))
      const outcome = await this.#shard.take({ door: 'host', tenant, sender: 'host', body })
      if (outcome.kind !== 'ok') this.#dropped++
    }
  }
}
