/**
 * AMD's GPUs and the processes that compute on them, by `amd-smi`, or `rocm-smi` where that is all there is. Both are programs in Python
 * that are started each time, so they set their own bound: they may run a tenth of the time.
 */
import { amdIdentities, amdProcesses, amdSmiReadings, rocmSmiReadings } from './amd-readings.ts'
import type { GpuReading } from './gpu-reading.ts'
import type { GpuSource, GpuSourceOptions } from './gpu-source.ts'
import { processSamples } from './gpu-source.ts'
import type { Answer } from './tool.ts'
import { Tool } from './tool.ts'

const ROCM = ['/opt/rocm/bin']
const ROCM_SMI_ARGS = [
  '--showuse',
  '--showmeminfo',
  'vram',
  '--showtemp',
  '--showpower',
  '--showclocks',
  '--showfan',
  '--showuniqueid',
  '--showbus',
  '--showproductname',
  '--showdriverversion',
  '--showreplaycount',
  '--json',
]
const PROCESSES_EVERY_MS = 5000
/** Pause after an answer, as a multiple of what it took. */
const REST = 9

type Identity = Omit<GpuReading, 'values'>

export class AmdGpus implements GpuSource {
  readonly #options: GpuSourceOptions
  readonly #amdSmi: Tool
  readonly #rocmSmi: Tool
  #identities: ReadonlyMap<string, Identity> = new Map()
  #count = 0
  #processesAt = Number.NEGATIVE_INFINITY

  constructor(options: GpuSourceOptions) {
    this.#options = options
    this.#amdSmi = new Tool({ ...options.tool, names: ['amd-smi'], folders: ROCM })
    this.#rocmSmi = new Tool({ ...options.tool, names: ['rocm-smi'], folders: ROCM })
  }

  get tools(): readonly Tool[] {
    return [this.#amdSmi, this.#rocmSmi]
  }

  get count(): number {
    return this.tools.some((tool) => tool.state === 'answering') ? this.#count : 0
  }

  tick(): void {
    if (this.#amdSmi.due) void this.#askAmdSmi()
    else if (this.#amdSmi.state === 'absent' && this.#rocmSmi.due) void this.#askRocmSmi()
  }

  async stop(): Promise<void> {
    await Promise.all(this.tools.map((tool) => tool.stop()))
  }

  async #askAmdSmi(): Promise<void> {
    const ask = (...args: string[]): Promise<Answer> => this.#timed(this.#amdSmi, [...args, '--json'])
    if (this.#identities.size === 0) {
      const list = await ask('list')
      const asic = list.kind === 'ok' ? await ask('static', '--asic') : list
      if (list.kind !== 'ok') return
      this.#identities = amdIdentities(list.output, asic.kind === 'ok' ? asic.output : '')
    }
    const metric = await ask('metric')
    this.#emit(this.#amdSmi, metric, (output) => amdSmiReadings(output, this.#identities))
    const { clock } = this.#options.tool
    if (metric.kind !== 'ok' || clock.monotonic() - this.#processesAt < PROCESSES_EVERY_MS) return
    this.#processesAt = clock.monotonic()
    const processes = await ask('process')
    if (processes.kind !== 'ok') return
    const byUuid = new Map([...this.#identities.values()].map((gpu) => [gpu.uuid, gpu]))
    this.#options.emit(processSamples(this.#options, amdProcesses(processes.output, this.#identities), byUuid))
  }

  async #askRocmSmi(): Promise<void> {
    this.#emit(this.#rocmSmi, await this.#timed(this.#rocmSmi, ROCM_SMI_ARGS), rocmSmiReadings)
  }

  #emit(tool: Tool, answer: Answer, read: (output: string) => GpuReading[]): void {
    // Numbers may mean other GPUs when it answers again.
    if (answer.kind !== 'ok') this.#identities = new Map()
    if (answer.kind !== 'ok') return
    const readings = read(answer.output)
    this.#count = readings.length
    if (readings.length === 0) {
      tool.useless('what it printed names no GPU')
      return
    }
    tool.answered()
    this.#options.emit(readings.flatMap((reading) => this.#options.figures.of(reading)))
  }

  async #timed(tool: Tool, args: readonly string[]): Promise<Answer> {
    const { clock } = this.#options.tool
    const since = clock.monotonic()
    const answer = await tool.ask({ args })
    tool.rest(REST * (clock.monotonic() - since))
    return answer
  }
}
