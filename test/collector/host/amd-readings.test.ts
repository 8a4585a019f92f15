import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AmdGpus } from '../../../collector/host/amd-gpus.ts'
import { amdIdentities, amdProcesses, amdSmiReadings, rocmSmiReadings } from '../../../collector/host/amd-readings.ts'
import type { Sample } from '../../../collector/host/figure.ts'
import { GpuFigures } from '../../../collector/host/gpu-reading.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually, temporaryDirectory } from '../../support/programs.ts'

const of = (value: number, unit: string) => ({ value, unit })
const LIST = [{ gpu: 0, bdf: '0000:05:00.0', uuid: 'aaff-74b5', node_id: 2, partition_id: 0 }]
const ASIC = { gpu_data: [{ gpu: 0, asic: { market_name: 'AMD Instinct MI300X', vendor_id: '0x1002' } }] }
const METRIC = {
  gpu: 0,
  usage: { gfx_activity: of(93, '%'), umc_activity: of(40, '%'), mm_activity: 'N/A' },
  power: { socket_power: of(701, 'W'), gfx_voltage: 'N/A' },
  clock: { gfx_0: { clk: of(2104, 'MHz'), min_clk: 'N/A' }, mem_0: { clk: of(1300, 'MHz') } },
  temperature: { edge: 'N/A', hotspot: of(71, 'C'), mem: of(55, 'C') },
  pcie: { width: 16, replay_count: 0 },
  ecc: { total_correctable_count: 3, total_uncorrectable_count: 0 },
  fan: { usage: 'N/A' },
  energy: { total_energy_consumption: of(12.5, 'J') },
  mem_usage: { total_vram: of(196_608, 'MB'), used_vram: of(20_480, 'MB'), free_vram: of(176_128, 'MB') },
}
const PROCESS = [
  {
    gpu: 0,
    process_list: [
      { process_info: { pid: 4242, name: 'python3 --token=x', memory_usage: { vram_mem: of(1_073_741_824, 'B') } } },
      { process_info: 'No running processes detected' },
    ],
  },
]

test('amd-smi: readings by DCGM names and units, of both forms of the list', () => {
  const identities = amdIdentities(JSON.stringify(LIST), JSON.stringify(ASIC))
  for (const form of [[METRIC], { gpu_data: [METRIC] }]) {
    const [reading, ...others] = amdSmiReadings(JSON.stringify(form), identities)
    assert.deepEqual(others, [])
    assert.deepEqual(
      [reading?.index, reading?.uuid, reading?.pciBusId, reading?.modelName],
      ['0', 'aaff-74b5', '0000:05:00.0', 'AMD Instinct MI300X'],
    )
    assert.deepEqual(Object.fromEntries(reading!.values), {
      DCGM_FI_DEV_GPU_UTIL: 93,
      DCGM_FI_DEV_MEM_COPY_UTIL: 40,
      DCGM_FI_DEV_POWER_USAGE: 701,
      DCGM_FI_DEV_SM_CLOCK: 2104,
      DCGM_FI_DEV_MEM_CLOCK: 1300,
      DCGM_FI_DEV_GPU_TEMP: 71,
      DCGM_FI_DEV_MEMORY_TEMP: 55,
      DCGM_FI_DEV_ECC_SBE_VOL_TOTAL: 3,
      DCGM_FI_DEV_ECC_DBE_VOL_TOTAL: 0,
      DCGM_FI_DEV_PCIE_REPLAY_COUNTER: 0,
      DCGM_FI_DEV_PCIE_LINK_WIDTH: 16,
      DCGM_FI_DEV_FB_TOTAL: 196_608,
      DCGM_FI_DEV_FB_USED: 20_480,
      DCGM_FI_DEV_FB_FREE: 176_128,
      DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION: 12_500,
    })
  }
})

test('amd-smi: a part without an energy counter says 0, which is no reading; one without a name has its number', () => {
  const still = { ...METRIC, energy: { total_energy_consumption: of(0, 'J') } }
  const [reading] = amdSmiReadings(JSON.stringify([still]), new Map())
  assert.equal(reading?.values.has('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION'), false)
  assert.equal(reading?.uuid, 'AMD-0')
})

test('amd-smi: processes with their memory, without arguments', () => {
  const identities = amdIdentities(JSON.stringify(LIST), '')
  assert.deepEqual(amdProcesses(JSON.stringify(PROCESS), identities), [
    { uuid: 'aaff-74b5', pid: '4242', name: 'python3', bytes: 1_073_741_824 },
  ])
})

