/**
 * What is asked of `nvidia-smi --query-gpu`, and what DCGM exporter calls it. Drivers know different fields, and one that they do not
 * know fails the whole query, so only what `--help-query-gpu` lists is asked for.
 */
import type { GpuReading } from './gpu-reading.ts'

type Reader = (cell: string) => number | undefined

/** Names of a field, the newest first: `clocks_throttle_reasons` became `clocks_event_reasons` with driver 535. */
type Spellings = readonly [string, ...string[]]

interface Field {
  readonly dcgm: string
  readonly spellings: Spellings
  readonly read: Reader
}

const field = (dcgm: string, spellings: Spellings, read: Reader = numberIn): Field => ({ dcgm, spellings, read })

const FIELDS: readonly Field[] = [
  field('DCGM_FI_DEV_SM_CLOCK', ['clocks.current.sm', 'clocks.sm']),
  field('DCGM_FI_DEV_MEM_CLOCK', ['clocks.current.memory', 'clocks.mem']),
  field('DCGM_FI_DEV_VIDEO_CLOCK', ['clocks.current.video', 'clocks.video']),
  field('DCGM_FI_DEV_GPU_TEMP', ['temperature.gpu']),
  field('DCGM_FI_DEV_MEMORY_TEMP', ['temperature.memory']),
  field('DCGM_FI_DEV_POWER_USAGE', ['power.draw', 'power.draw.instant']),
  field('DCGM_FI_DEV_ENFORCED_POWER_LIMIT', ['enforced.power.limit']),
  field('DCGM_FI_DEV_GPU_UTIL', ['utilization.gpu']),
  field('DCGM_FI_DEV_MEM_COPY_UTIL', ['utilization.memory']),
  field('DCGM_FI_DEV_ENC_UTIL', ['utilization.encoder']),
  field('DCGM_FI_DEV_DEC_UTIL', ['utilization.decoder']),
  field('DCGM_FI_DEV_FB_TOTAL', ['memory.total']),
  field('DCGM_FI_DEV_FB_USED', ['memory.used']),
  field('DCGM_FI_DEV_FB_FREE', ['memory.free']),
  field('DCGM_FI_DEV_FB_RESERVED', ['memory.reserved']),
  field('DCGM_FI_DEV_FAN_SPEED', ['fan.speed']),
  field('DCGM_FI_DEV_PSTATE', ['pstate'], (cell) => numberIn(cell.replace(/^P/, ''))),
  field('DCGM_FI_DEV_PCIE_LINK_GEN', ['pcie.link.gen.gpucurrent', 'pcie.link.gen.current']),
  field('DCGM_FI_DEV_PCIE_LINK_WIDTH', ['pcie.link.width.current']),
  field('DCGM_FI_DEV_CLOCKS_EVENT_REASONS', ['clocks_event_reasons.active', 'clocks_throttle_reasons.active']),
  field('DCGM_FI_DEV_ECC_SBE_VOL_TOTAL', ['ecc.errors.corrected.volatile.total']),
  field('DCGM_FI_DEV_ECC_DBE_VOL_TOTAL', ['ecc.errors.uncorrected.volatile.total']),
  field('DCGM_FI_DEV_ECC_SBE_AGG_TOTAL', ['ecc.errors.corrected.aggregate.total']),
  field('DCGM_FI_DEV_ECC_DBE_AGG_TOTAL', ['ecc.errors.uncorrected.aggregate.total']),
  field('DCGM_FI_DEV_RETIRED_SBE', ['retired_pages.single_bit_ecc.count', 'retired_pages.sbe']),
  field('DCGM_FI_DEV_RETIRED_DBE', ['retired_pages.double_bit.count', 'retired_pages.dbe']),
  field('DCGM_FI_DEV_RETIRED_PENDING', ['retired_pages.pending'], yesIn),
  field('DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS', ['remapped_rows.correctable']),
  field('DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS', ['remapped_rows.uncorrectable']),
  field('DCGM_FI_DEV_ROW_REMAP_FAILURE', ['remapped_rows.failure'], yesIn),
  field('DCGM_FI_DEV_ROW_REMAP_PENDING', ['remapped_rows.pending'], yesIn),
]

