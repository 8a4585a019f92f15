/**
 * What AMD's tools say in JSON, as readings by DCGM's names. Two tools, and each changed its form over the years: what is not where it
 * is looked for is absent.
 */

import type { GpuProcess } from './gpu-processes.ts'
import type { GpuReading } from './gpu-reading.ts'

type Json = Readonly<Record<string, unknown>>

const BYTES_PER_MIB = 1024 * 1024
const PROCESSES_MAX = 1000

/** Where `amd-smi metric --json` says what: path, and what it is multiplied by. The first that is there counts. */
const AMD_SMI: readonly (readonly [dcgm: string, scale: number, ...paths: string[]])[] = [
  ['DCGM_FI_DEV_GPU_UTIL', 1, 'usage.gfx_activity'],
  ['DCGM_FI_DEV_MEM_COPY_UTIL', 1, 'usage.umc_activity'],
  ['DCGM_FI_DEV_POWER_USAGE', 1, 'power.socket_power', 'power.current_socket_power', 'power.average_socket_power'],
  ['DCGM_FI_DEV_SM_CLOCK', 1, 'clock.gfx_0.clk'],
  ['DCGM_FI_DEV_MEM_CLOCK', 1, 'clock.mem_0.clk'],
  ['DCGM_FI_DEV_GPU_TEMP', 1, 'temperature.edge', 'temperature.hotspot'],
  ['DCGM_FI_DEV_MEMORY_TEMP', 1, 'temperature.mem'],
  ['DCGM_FI_DEV_ECC_SBE_VOL_TOTAL', 1, 'ecc.total_correctable_count'],
  ['DCGM_FI_DEV_ECC_DBE_VOL_TOTAL', 1, 'ecc.total_uncorrectable_count'],
  ['DCGM_FI_DEV_PCIE_REPLAY_COUNTER', 1, 'pcie.replay_count'],
  ['DCGM_FI_DEV_PCIE_LINK_WIDTH', 1, 'pcie.width'],
  ['DCGM_FI_DEV_FAN_SPEED', 1, 'fan.usage'],
  ['DCGM_FI_DEV_FB_TOTAL', 1, 'mem_usage.total_vram'],
  ['DCGM_FI_DEV_FB_USED', 1, 'mem_usage.used_vram'],
  ['DCGM_FI_DEV_FB_FREE', 1, 'mem_usage.free_vram'],
  ['DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', 1000, 'energy.total_energy_consumption'], // J
]

/** Keys of `rocm-smi --json`. */
const ROCM_SMI: readonly (readonly [dcgm: string, scale: number, ...keys: string[]])[] = [
  ['DCGM_FI_DEV_GPU_UTIL', 1, 'GPU use (%)'],
  ['DCGM_FI_DEV_POWER_USAGE', 1, 'Average Graphics Package Power (W)', 'Current Socket Graphics Package Power (W)'],
  ['DCGM_FI_DEV_SM_CLOCK', 1, 'sclk clock speed:'],
  ['DCGM_FI_DEV_MEM_CLOCK', 1, 'mclk clock speed:'],
  ['DCGM_FI_DEV_GPU_TEMP', 1, 'Temperature (Sensor edge) (C)', 'Temperature (Sensor junction) (C)'],
  ['DCGM_FI_DEV_MEMORY_TEMP', 1, 'Temperature (Sensor memory) (C)'],
  ['DCGM_FI_DEV_FAN_SPEED', 1, 'Fan speed (%)'],
  ['DCGM_FI_DEV_PCIE_REPLAY_COUNTER', 1, 'PCIe Replay Count'],
  ['DCGM_FI_DEV_FB_TOTAL', 1 / BYTES_PER_MIB, 'VRAM Total Memory (B)'],
  ['DCGM_FI_DEV_FB_USED', 1 / BYTES_PER_MIB, 'VRAM Total Used Memory (B)'],
]

/** Which GPU is which, by its number: from `amd-smi list --json` and `amd-smi static --asic --json`. */
export function amdIdentities(list: string, asic: string): ReadonlyMap<string, Omit<GpuReading, 'values'>> {
  const names = new Map(entriesIn(asic).map((gpu) => [textAt(gpu, 'gpu'), textAt(gpu, 'asic.market_name')]))
  return new Map(
    entriesIn(list).map((gpu) => {
      const index = textAt(gpu, 'gpu')
      const uuid = textAt(gpu, 'uuid')
      const pciBusId = textAt(gpu, 'bdf')
      return [index, { index, uuid, device: '', pciBusId, modelName: names.get(index) ?? '', driverVersion: '' }]
    }),
  )
}

