/**
 * A real node_exporter beside our reader, on this very host: what we sample, it has under the same name with the same labels and the same
 * value, within what moves between two reads; and of the kinds that we sample it has nothing that we have not.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { platform } from 'node:os'
import { test } from 'node:test'
import type { Figure } from '../../collector/host/figure.ts'
import { SystemFigures } from '../../collector/host/system-figures.ts'
import { systemClock } from '../../proto/runtime/clock.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { hasPeer } from '../support/peers.ts'
import { eventually, freePort, scrape } from '../support/programs.ts'

/** Upstream's defaults of today: Debian's package and older versions leave out other devices and mounts. */
const UPSTREAM_DEFAULTS = [
  '--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$',
  '--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)',
  '--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$',
  '--collector.netdev.device-exclude=^$',
]
const COLLECTORS = ['cpu', 'stat', 'loadavg', 'meminfo', 'vmstat', 'pressure', 'diskstats', 'filesystem', 'netdev']

/** What node_exporter reads elsewhere than where its kind is: /run/udev, /sys, netlink. */
const NOT_OURS =
  /^node_(?:disk_(?:info|filesystem_info|device_mapper_info|ata_.*)|network_receive_nohandler_total|cpu_info|cpu_core_throttles_total|cpu_package_throttles_total|exporter_build_info|scrape_.*|softirqs_.*)(?:\{|$)/
/** Of newer kernels than this node_exporter. */
const NEWER = /^node_pressure_irq_/

/** As node_exporter prints it: labels in order of their names. */
const seriesOf = ({ name, labels }: Figure): string => {
  const text = Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}="${value}"`)
    .join(',')
  return text === '' ? name : `${name}{${text}}`
}

const ROUNDS = 5

test('node_exporter has what we sample, by the same names and labels, with the same values; and nothing beyond', async (t) => {
  if (platform() !== 'linux') {
    t.skip('node_exporter and /proc are of Linux')
    return
  }
  if (!hasPeer(t, 'prometheus-node-exporter', '--version', 'Debian package prometheus-node-exporter')) return
  const address = `127.0.0.1:${await freePort()}`
  const exporter = spawn(
    'prometheus-node-exporter',
    [
      `--web.listen-address=${address}`,
      '--web.disable-exporter-metrics',
      '--collector.disable-defaults',
      ...COLLECTORS.map((name) => `--collector.${name}`),
      ...UPSTREAM_DEFAULTS,
    ],
    { stdio: ['ignore', 'ignore', 'ignore'] },
  )
  t.after(() => {
    exporter.kill('SIGKILL')
  })
  await eventually('node_exporter answers', async () => (await fetch(`http://${address}/metrics`)).status === 200)

  const silent = { env: {}, silentMs: 1000, clock: systemClock, log: silentLogger }
  const system = new SystemFigures(silent)
  const read = async (): Promise<Map<string, number>> =>
    new Map((await system.round(() => {})).map((figure) => [seriesOf(figure), figure.value]))
  await read()
  const readings = async (): Promise<Readings> => ({
    before: await read(),
    theirs: await scrape(`http://${address}`),
    after: await read(),
  })
  let round = await readings()
  const { before, theirs, after } = round
  t.after(() => system.fileSystems.stop())

  assert.ok(before.size > 100, `${before.size} series`)
  const comparable = [...before.keys()].filter((series) => !NEWER.test(series) && after.has(series))
  assert.deepEqual(
    comparable.filter((series) => !theirs.has(series)),
    [],
    'node_exporter does not have these',
  )
  const missed = [...theirs.keys()].filter(
    (series) => series.startsWith('node_') && !NOT_OURS.test(series) && !before.has(series) && !isRemote(series),
  )
  assert.deepEqual(missed, [], 'node_exporter has these too')
  t.diagnostic(`${comparable.length} series compared`)

  // Something may go up and down between two readings: not in each of several rounds.
  for (let i = 1; i < ROUNDS && differing(comparable, round).length > 0; i++) round = await readings()
  assert.deepEqual(differing(comparable, round), [])
})

type Readings = Readonly<Record<'before' | 'theirs' | 'after', ReadonlyMap<string, number>>>

function differing(series: readonly string[], { before, theirs, after }: Readings): string[] {
  return series
    .filter((one) => !agrees(one, theirs.get(one)!, before.get(one)!, after.get(one)!))
    .map((one) => `${one}: ${before.get(one)}, ${theirs.get(one)}, ${after.get(one)}`)
}

/** Asked by another process, and not waited for in a round. */
function isRemote(series: string): boolean {
  return /fstype="(?:nfs|cifs|fuse|9p|virtiofs|ceph|lustre)/.test(series)
}

/** Of the moment: what it is now says nothing of what it was a millisecond ago. */
const MOMENTARY = /^node_(?:procs_|disk_io_now|load\d)/
/** Goes up and down, a little at a time. */
const GAUGE = /^node_(?:memory|filesystem)_/
/** What may come and go in a few milliseconds, on a host that is busy with tests. */
const MOVES = 128 * 1024 * 1024

/** Their value lies between ours before and after; that of a gauge may have been beyond both meanwhile. */
function agrees(series: string, theirs: number, before: number, after: number): boolean {
  if (MOMENTARY.test(series)) return Number.isFinite(theirs)
  const rounding = 1e-6 + 1e-9 * Math.abs(theirs)
  const slack = GAUGE.test(series) && before !== after ? MOVES : rounding
  return theirs >= Math.min(before, after) - slack && theirs <= Math.max(before, after) + slack
}