/** Which GPU it is. The name comes last in the query: of all cells it alone may hold commas. */
const IDENTITY: readonly string[] = ['index', 'uuid', 'pci.bus_id', 'driver_version']
const NAME = 'name'

/** Known to every driver of the last ten years: what is asked for when a driver does not list what it knows. */
const OLDEST: ReadonlySet<string> = new Set([
  ...IDENTITY,
  NAME,
  'clocks.sm',
  'clocks.mem',
  'temperature.gpu',
  'power.draw',
  'utilization.gpu',
  'utilization.memory',
  'memory.total',
  'memory.used',
  'memory.free',
  'fan.speed',
  'pstate',
])

/** A query that this driver understands. */
export interface GpuQuery {
  /** Value of `--query-gpu`. */
  readonly text: string
  /** @returns undefined when the line is no row of this query */
  readonly read: (line: string) => GpuReading | undefined
}

/**
 * @param help what `--help-query-gpu` prints; empty where it prints nothing of use
 * @param refused fields that a query was refused for all the same
 */
export function gpuQuery(help: string, refused: ReadonlySet<string>): GpuQuery {
  const listed = new Set(
    [...help.matchAll(/^"[^\n]*/gm)].flatMap(([line]) => [...line.matchAll(/"([^"]+)"/g)].map((m) => m[1]!)),
  )
  const knownTo = listed.has('index') ? listed : OLDEST
  const known = (name: string): boolean => knownTo.has(name) && !refused.has(name)
  const identity = IDENTITY.filter(known)
  const asked = FIELDS.flatMap((f) => {
    const spelling = f.spellings.find(known)
    return spelling === undefined ? [] : [{ ...f, spelling }]
  })
  const names = [...identity, ...asked.map((f) => f.spelling), NAME]
  return {
    text: names.join(','),
    read(line) {
      const cells = line.split(',').map((cell) => cell.trim())
      if (cells.length < names.length) return undefined
      const cell = (name: string): string => textIn(cells[identity.indexOf(name)] ?? '')
      const values = new Map<string, number>()
      for (const [i, { dcgm, read }] of asked.entries()) {
        const text = textIn(cells[identity.length + i]!)
        const value = text === '' ? undefined : read(text)
        if (value !== undefined) values.set(dcgm, value)
      }
      const reading = {
        index: cell('index'),
        uuid: cell('uuid'),
        device: '',
        pciBusId: cell('pci.bus_id'),
        driverVersion: cell('driver_version'),
        modelName: textIn(cells.slice(names.length - 1).join(', ')),
        values,
      }
      // An answer that is not a row ("Unable to determine the device handle …, GPU is lost") has no number first.
      return /^\d+$/.test(reading.index) && reading.uuid !== '' ? reading : undefined
    },
  }
}

/** The field that a query was refused for. */
export function refusedField(output: string): string | undefined {
  return /Field "([^"]+)" is not a valid field/.exec(output)?.[1]
}

/** '' for what nvidia-smi writes where it has nothing to say: `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `ERR!`, `N/A`. */
export function textIn(cell: string): string {
  return /^(?:\[.*\]|N\/A|ERR!|Unknown Error|Not Supported)$/i.test(cell) ? '' : cell
}

/** Some versions print units even where they are asked not to. */
export function numberIn(cell: string): number | undefined {
  const match = /^(-?\d+(?:\.\d+)?|0x[0-9a-f]+)(?: [A-Za-z%]+)?$/i.exec(cell)
  return match === null ? undefined : Number(match[1])
}

function yesIn(cell: string): number | undefined {
  return cell === 'Yes' ? 1 : cell === 'No' ? 0 : undefined
}