/** @param output of `amd-smi metric --json` */
export function amdSmiReadings(
  output: string,
  identities: ReadonlyMap<string, Omit<GpuReading, 'values'>>,
): GpuReading[] {
  return entriesIn(output).flatMap((gpu) => {
    const index = textAt(gpu, 'gpu')
    const values = valuesIn(AMD_SMI, (path) => at(gpu, path))
    // Parts without an energy counter say 0: theirs is derived.
    if (values.get('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION') === 0) values.delete('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION')
    if (!/^\d+$/.test(index) || values.size === 0) return []
    const identity = identities.get(index) ?? {
      index,
      uuid: '',
      device: '',
      pciBusId: '',
      modelName: '',
      driverVersion: '',
    }
    return [{ ...identity, uuid: identity.uuid === '' ? `AMD-${index}` : identity.uuid, values }]
  })
}

/** @param output of `rocm-smi … --json`; warnings may stand before the JSON */
export function rocmSmiReadings(output: string): GpuReading[] {
  const cards = objectIn(output)
  const driverVersion = textAt(cards, 'system.Driver version')
  return Object.entries(cards).flatMap(([card, told]) => {
    const index = /^card(\d+)$/.exec(card)?.[1]
    if (index === undefined || !isObject(told)) return []
    const values = valuesIn(ROCM_SMI, (key) => told[key])
    const [total, used] = [values.get('DCGM_FI_DEV_FB_TOTAL'), values.get('DCGM_FI_DEV_FB_USED')]
    if (total !== undefined && used !== undefined) values.set('DCGM_FI_DEV_FB_FREE', total - used)
    if (values.size === 0) return []
    const text = (...keys: string[]): string => keys.map((key) => textOf(told[key])).find((t) => t !== '') ?? ''
    const uuid = text('Unique ID')
    const modelName = text('Card Series', 'Card series', 'Card Model', 'Card model')
    const identity = { index, uuid: uuid === '' ? `AMD-${index}` : uuid, device: card, pciBusId: text('PCI Bus') }
    return [{ ...identity, modelName, driverVersion, values }]
  })
}

/** @param output of `amd-smi process --json` */
export function amdProcesses(
  output: string,
  identities: ReadonlyMap<string, Omit<GpuReading, 'values'>>,
): GpuProcess[] {
  const processes = entriesIn(output).flatMap((gpu) => {
    const list = gpu['process_list']
    const index = textAt(gpu, 'gpu')
    if (!Array.isArray(list)) return []
    return list.flatMap((entry: unknown): GpuProcess[] => {
      const info = isObject(entry) ? entry['process_info'] : undefined
      if (!isObject(info) || !/^\d+$/.test(textAt(info, 'pid'))) return []
      const bytes = numberOf(at(info, 'memory_usage.vram_mem'))
      const uuid = identities.get(index)?.uuid ?? ''
      const name = textAt(info, 'name').split(' ', 1)[0]!
      return [{ uuid: uuid === '' ? `AMD-${index}` : uuid, pid: textAt(info, 'pid'), name, bytes }]
    })
  })
  return processes.slice(0, PROCESSES_MAX)
}

function valuesIn(
  places: readonly (readonly [dcgm: string, scale: number, ...where: string[]])[],
  look: (where: string) => unknown,
): Map<string, number> {
  const values = new Map<string, number>()
  for (const [dcgm, scale, ...where] of places) {
    const value = where.map((place) => numberOf(look(place))).find((number) => number !== undefined)
    if (value !== undefined) values.set(dcgm, value * scale)
  }
  return values
}

/** The list of GPUs: bare, or as `gpu_data` since ROCm 7. */
function entriesIn(output: string): Json[] {
  const parsed = parse(output, /[[{]/)
  const list = isObject(parsed) ? parsed['gpu_data'] : parsed
  return Array.isArray(list) ? list.filter(isObject) : []
}

function objectIn(output: string): Json {
  const parsed = parse(output, /\{/)
  return isObject(parsed) ? parsed : {}
}

function parse(output: string, begin: RegExp): unknown {
  try {
    return JSON.parse(output.slice(Math.max(0, output.search(begin))))
  } catch {
    return undefined // no JSON, no readings: the caller says so
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function at(json: Json, path: string): unknown {
  let place: unknown = json
  for (const key of path.split('.')) place = isObject(place) ? place[key] : undefined
  return place
}

function textAt(json: Json, path: string): string {
  return textOf(at(json, path))
}

function textOf(value: unknown): string {
  if (typeof value === 'number') return String(value)
  return typeof value !== 'string' || value === 'N/A' ? '' : value
}

/** 5, "5", "(300Mhz)" or `{ value: 5, unit: "W" }`; undefined for "N/A" and all else. */
function numberOf(value: unknown): number | undefined {
  if (isObject(value)) return numberOf(value['value'])
  if (typeof value === 'number') return value
  const match = typeof value === 'string' ? /^\(?(-?\d+(?:\.\d+)?)(?:Mhz\))?$/i.exec(value.trim()) : null
  return match === null ? undefined : Number(match[1])
}
