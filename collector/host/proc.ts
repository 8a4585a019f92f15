/**
 * Linux' own figures about the host, under node_exporter's names, from the text of /proc. Pure: text in, samples out.
 * @see https://github.com/prometheus/node_exporter for names and units
 */

import type { Figure } from './figure.ts'
import { figure } from './figure.ts'

const TICKS_PER_SECOND = 100 // USER_HZ, the same on every Linux that Node runs on
const SECTOR_BYTES = 512
const CPU_MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const
/** The last two fields: time that is in `user` and `nice` too. */
const GUEST_MODES = ['user', 'nice'] as const

/** /proc/stat: seconds each processor spent in each mode, and some totals. */
export function cpuFigures(stat: string): Figure[] {
  const out: Figure[] = []
  for (const line of linesOf(stat)) {
    const [key = '', ...fields] = line.split(/\s+/)
    const cpu = /^cpu(\d+)$/.exec(key)?.[1]
    if (cpu !== undefined) {
      for (const [i, mode] of CPU_MODES.entries()) {
        const ticks = Number(fields[i])
        if (Number.isFinite(ticks)) out.push(figure('node_cpu_seconds_total', ticks / TICKS_PER_SECOND, { cpu, mode }))
      }
      for (const [i, mode] of GUEST_MODES.entries()) {
        const ticks = Number(fields[CPU_MODES.length + i])
        if (Number.isFinite(ticks))
          out.push(figure('node_cpu_guest_seconds_total', ticks / TICKS_PER_SECOND, { cpu, mode }))
      }
    }
    const total = TOTALS[key]
    if (total !== undefined && /^\d+$/.test(fields[0] ?? '')) out.push(figure(total, Number(fields[0])))
  }
  return out
}

const TOTALS: Readonly<Record<string, string>> = {
  intr: 'node_intr_total',
  ctxt: 'node_context_switches_total',
  btime: 'node_boot_time_seconds',
  processes: 'node_forks_total',
  procs_running: 'node_procs_running',
  procs_blocked: 'node_procs_blocked',
}

/** /proc/loadavg. */
export function loadFigures(loadavg: string): Figure[] {
  return ['node_load1', 'node_load5', 'node_load15'].map((name, i) => figure(name, Number(loadavg.split(' ')[i])))
}

/** /proc/meminfo: every field, in bytes where it has a unit; brackets become underscores. */
export function memoryFigures(meminfo: string): Figure[] {
  const out: Figure[] = []
  for (const line of linesOf(meminfo)) {
    const match = /^([^:]+):\s+(\d+)( kB)?$/.exec(line)
    if (match === null) continue
    const field = match[1]!.replace(/\((.*)\)/, '_$1')
    out.push(
      match[3] === undefined
        ? figure(`node_memory_${field}`, Number(match[2]))
        : figure(`node_memory_${field}_bytes`, Number(match[2]) * 1024),
    )
  }
  return out
}

/** /proc/pressure/cpu, io, memory, irq: seconds in which something waited, and in which everything did. */
export function pressureFigures(resource: string, pressure: string): Figure[] {
  const out: Figure[] = []
  for (const line of linesOf(pressure)) {
    const [, share, micros] = /^(some|full) .*\btotal=(\d+)$/.exec(line) ?? []
    if (share === undefined || (resource === 'cpu' && share === 'full')) continue // of the whole host nothing is meant by it
    const name = `node_pressure_${resource}_${share === 'some' ? 'waiting' : 'stalled'}_seconds_total`
    out.push(figure(name, Number(micros) / 1e6))
  }
  return out
}

/** /proc/vmstat: paging, faults, and processes that were killed for memory. */
export function vmstatFigures(vmstat: string): Figure[] {
  return linesOf(vmstat).flatMap((line) => {
    const [, field, value] = /^((?:oom_kill|pgpg|pswp|pg.*fault)\S*) (\d+)$/.exec(line) ?? []
    return field === undefined ? [] : [figure(`node_vmstat_${field}`, Number(value))]
  })
}

/** Virtual devices that say nothing about the host, as node_exporter leaves them out. */
const IGNORED_DISKS = /^(?:z?ram|loop|fd|(?:h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$/

const DISK_FIELDS: readonly (readonly [name: string, scale: number])[] = [
  ['reads_completed_total', 1],
  ['reads_merged_total', 1],
  ['read_bytes_total', SECTOR_BYTES],
  ['read_time_seconds_total', 1 / 1000],
  ['writes_completed_total', 1],
  ['writes_merged_total', 1],
  ['written_bytes_total', SECTOR_BYTES],
  ['write_time_seconds_total', 1 / 1000],
  ['io_now', 1],
  ['io_time_seconds_total', 1 / 1000],
  ['io_time_weighted_seconds_total', 1 / 1000],
  // Since Linux 4.18 and 5.5:
  ['discards_completed_total', 1],
  ['discards_merged_total', 1],
  ['discarded_sectors_total', 1],
  ['discard_time_seconds_total', 1 / 1000],
  ['flush_requests_total', 1],
  ['flush_requests_time_seconds_total', 1 / 1000],
]

/** /proc/diskstats: whole disks. */
export function diskFigures(diskstats: string): Figure[] {
  const out: Figure[] = []
  for (const line of linesOf(diskstats)) {
    const [, , device = '', ...fields] = line.trim().split(/\s+/)
    if (device === '' || IGNORED_DISKS.test(device)) continue
    for (const [i, [name, scale]] of DISK_FIELDS.entries()) {
      const value = Number(fields[i])
      if (fields[i] !== undefined && Number.isFinite(value))
        out.push(figure(`node_disk_${name}`, scale < 1 ? value / 1000 : value * scale, { device }))
    }
  }
  return out
}

const NETWORK_FIELDS = ['bytes', 'packets', 'errs', 'drop', 'fifo', 'frame', 'compressed', 'multicast'] as const
const NETWORK_SENT = ['bytes', 'packets', 'errs', 'drop', 'fifo', 'colls', 'carrier', 'compressed'] as const

/** /proc/net/dev: every interface. */
export function networkFigures(dev: string): Figure[] {
  const out: Figure[] = []
  for (const line of linesOf(dev)) {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line)
    if (match === null) continue
    const device = match[1]!
    const fields = match[2]!.trim().split(/\s+/).map(Number)
    for (const [i, name] of NETWORK_FIELDS.entries())
      out.push(figure(`node_network_receive_${name}_total`, fields[i]!, { device }))
    for (const [i, name] of NETWORK_SENT.entries())
      out.push(figure(`node_network_transmit_${name}_total`, fields[8 + i]!, { device }))
  }
  return out
}

export function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
