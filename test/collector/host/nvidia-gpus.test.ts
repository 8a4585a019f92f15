/** The source against a stand-in for nvidia-smi that replays a real H100's recording. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Sample } from '../../../collector/host/figure.ts'
import { GpuFigures } from '../../../collector/host/gpu-reading.ts'
import { NvidiaGpus } from '../../../collector/host/nvidia-gpus.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually } from '../../support/programs.ts'
import type { Control } from '../../support/recorded-gpu.ts'
import { nvidiaSmiStandIn, recordedRows } from '../../support/recorded-gpu.ts'

const UUID = 'GPU-2a06f14d-a781-3b98-446d-bd427734072e'
const SLOW_MS = 10_000
const FAST_MS = 100

function sourceOf(t: TestContext, control: Control, silentMs = 20_000) {
  const smi = nvidiaSmiStandIn(control)
  let skipped = 0
  const clock = { now: () => Date.now() + skipped, monotonic: () => performance.now() + skipped }
  const samples: Sample[] = []
  let computing = 0
  const source = new NvidiaGpus({
    tool: { env: { PATH: smi.path }, silentMs, clock, log: silentLogger },
    figures: new GpuFigures({ host: 'gpu-7', nodeId: undefined, slowMs: SLOW_MS, clock }),
    emit: (some) => samples.push(...some),
    computing: () => computing++,
  })
  t.after(() => source.stop())
  return {
    smi,
    source,
    tool: source.tools[0]!,
    samples,
    computing: () => computing,
    skip: (ms: number) => (skipped += ms),
    values: (name: string) => samples.filter((s) => s.name === name).map((s) => s.value),
    idle: () => eventually('it is through', async () => source.tools[0]!.due || source.tools[0]!.state !== 'answering'),
  }
}

const recorded = (column: string): number[] => recordedRows().map(({ cells }) => Number.parseFloat(cells[column]!))
const GPU_CALL = /^--query-gpu=/
const LOOP = / -lms 100$/

test('a slow round starts it once, and leaves no process that would hold the device', async (t) => {
  const { source, samples, smi, idle } = sourceOf(t, { row: 20 })
  source.tick(SLOW_MS)
  await eventually('a row', async () => samples.length > 0)
  await idle()
  const { labels, value } = samples.find((s) => s.name === 'DCGM_FI_DEV_POWER_USAGE')!
  assert.deepEqual(labels, {
    job: 'gpu',
    instance: 'gpu-7',
    Hostname: 'gpu-7',
    gpu: '0',
    UUID,
    device: 'nvidia0',
    pci_bus_id: '00000000:00:06.0',
    modelName: 'NVIDIA H100 80GB HBM3',
    DCGM_FI_DRIVER_VERSION: '580.159.04',
  })
  assert.equal(value, recorded('power.draw')[20])
  assert.equal(source.count, 1)
  assert.deepEqual(
    smi.calls().map((call) => call.replace(/=.*/, '')),
    ['--help-query-gpu', '--query-gpu'],
  )
  source.tick(SLOW_MS)
  await eventually('a second round', async () => smi.calls().filter((call) => GPU_CALL.test(call)).length === 2)
  assert.ok(!smi.calls().some((call) => call.includes('-lms')))
})

test('fast rounds keep one that prints every row of the recording; slow ones end it', {
  timeout: 60_000,
}, async (t) => {
  const { source, smi, values, tool } = sourceOf(t, {})
  const rows = recorded('power.draw')
  source.tick(FAST_MS)
  await eventually('the whole recording', async () => values('DCGM_FI_DEV_POWER_USAGE').length === rows.length, 30_000)
  assert.deepEqual(values('DCGM_FI_DEV_POWER_USAGE'), rows)
  assert.deepEqual(values('DCGM_FI_DEV_GPU_UTIL'), recorded('utilization.gpu'))
  assert.deepEqual(values('DCGM_FI_DEV_FB_USED'), recorded('memory.used'))
  assert.equal(smi.calls().filter((call) => LOOP.test(call)).length, 1)
  source.tick(SLOW_MS)
  await eventually('it has ended', async () => tool.due)
  assert.equal(tool.failures, 0)
  source.tick(SLOW_MS)
  await eventually('a slow round', async () => smi.calls().some((call) => GPU_CALL.test(call) && !LOOP.test(call)))
})

test('processes that compute are given with their memory, and told of; their arguments are not', async (t) => {
  const { source, samples, computing, idle } = sourceOf(t, { row: 60 })
  source.tick(SLOW_MS)
  await eventually('a row', async () => samples.length > 0)
  await idle()
  source.tick(SLOW_MS)
  await eventually('a process', async () => samples.some((s) => s.name === 'gpu_process_memory_used_bytes'))
  const { labels, value } = samples.find((s) => s.name === 'gpu_process_memory_used_bytes')!
  assert.equal(value, recorded('memory.used')[60]! * 1024 * 1024)
  assert.deepEqual(
    [labels['gpu'], labels['UUID'], labels['pid'], labels['process_name']],
    ['0', UUID, '4242', '/usr/bin/python3'],
  )
  assert.equal(computing(), 1)
})

