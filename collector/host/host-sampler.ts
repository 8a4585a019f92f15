/**
 * This host's own figures, every few seconds, through the same door and shard as everybody's: the first data of a newcomer.
 *
 * Linux gives them all; elsewhere processors, memory and load come from the runtime. A source that cannot be read costs
 * its own figures. Full shard: the round is dropped and counted; the next one has newer values.
 */
import { readFile, statfs } from 'node:fs/promises'
import { cpus, freemem, hostname, loadavg, platform, totalmem } from 'node:os'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { compareUtf8 } from '../../proto/wire/labels.ts'
import { encodeWriteRequest } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import type { TakeService } from '../shard/take-service.ts'
import type { Figure } from './proc.ts'
import { cpuFigures, diskFigures, loadFigures, memoryFigures, mountsOf, networkFigures } from './proc.ts'

export interface HostSamplerOptions {
  readonly intervalMs: number
  /** Label `instance`; empty: the host's name. */
  readonly instance: string
  readonly tenant: string
  readonly clock: Clock
  readonly log: Logger
}

export class HostSampler implements Service {
  readonly name = 'host'
  readonly #shard: TakeService
  readonly #options: HostSamplerOptions
  readonly #often: RateLimitedLog
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #dropped = 0

  constructor(shard: TakeService, options: HostSamplerOptions) {
    this.#shard = shard
    this.#options = options
    this.#often = new RateLimitedLog(60_000, () => options.clock.monotonic())
  }

  /** Rounds that found the shard full. */
  get dropped(): number {
    return this.#dropped
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#tick(), this.#options.intervalMs)
    this.#tick()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#round
  }

  health(): Health {
    return { ready: true }
  }

  #tick(): void {
    // A round that outlasts the interval (a hanging file system) is not joined by another.
    this.#round ??= this.#sample().finally(() => {
      this.#round = undefined
    })
  }

  async #sample(): Promise<void> {
    const timestamp = this.#options.clock.now()
    const instance = this.#options.instance === '' ? hostname() : this.#options.instance
    const figures = await hostFigures((source, error) =>
      this.#often.once(source, () =>
        this.#options.log.warn({ source, error: messageOf(error) }, 'host figures cannot be read'),
      ),
    )
    const series = figures
      .filter((f) => Number.isFinite(f.value))
      .map(({ name, labels, value }) => ({
        labels: Object.entries({ __name__: name, instance, job: 'node', ...labels }).sort((a, b) =>
          compareUtf8(a[0], b[0]),
        ),
        samples: [{ timestamp, value }],
      }))
    const body = Uint8Array.from(portableSnappy.compress(encodeWriteRequest(series)))
    const outcome = await this.#shard.take({ door: 'host', tenant: this.#options.tenant, sender: 'host', body })
    if (outcome.kind !== 'ok') this.#dropped++
  }
}

/** All figures of this host at this moment. @param failed told of each source that cannot be read */
export async function hostFigures(failed: (source: string, error: unknown) => void): Promise<Figure[]> {
  if (platform() !== 'linux') return portableFigures()
  const from = async (path: string, read: (text: string) => Figure[] | Promise<Figure[]>): Promise<Figure[]> => {
    try {
      return await read(await readFile(path, 'utf8'))
    } catch (error) {
      failed(path, error)
      return []
    }
  }
  const groups = await Promise.all([
    from('/proc/stat', cpuFigures),
    from('/proc/loadavg', loadFigures),
    from('/proc/meminfo', memoryFigures),
    from('/proc/diskstats', diskFigures),
    from('/proc/net/dev', networkFigures),
    from('/proc/mounts', (text) => fileSystemFigures(text, failed)),
  ])
  return groups.flat()
}

async function fileSystemFigures(mounts: string, failed: (source: string, error: unknown) => void): Promise<Figure[]> {
  const out: Figure[] = []
  for (const { device, mountpoint, fstype } of mountsOf(mounts)) {
    try {
      const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(mountpoint)
      const labels = { device, mountpoint, fstype }
      out.push(
        { name: 'node_filesystem_size_bytes', labels, value: blocks * bsize },
        { name: 'node_filesystem_free_bytes', labels, value: bfree * bsize },
        { name: 'node_filesystem_avail_bytes', labels, value: bavail * bsize },
        { name: 'node_filesystem_files', labels, value: files },
        { name: 'node_filesystem_files_free', labels, value: ffree },
      )
    } catch (error) {
      failed(mountpoint, error)
    }
  }
  return out
}

/** What the runtime knows on every system. */
function portableFigures(): Figure[] {
  const out: Figure[] = [
    { name: 'node_memory_total_bytes', labels: {}, value: totalmem() },
    { name: 'node_memory_free_bytes', labels: {}, value: freemem() },
    ...loadavg().map((value, i) => ({ name: ['node_load1', 'node_load5', 'node_load15'][i]!, labels: {}, value })),
  ]
  for (const [i, { times }] of cpus().entries()) {
    for (const [mode, ms] of Object.entries({
      user: times.user,
      nice: times.nice,
      system: times.sys,
      idle: times.idle,
      irq: times.irq,
    })) {
      out.push({ name: 'node_cpu_seconds_total', labels: { cpu: String(i), mode }, value: ms / 1000 })
    }
  }
  return out
}
