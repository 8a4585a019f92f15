import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostFigures } from '../../../collector/host/host-sampler.ts'
import {
  cpuFigures,
  diskFigures,
  loadFigures,
  memoryFigures,
  mountsOf,
  networkFigures,
} from '../../../collector/host/proc.ts'

const pick = (figures: { name: string; labels: object; value: number }[], name: string) =>
  figures.filter((f) => f.name === name).map((f) => [f.labels, f.value])

test('cpuFigures: seconds by processor and mode, and totals', () => {
  const figures = cpuFigures(
    'cpu  10 0 0 0\ncpu0 100 200 300 400 500 600 700 800 0 0\ncpu1 1 2 3 4\nctxt 123\nbtime 1790000000\nprocesses 9\nprocs_running 2\nprocs_blocked 0\nsoftirq 1 2\n',
  )
  assert.equal(figures.filter((f) => f.name === 'node_cpu_seconds_total').length, 12)
  assert.deepEqual(pick(figures, 'node_cpu_seconds_total')[3], [{ cpu: '0', mode: 'idle' }, 4])
  assert.deepEqual(pick(figures, 'node_boot_time_seconds'), [[{}, 1_790_000_000]])
  assert.deepEqual(pick(figures, 'node_context_switches_total'), [[{}, 123]])
})

test('loadFigures and memoryFigures', () => {
  assert.deepEqual(
    loadFigures('0.52 1.03 2.00 1/234 5678\n').map((f) => [f.name, f.value]),
    [
      ['node_load1', 0.52],
      ['node_load5', 1.03],
      ['node_load15', 2],
    ],
  )
  const memory = memoryFigures('MemTotal:       24576 kB\nActive(anon):      10 kB\nHugePages_Total:       3\n')
  assert.deepEqual(
    memory.map((f) => [f.name, f.value]),
    [
      ['node_memory_MemTotal_bytes', 24576 * 1024],
      ['node_memory_Active_anon_bytes', 10240],
      ['node_memory_HugePages_Total', 3],
    ],
  )
})

test('diskFigures: whole disks, sectors as bytes, milliseconds as seconds', () => {
  const figures = diskFigures(
    ' 259 0 nvme0n1 10 1 8 4000 20 2 16 5000 0 6000 7000 0 0 0 0\n 259 1 nvme0n1p1 1 1 1 1 1 1 1 1 0 1 1\n 7 0 loop0 1 1 1 1 1 1 1 1 0 1 1\n 8 1 sda1 1 1 1 1 1 1 1 1 0 1 1\n',
  )
  assert.deepEqual([...new Set(figures.map((f) => f.labels['device']))], ['nvme0n1'])
  assert.deepEqual(pick(figures, 'node_disk_read_bytes_total'), [[{ device: 'nvme0n1' }, 8 * 512]])
  assert.deepEqual(pick(figures, 'node_disk_io_time_seconds_total'), [[{ device: 'nvme0n1' }, 6]])
})

test('networkFigures: every interface, both directions', () => {
  const figures = networkFigures(
    'Inter-|   Receive\n face |bytes\n    lo: 100 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n  eth0:5 6 7 8 0 0 0 0 9 10 11 12 0 0 0 0\n',
  )
  assert.deepEqual(pick(figures, 'node_network_receive_bytes_total'), [
    [{ device: 'lo' }, 100],
    [{ device: 'eth0' }, 5],
  ])
  assert.deepEqual(pick(figures, 'node_network_transmit_drop_total'), [
    [{ device: 'lo' }, 0],
    [{ device: 'eth0' }, 12],
  ])
})

test('mountsOf: file systems on disks, once each, with escaped names', () => {
  const mounts = mountsOf(
    '/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/sdb1 /my\\040data xfs rw 0 0\n/dev/sdb1 /my\\040data xfs rw 0 0\n',
  )
  assert.deepEqual(
    mounts.map((m) => m.mountpoint),
    ['/', '/my data'],
  )
  assert.equal(mountsOf('overlay / overlay rw 0 0\n').length, 1, "a container's root")
})

test('hostFigures gives processors, load and memory on whatever this is', async () => {
  const figures = await hostFigures(() => {})
  for (const name of ['node_cpu_seconds_total', 'node_load1'])
    assert.ok(
      figures.some((f) => f.name === name && Number.isFinite(f.value)),
      name,
    )
  assert.ok(figures.some((f) => f.name.startsWith('node_memory_')))
})
