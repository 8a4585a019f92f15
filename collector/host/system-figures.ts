/** The system's own figures: on Linux from /proc; elsewhere processors, memory and load from the runtime. */
import { readFile } from 'node:fs/promises'
import { cpus, freemem, loadavg, platform, totalmem } from 'node:os'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { CpuCounters } from './cpu-counters.ts'
import type { Figure } from './figure.ts'
import { figure } from './figure.ts'
import { FileSystems } from './file-systems.ts'
import {
  cpuFigures,
  diskFigures,
  loadFigures,
  memoryFigures,
  networkFigures,
  pressureFigures,
  vmstatFigures,
} from './proc.ts'
import type { ToolOptions } from './tool.ts'

const PRESSURE = ['cpu', 'io', 'memory', 'irq'] as const

export class SystemFigures {
  readonly fileSystems: FileSystems
  readonly #log: Logger
  readonly #cpu = new CpuCounters()
  /** Sources that could not be read the last time: said once each. */
  readonly #missing = new Set<string>()

  constructor(tool: Omit<ToolOptions, 'names'>) {
    this.fileSystems = new FileSystems(tool)
    this.#log = tool.log
  }

  /** Sources that could not be read in the last round. */
  get missing(): ReadonlySet<string> {
    return this.#missing
  }

  /**
   * All figures of this moment. A source that cannot be read costs its own figures.
   * @param later called with figures that take their time
   */
  async round(later: (figures: readonly Figure[]) => void): Promise<Figure[]> {
    if (platform() !== 'linux') return portableFigures()
    const groups = await Promise.all([
      this.#from('/proc/stat', async (path) => this.#cpu.hold(cpuFigures(await text(path)))),
      this.#from('/proc/loadavg', async (path) => loadFigures(await text(path))),
      this.#from('/proc/meminfo', async (path) => memoryFigures(await text(path))),
      this.#from('/proc/vmstat', async (path) => vmstatFigures(await text(path))),
      this.#from('/proc/diskstats', async (path) => diskFigures(await text(path))),
      this.#from('/proc/net/dev', async (path) => networkFigures(await text(path))),
      ...PRESSURE.map((resource) =>
        this.#from(`/proc/pressure/${resource}`, async (path) => pressureFigures(resource, await text(path))),
      ),
      this.#from('/proc/mounts', () => this.fileSystems.figures(later)),
    ])
    return groups.flat()
  }

  async #from(path: string, read: (path: string) => Promise<Figure[]>): Promise<Figure[]> {
    try {
      const figures = await read(path)
      if (this.#missing.delete(path)) this.#log.info({ path }, 'host figures can be read again')
      return figures
    } catch (error) {
      if (!this.#missing.has(path)) this.#log.info({ path, error: messageOf(error) }, 'host figures cannot be read')
      this.#missing.add(path)
      return []
    }
  }
}

function text(path: string): Promise<string> {
  return readFile(path, 'utf8')
}

/** What the runtime knows on every system. */
function portableFigures(): Figure[] {
  const modes = { user: 'user', nice: 'nice', sys: 'system', idle: 'idle', irq: 'irq' } as const
  return [
    figure('node_memory_total_bytes', totalmem()),
    figure('node_memory_free_bytes', freemem()),
    ...loadavg().map((value, i) => figure(['node_load1', 'node_load5', 'node_load15'][i]!, value)),
    ...cpus().flatMap(({ times }, cpu) =>
      Object.entries(modes).map(([time, mode]) =>
        figure('node_cpu_seconds_total', times[time as keyof typeof modes] / 1000, { cpu: String(cpu), mode }),
      ),
    ),
  ]
}