test('rocm-smi: strings with and without units, after warnings', () => {
  const card = {
    'Unique ID': '0x79cc',
    'Temperature (Sensor edge) (C)': '53.0',
    'Temperature (Sensor memory) (C)': 'N/A',
    'sclk clock speed:': '(300Mhz)',
    'Current Socket Graphics Package Power (W)': '36.5',
    'GPU use (%)': '7',
    'PCI Bus': '0000:83:00.0',
    'VRAM Total Memory (B)': '34342961152',
    'VRAM Total Used Memory (B)': '6750208',
    'Card Series': 'Instinct MI100',
  }
  const output = `WARNING: AMD GPU device(s) is/are in a low-power state\n${JSON.stringify({ card1: card, system: { 'Driver version': '6.3.6' } })}`
  const [reading, ...others] = rocmSmiReadings(output)
  assert.deepEqual(others, [])
  assert.deepEqual(
    { ...reading, values: Object.fromEntries(reading!.values) },
    {
      index: '1',
      uuid: '0x79cc',
      device: 'card1',
      pciBusId: '0000:83:00.0',
      modelName: 'Instinct MI100',
      driverVersion: '6.3.6',
      values: {
        DCGM_FI_DEV_GPU_UTIL: 7,
        DCGM_FI_DEV_POWER_USAGE: 36.5,
        DCGM_FI_DEV_SM_CLOCK: 300,
        DCGM_FI_DEV_GPU_TEMP: 53,
        DCGM_FI_DEV_FB_TOTAL: 32_752,
        DCGM_FI_DEV_FB_USED: 6.4375,
        DCGM_FI_DEV_FB_FREE: 32_745.5625,
      },
    },
  )
})

test('what is no JSON, or JSON of another shape, gives no readings', () => {
  const none = new Map()
  for (const text of [
    '',
    'ERROR: no driver',
    '{',
    '[',
    '[1,"a",null,[]]',
    'null',
    '{"gpu_data":5}',
    '{"card0":7,"card1":{}}',
    '[{"gpu":"x","usage":{"gfx_activity":5}}]',
    '[{"gpu":0,"usage":"N/A"}]',
  ]) {
    assert.deepEqual([...amdSmiReadings(text, none), ...rocmSmiReadings(text), ...amdProcesses(text, none)], [], text)
    amdIdentities(text, text)
  }
})

/** A folder with tools that print these texts by their first argument. */
function amdHost(tools: Readonly<Record<string, Readonly<Record<string, unknown>>>>) {
  const folder = temporaryDirectory()
  for (const [name, answers] of Object.entries(tools)) {
    const cases = Object.entries(answers).map(
      ([word, json]) => `${word}) cat <<'END'\n${JSON.stringify(json)}\nEND\n;;`,
    )
    writeFileSync(join(folder, name), `#!/bin/sh\ncase "$1" in\n${cases.join('\n')}\n*) exit 1 ;;\nesac\n`)
    chmodSync(join(folder, name), 0o755)
  }
  const clock = { now: () => Date.now(), monotonic: () => performance.now() }
  const samples: Sample[] = []
  let computing = 0
  const source = new AmdGpus({
    tool: { env: { PATH: `${folder}:/usr/bin:/bin` }, silentMs: 10_000, clock, log: silentLogger },
    figures: new GpuFigures({ host: 'h', nodeId: 'n', slowMs: 10_000, clock }),
    emit: (some) => samples.push(...some),
    computing: () => computing++,
  })
  return { source, samples, computing: () => computing }
}

test('AmdGpus asks amd-smi, for GPUs and processes', async (t) => {
  const { source, samples, computing } = amdHost({
    'amd-smi': { list: LIST, static: ASIC, metric: { gpu_data: [METRIC] }, process: PROCESS },
  })
  t.after(() => source.stop())
  source.tick()
  await eventually('processes', () => computing() === 1)
  assert.equal(source.count, 1)
  const value = (name: string) => samples.find((s) => s.name === name)
  assert.equal(value('gpu_utilization')?.value, 93)
  assert.equal(value('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION')?.labels['derived'], undefined)
  assert.deepEqual(
    [
      value('gpu_process_memory_used_bytes')?.labels['pid'],
      value('gpu_process_memory_used_bytes')?.labels['modelName'],
    ],
    ['4242', 'AMD Instinct MI300X'],
  )
})

test('AmdGpus asks rocm-smi where that is all there is', async (t) => {
  const { source, samples } = amdHost({ 'rocm-smi': { '--showuse': { card0: { 'GPU use (%)': '7' } } } })
  t.after(() => source.stop())
  await eventually('a figure', () => {
    source.tick()
    return samples.length > 0
  })
  assert.deepEqual([samples[0]?.name, samples[0]?.value, source.count], ['DCGM_FI_DEV_GPU_UTIL', 7, 1])
})
