/** Why a task failed: what its end said, and what samples of its window saw. */
import { categorize } from '../../proto/errors/categorize.ts'
import type { Evidence } from '../../proto/errors/evidence.ts'
import { xidTransitions } from '../../proto/errors/xid-transitions.ts'
import type { Calculation } from './calculation.ts'
import type { MetricMapping } from './metric-mapping.ts'
import type { Selector, Series } from './series-source.ts'
import type { Span } from './step-function.ts'
import type { TaskError } from './task-details.ts'
import type { TaskRecord } from './task-record.ts'
import { selectorsOf } from './window.ts'

const XID = 'DCGM_FI_DEV_XID_ERRORS'
const THROTTLES: readonly string[] = ['DCGM_FI_DEV_CLOCKS_EVENT_REASONS', 'DCGM_FI_DEV_CLOCK_THROTTLE_REASONS']
const COUNTERS: readonly string[] = [
  'DCGM_FI_DEV_ROW_REMAP_FAILURE',
  'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL',
  'DCGM_FI_DEV_ECC_DBE_AGG_TOTAL',
  'DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS',
  'DCGM_FI_DEV_RETIRED_DBE',
  'DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL',
]
const MEMORY_USED = 'DCGM_FI_DEV_FB_USED'
const MEMORY_TOTAL = 'DCGM_FI_DEV_FB_TOTAL'
const MEMORY_FREE = 'DCGM_FI_DEV_FB_FREE'

const EVIDENCE_METRICS = [XID, ...THROTTLES, ...COUNTERS, MEMORY_USED, MEMORY_TOTAL, MEMORY_FREE]

/** Series that may say why: under the labels that the mapping has for GPUs of DCGM. @param names of the node */
export function evidenceSelectors(mapping: MetricMapping, names: readonly string[]): Selector[] {
  return selectorsOf(evidenceSources(mapping), names)
}

export function evidenceSources(mapping: MetricMapping): MetricMapping {
  const node = mapping.find(({ scope, metric }) => scope === 'gpu' && metric.startsWith('DCGM_'))?.node ?? []
  return EVIDENCE_METRICS.map((metric) => ({ ...NOTHING, metric, node }))
}

const NOTHING = {
  measure: 'gpu_share',
  kind: 'gauge',
  scale: 1,
  scope: 'gpu',
  gpu: [],
  pod: [],
  namespace: [],
  where: [],
} as const

/** @returns null where it did not fail. A lost task has failed for all that anybody knows */
export function errorOf(
  record: TaskRecord,
  calculation: Calculation | null,
  series: readonly Series[],
): TaskError | null {
  const { state, detail = '', flags } = record
  if (state !== 'failed' && state !== 'cancelled' && state !== 'lost') return null
  const evidence: Evidence[] = []
  if (state === 'cancelled') evidence.push({ kind: 'cancelled' })
  if (flags.includes('load_failed')) evidence.push({ kind: 'load', result: false })
  if (calculation !== null) evidence.push(...seenIn(series, calculation))
  return { text: detail, ...categorize({ text: detail, evidence }) }
}

function seenIn(series: readonly Series[], { window, gpus }: Calculation): Evidence[] {
  const own = new Set(gpus.map(({ gpu }) => gpu))
  const byGpu = new Map<string, Series[]>()
  for (const one of series) {
    const gpu = [one.labels['UUID'], one.labels['gpu']].find((name) => name !== undefined && own.has(name))
    if (gpu !== undefined) byGpu.set(gpu, [...(byGpu.get(gpu) ?? []), one])
  }
  return [...byGpu].flatMap(([gpu, all]) => seenOf(gpu, all, window))
}

function seenOf(gpu: string, all: readonly Series[], window: Span): Evidence[] {
  const evidence: Evidence[] = []
  for (const one of all) {
    const { name } = one
    if (name === XID)
      for (const number of xidTransitions(samplesOf(one), window.from, window.to))
        evidence.push({ kind: 'xid', number, gpu })
    const inside = valuesIn(one, window)
    if (THROTTLES.includes(name) && inside.length > 0)
      evidence.push({ kind: 'throttle', reasons: inside.reduce((bits, value) => bits | value, 0), gpu })
    const grew = COUNTERS.includes(name) ? grownIn(one, window) : 0
    if (grew > 0) evidence.push({ kind: 'counter', name, grew, gpu })
  }
  const used = highest(all, MEMORY_USED, window)
  const total = highest(all, MEMORY_TOTAL, window) ?? added(used, highest(all, MEMORY_FREE, window))
  if (used !== undefined && total !== undefined) evidence.push({ kind: 'gpu_memory', used, total, gpu })
  return evidence
}

function samplesOf({ times, values }: Series): { at: number; value: number }[] {
  return Array.from(times, (at, i) => ({ at, value: values[i]! }))
}

function valuesIn(series: Series, { from, to }: Span): number[] {
  return samplesOf(series).flatMap(({ at, value }) => (at >= from && at < to && Number.isFinite(value) ? [value] : []))
}

/** From what it had before the window, or first in it. */
function grownIn(series: Series, window: Span): number {
  const before = samplesOf(series).findLast(({ at, value }) => at < window.from && Number.isFinite(value))?.value
  const inside = valuesIn(series, window)
  return inside.length === 0 ? 0 : Math.max(...inside) - (before ?? inside[0]!)
}

function highest(all: readonly Series[], name: string, window: Span): number | undefined {
  const values = all.filter((one) => one.name === name).flatMap((one) => valuesIn(one, window))
  return values.length === 0 ? undefined : Math.max(...values)
}

/** Free memory at its highest beside used at its highest is more than there is: no limit is said to be reached by mistake. */
function added(used: number | undefined, free: number | undefined): number | undefined {
  return used === undefined || free === undefined ? undefined : used + free
}
