import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  cpuFigures,
  diskFigures,
  loadFigures,
  memoryFigures,
  networkFigures,
  pressureFigures,
  vmstatFigures,
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

test('pressureFigures: what waited and what stalled, in seconds; a whole host cannot stall for its processors', () => {
  const text =
    'some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n'
  assert.deepEqual(
    pressureFigures('io', text).map((f) => [f.name, f.value]),
    [
      ['node_pressure_io_waiting_seconds_total', 1.5],
      ['node_pressure_io_stalled_seconds_total', 0.25],
    ],
  )
  assert.deepEqual(
    pressureFigures('cpu', text).map((f) => f.name),
    ['node_pressure_cpu_waiting_seconds_total'],
  )
})

test('vmstatFigures: paging, faults and kills, nothing else', () => {
  const text = 'nr_free_pages 5\npgpgin 1\npgfault 2\npgmajfault 3\npswpin 4\noom_kill 6\npgalloc_dma 7\n'
  assert.deepEqual(
    vmstatFigures(text).map((f) => f.name),
    ['pgpgin', 'pgfault', 'pgmajfault', 'pswpin', 'oom_kill'].map((field) => `node_vmstat_${field}`),
  )
})

test('every reader takes an empty text, a torn one and rubbish for what they are: no figures, or finite ones', () => {
  const torn = [
    '',
    '\n',
    'cpu0',
    'cpu0 1 x',
    'intr',
    ':',
    'eth0: 1 2',
    '8 0 sda',
    'MemTotal: kB',
    'some total=',
    '\u0000',
  ]
  for (const text of torn)
    for (const read of [cpuFigures, memoryFigures, diskFigures, vmstatFigures, (t: string) => pressureFigures('io', t)])
      for (const { name, value } of read(text)) assert.ok(Number.isFinite(value), `${name} of ${JSON.stringify(text)}`)
})