test('a host at rest has no processes, and nobody is told of any', async (t) => {
  const { source, smi, samples, computing, idle } = sourceOf(t, { row: 2 })
  source.tick(SLOW_MS)
  await eventually('a row', async () => samples.length > 0)
  await idle()
  source.tick(SLOW_MS)
  await eventually('asked for', async () => smi.calls().some((call) => call.startsWith('--query-compute-apps')))
  await source.stop()
  assert.equal(computing(), 0)
})

test('a driver that knows fewer fields, or refuses one that it lists, costs those fields', async (t) => {
  const { source, samples, values, smi } = sourceOf(t, {
    row: 20,
    hidden: ['clocks_event_reasons', 'temperature.memory'],
    refused: 'fan.speed',
  })
  source.tick(SLOW_MS)
  await eventually('a row', async () => samples.length > 0)
  assert.deepEqual(values('DCGM_FI_DEV_GPU_UTIL'), [recorded('utilization.gpu')[20]])
  assert.deepEqual(values('DCGM_FI_DEV_MEMORY_TEMP'), [])
  const queries = smi.calls().filter((call) => GPU_CALL.test(call))
  assert.equal(queries.length, 2, 'refused once')
  assert.ok(!queries[1]!.includes('fan.speed'))
})

test('several GPUs of one model are told apart; one that vanishes is counted no more', async (t) => {
  const uuids = ['GPU-a', 'GPU-b', 'GPU-c']
  const { source, samples, smi, idle } = sourceOf(t, { row: 20, uuids, model: 'GRID A100, 40C' })
  source.tick(SLOW_MS)
  await eventually('three', async () => source.count === 3)
  await idle()
  const used = samples.filter((s) => s.name === 'DCGM_FI_DEV_FB_USED')
  assert.deepEqual(
    used.map(({ labels }) => [labels['gpu'], labels['UUID'], labels['device'], labels['modelName']]),
    uuids.map((uuid, i) => [String(i), uuid, `nvidia${i}`, 'GRID A100, 40C']),
  )
  smi.steer({ row: 21, uuids: ['GPU-a', 'GPU-c'] })
  source.tick(SLOW_MS)
  await eventually('two', async () => source.count === 2)
})

test('a driver that goes away is said and asked rarely; when it is back its fields are chosen anew', async (t) => {
  const { source, smi, tool, samples, skip, idle } = sourceOf(t, { mode: 'rows-then-lost' })
  source.tick(FAST_MS)
  await eventually('the GPU is lost', async () => tool.state === 'failing')
  assert.match(tool.detail, /^it ended with 15: Unable to determine the device handle .*GPU is lost/)
  assert.equal(source.count, 0)
  smi.steer({ mode: 'lost' })
  const calls = smi.calls().length
  source.tick(FAST_MS)
  assert.equal(smi.calls().length, calls, 'not before its pause is over')
  skip(10_000)
  source.tick(FAST_MS)
  await eventually('asked again', async () => smi.calls().length === calls + 2 && tool.failures === 2)
  assert.match(tool.detail, /couldn't communicate with the NVIDIA driver/)
  smi.steer({ row: 30, hidden: ['temperature.memory'] })
  samples.length = 0
  skip(20_000)
  source.tick(SLOW_MS)
  await eventually('it is back', async () => samples.length > 0)
  await idle()
  assert.equal(tool.state, 'answering')
  assert.ok(!samples.some((s) => s.name === 'DCGM_FI_DEV_MEMORY_TEMP'))
})

test('one that hangs is killed and left alone for a minute, whatever the rhythm', async (t) => {
  const { source, smi, tool, skip } = sourceOf(t, { mode: 'hang' }, 500)
  source.tick(FAST_MS)
  await eventually('it is silent', async () => tool.failures === 1)
  assert.equal(tool.state, 'silent')
  for (let i = 0; i < 100; i++) source.tick(FAST_MS)
  skip(59_000)
  source.tick(FAST_MS)
  assert.equal(smi.calls().length, 1)
  skip(1000)
  source.tick(FAST_MS)
  await eventually('asked again', async () => smi.calls().length === 2)
})

test('a host with the tool and without a GPU says so', async (t) => {
  const { source, tool } = sourceOf(t, { mode: 'none' })
  source.tick(SLOW_MS)
  await eventually('it failed', async () => tool.state === 'failing')
  assert.equal(tool.detail, 'it ended with 6: No devices were found')
})
