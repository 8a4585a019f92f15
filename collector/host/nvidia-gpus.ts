/**
 * NVIDIA's GPUs and the processes that compute on them, by `nvidia-smi`.
 *
 * Slow rounds start it each time: a process that stays would hold the device, which then could not be reset nor its driver changed.
 * Below {@link STAYS_BELOW_MS} one stays and prints a row in each round (`-lms`): to start one costs this process 7 ms of CPU, and
 * nvidia-smi much more the more GPUs there are. Whoever wants fast rounds holds the GPU anyway.
 */
import { processesIn } from './gpu-processes.ts'
import type { GpuReading } from './gpu-reading.ts'
import type { GpuSource, GpuSourceOptions } from './gpu-source.ts'
import { processSamples } from './gpu-source.ts'
import { deviceOf } from './nvidia-device.ts'
import type { GpuQuery } from './nvidia-fields.ts'
import { gpuQuery, refusedField } from './nvidia-fields.ts'
import { Tool } from './tool.ts'

const STAYS_BELOW_MS = 5000
const PROCESSES_EVERY_MS = 5000
/** Fields that a driver lists and refuses all the same. */
const REFUSED_MAX = 50

export class NvidiaGpus implements GpuSource {
  readonly #options: GpuSourceOptions
  readonly #gpus: Tool
  readonly #processes: Tool
  readonly #known = new Map<string, GpuReading>()
  /** Rows of the round that is under way, by UUID. */
  readonly #round = new Set<string>()
  #query: GpuQuery | undefined
  #stays: number | undefined
  #processesAt = Number.NEGATIVE_INFINITY

  constructor(options: GpuSourceOptions) {
    this.#options = options
    this.#gpus = new Tool({ ...options.tool, names: ['nvidia-smi'] })
    this.#processes = new Tool({ ...options.tool, names: ['nvidia-smi'], subject: 'processes' })
  }

  get tools(): readonly Tool[] {
    return [this.#gpus, this.#processes]
  }

  get count(): number {
    return this.#gpus.state === 'answering' ? this.#known.size : 0
  }

  tick(intervalMs: number): void {
    const stays = intervalMs < STAYS_BELOW_MS ? intervalMs : undefined
    if (this.#stays !== undefined && this.#stays !== stays) this.#gpus.quit()
    else if (this.#gpus.due) void this.#askGpus(stays)
    const { clock } = this.#options.tool
    if (this.#gpus.state !== 'answering' || !this.#processes.due) return
    if (clock.monotonic() - this.#processesAt < PROCESSES_EVERY_MS) return
    this.#processesAt = clock.monotonic()
    void this.#askProcesses()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#gpus.stop(), this.#processes.stop()])
  }

  async #askGpus(stays: number | undefined): Promise<void> {
    this.#query ??= await this.#chooseFields(new Set())
    const refused = new Set<string>()
    while (this.#query !== undefined && refused.size <= REFUSED_MAX) {
      this.#stays = stays
      const answer = await this.#gpus.ask({
        args: [
          `--query-gpu=${this.#query.text}`,
          '--format=csv,noheader,nounits',
          ...(stays === undefined ? [] : ['-lms', String(stays)]),
        ],
        onLine: (line) => this.#row(line),
        ...(stays === undefined ? {} : { everyMs: stays }),
      })
      this.#stays = undefined
      const rows = this.#round.size
      this.#endRound()
      if (answer.kind === 'quit') return
      if (answer.kind === 'ok') {
        if (rows === 0) this.#gpus.useless(`it named no GPU: ${answer.output.trim().slice(0, 200)}`)
        return
      }
      // The driver may be another one when it answers again.
      this.#query = undefined
      const field = answer.kind === 'failed' ? refusedField(answer.output) : undefined
      if (field === undefined || refused.has(field)) return
      refused.add(field)
      this.#query = await this.#chooseFields(refused)
    }
  }

  async #chooseFields(refused: ReadonlySet<string>): Promise<GpuQuery | undefined> {
    const help = await this.#gpus.ask({ args: ['--help-query-gpu'] })
    if (help.kind === 'ok') return gpuQuery(help.output, refused)
    return help.kind === 'failed' && this.#gpus.state !== 'silent' ? gpuQuery('', refused) : undefined
  }

  #row(line: string): boolean {
    const read = this.#query?.read(line)
    if (read === undefined) return false
    const device = this.#known.get(read.uuid)?.device ?? deviceOf(read.pciBusId, read.index)
    const reading = { ...read, device }
    if (this.#round.has(reading.uuid)) this.#endRound()
    this.#round.add(reading.uuid)
    this.#known.set(reading.uuid, reading)
    this.#options.emit(this.#options.figures.of(reading))
    return true
  }

  /** GPUs that were not in the round are gone. */
  #endRound(): void {
    if (this.#round.size > 0)
      for (const uuid of this.#known.keys()) if (!this.#round.has(uuid)) this.#known.delete(uuid)
    this.#round.clear()
  }

  async #askProcesses(): Promise<void> {
    const fields = 'gpu_uuid,pid,used_gpu_memory,process_name'
    const answer = await this.#processes.ask({
      args: [`--query-compute-apps=${fields}`, '--format=csv,noheader,nounits'],
    })
    if (answer.kind !== 'ok') return
    this.#processes.answered()
    this.#options.emit(processSamples(this.#options, processesIn(answer.output), this.#known))
  }
}
