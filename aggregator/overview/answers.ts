/** Hosts, GPUs and senders as they are answered. */
import type { GpuAnswer, HostAnswer, SenderAnswer } from './api.ts'
import type { Gpu, Host } from './fleet.ts'
import type { SenderRow } from './senders.ts'

const MIB = 1024 * 1024

export function hostAnswer(host: Host): HostAnswer {
  const { memoryTotal, memoryAvailable } = host
  return {
    host: host.name,
    last_seen: utc(host.lastSeen),
    cpu_used_ratio: host.cpu.last,
    processors: host.processors.size === 0 ? null : host.processors.size,
    load1: host.load1 ?? null,
    memory_used_bytes:
      memoryTotal === undefined || memoryAvailable === undefined ? null : memoryTotal - memoryAvailable,
    memory_total_bytes: memoryTotal ?? null,
    gpus: gpusOf(host).map(gpuAnswer),
  }
}

/** In the order of their numbers. */
export function gpusOf(host: Host): Gpu[] {
  return [...host.gpus.values()].sort((a, b) => a.index.localeCompare(b.index, 'en', { numeric: true }))
}

function gpuAnswer(gpu: Gpu): GpuAnswer {
  const { memoryUsedMib: used, memoryFreeMib: free } = gpu
  const all = used === undefined || free === undefined ? undefined : used + free + (gpu.memoryReservedMib ?? 0)
  return {
    gpu: gpu.index,
    uuid: gpu.uuid,
    model: gpu.model,
    last_seen: utc(gpu.lastSeen),
    utilization_ratio: gpu.utilizationNow === undefined ? null : gpu.utilizationNow / 100,
    memory_used_bytes: used === undefined ? null : used * MIB,
    memory_total_bytes: all === undefined ? null : all * MIB,
    power_watts: gpu.powerNow ?? null,
    temperature_celsius: gpu.temperature ?? null,
  }
}

export function senderAnswer(row: SenderRow): SenderAnswer {
  return {
    tenant: row.tenant,
    sender: row.sender,
    credential: row.credential,
    door: row.door,
    collector: row.collector,
    instance: row.instance,
    samples_per_second: row.samplesPerSecond,
    samples_received: row.samplesReceived,
    samples_refused: row.samplesRefused,
    requests_refused: row.requestsRefused,
    last_seen: row.lastSeen === null ? null : utc(row.lastSeen),
    reported_at: utc(row.reportedAt),
  }
}

/** What a sender says its clock is may be beyond what a Date holds. */
export function utc(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString()
}
