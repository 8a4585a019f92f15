/**
 * Linux' own figures about the host, under node_exporter's names, from the text of /proc. Pure: text in, samples out.
 * @see https://github.com/prometheus/node_exporter for names and units
 */

/** A figure: name, labels without `__name__`, value. */
export interface Figure {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const TICKS_PER_SECOND = 100 // USER_HZ, the same on every Linux that Node runs on
const SECTOR_BYTES = 512
const CPU_MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const

const figure = (name: string, value: number, labels: Record<string, string> = {}): Figure => ({ name, labels, value })

/** /proc/stat: seconds each processor spent in each mode, and some totals. */
export function cpuFigures(stat: string): Figure[] {
  const out: Figure[] = []
  for (const line of lines(stat)) {
    const [key = '', ...fields] = line.split(/\s+/)
    const cpu = /^cpu(\d+)$/.exec(key)?.[1]
    if (cpu !== undefined) {
      for (const [i, mode] of CPU_MODES.entries()) {
        const ticks = Number(fields[i])
        if (Number.isFinite(ticks)) out.push(figure('node_cpu_seconds_total', ticks / TICKS_PER_SECOND, { cpu, mode }))
      }
    }
    const total = TOTALS[key]
    if (total !== undefined) out.push(figure(total, Number(fields[0])))
  }
  return out
}

const TOTALS: Readonly<Record<string, string>> = {
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
  for (const line of lines(meminfo)) {
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
]

/** /proc/diskstats: whole disks. */
export function diskFigures(diskstats: string): Figure[] {
  const out: Figure[] = []
  for (const line of lines(diskstats)) {
    const [, , device = '', ...fields] = line.trim().split(/\s+/)
    if (device === '' || IGNORED_DISKS.test(device)) continue
    for (const [i, [name, scale]] of DISK_FIELDS.entries()) {
      const value = Number(fields[i])
      if (Number.isFinite(value))
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
  for (const line of lines(dev)) {
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

export interface Mount {
  readonly device: string
  readonly mountpoint: string
  readonly fstype: string
}

const IGNORED_FILE_SYSTEMS =
  /^(?:autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs|tmpfs|ramfs)$/
const IGNORED_MOUNTS =
  /^\/(?:dev|proc|sys|run\/credentials\/.+|var\/lib\/docker\/.+|var\/lib\/containers\/storage\/.+)(?:$|\/)/

/** /proc/mounts: file systems on disks, each mount point once. */
export function mountsOf(text: string): Mount[] {
  const seen = new Set<string>()
  const mounts: Mount[] = []
  for (const line of lines(text)) {
    const [device = '', point = '', fstype = ''] = line.split(' ')
    const mountpoint = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    )
    // A container's root is an overlay; it is the one that its user asks about.
    if (
      (IGNORED_FILE_SYSTEMS.test(fstype) && mountpoint !== '/') ||
      IGNORED_MOUNTS.test(mountpoint) ||
      seen.has(mountpoint)
    )
      continue
    seen.add(mountpoint)
    mounts.push({ device, mountpoint, fstype })
  }
  return mounts
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
