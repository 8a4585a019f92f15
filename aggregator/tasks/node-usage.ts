/**
 * What nodes delivered, what tasks had of it, and what was idle. Nothing of it is stored: samples say when a GPU was there, `usage` what
 * tasks were counted, `tasks` when they had which GPUs, the directories which machine it is and what its time costs.
 */
import { compareUtf8 } from '../../proto/wire/labels.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import { QueryTooLarge } from '../query/metric-query.ts'
import { Turns } from '../query/turns.ts'
import type { Counted, GpuSlot } from './gpu-time.ts'
import { dividedByGpu, gpuSlots, timeBySlot } from './gpu-time.ts'
import type { NodeCounted, NodeCounts, TaskNode, TaskWindow } from './node-counted.ts'
import type { FleetNode } from './node-fleet.ts'
import { fleetOf } from './node-fleet.ts'
import type { NodePresence, Presence } from './node-presence.ts'
import type { NodeUsageFilter } from './node-usage-filter.ts'
import type { GpuPlace, NodeUsageLine, NodeUsageSums } from './node-usage-sums.ts'
import { Sums } from './node-usage-sums.ts'
import { sharedNames } from './nodes.ts'
import { QuestionLine } from './question-line.ts'
import { clipped, unionOf } from './spans.ts'
import type { Machine, ResourcePrices } from './task-prices.ts'
import { remembered, taskPrices } from './task-prices.ts'
import { withoutPort } from './window.ts'

export interface NodeUsageOptions {
  readonly presence: Pick<NodePresence, 'mapping' | 'series' | 'samples' | 'hours'>
  readonly counts: Pick<NodeCounts, 'windows' | 'counted'>
  readonly directory: () => DirectorySnapshot
  /** Tenant of the operator's own samples. */
  readonly operator: string
  /** Resolves when everything that came in is in ClickHouse. */
  readonly settled: () => Promise<void>
  /** How long samples are kept. */
  readonly pointsMs: number
  readonly now: () => number
  /** Most slots of GPUs that one question goes through; undefined: forty million. */
  readonly slotsMax?: number
}

export interface NodeUsageResult {
  /** In the order of keys and currency. */
  readonly lines: readonly NodeUsageLine[]
  /** Of all, by currency. */
  readonly totals: readonly NodeUsageSums[]
  readonly asOf: number
  /** Until then figures of whole hours stand for samples that have expired, ms; undefined: for none. */
  readonly hoursUntil: number | undefined
}

const DAY_MS = 86_400_000
/** Lines that one question adds up: each is a kilobyte of memory. */
const LINES_MAX = 100_000
/** Slots of GPUs that one question goes through, 3 µs each. */
const SLOTS_MAX = 40_000_000
/** GPUs of a node that no series is of. */
const UNSEEN = ''

export class NodeUsage {
  readonly #options: NodeUsageOptions
  readonly #line = new QuestionLine()

  constructor(options: NodeUsageOptions) {
    this.#options = options
  }

  /** @throws QueryTooLarge where it is more than one question may ask; QueryUnavailable */
  find(tenant: string, filter: NodeUsageFilter): Promise<NodeUsageResult> {
    return this.#line.run(tenant, () => this.#find(tenant, filter))
  }

  async #find(tenant: string, filter: NodeUsageFilter): Promise<NodeUsageResult> {
    const { presence, counts, settled, operator, pointsMs, now } = this.#options
    const directory = this.#options.directory()
    const asOf = now()
    const { from, to, equal } = filter
    const at = Math.min(to, asOf) - 1
    await settled()
    const mapping = presence.mapping
    const all = fleetOf(await presence.series(tenant, from), mapping, directory, tenant, at)
    const wanted = equal.node === undefined ? undefined : namesOfNode(directory, tenant, equal.node, at)
    const fleet = wanted === undefined ? all : all.filter(({ names }) => wanted.some((name) => names.has(name)))
    const names =
      wanted === undefined ? undefined : [...new Set([...wanted, ...fleet.flatMap((node) => [...node.names])])]
    const question = { tenant, operator: tenant === operator, names, from, to }
    const [windows, counted] = [await counts.windows(question), await counts.counted(question)]
    const ids = fleet.flatMap(({ gpus }) => gpus.flatMap(({ series }) => series))
    const until = Math.min(to, asOf)
    const samplesFrom = Math.ceil((asOf - pointsMs) / DAY_MS) * DAY_MS
    const there = [
      await presence.hours(tenant, ids, { from, to: Math.min(until, samplesFrom) }),
      await presence.samples(tenant, ids, { from: Math.max(from, samplesFrom), to: until }),
    ]
    const turns = new Turns()
    const nodes = await placed(fleet, windows, counted, tenant, turns)
    const sums = new Sums(filter)
    const prices = pricesByMachine(directory, tenant)
    const { slotsMax = SLOTS_MAX } = this.#options
    let added = 0
    for (const node of nodes)
      for await (const { of, slots } of slotsOf(node, there, filter, prices, turns))
        for (const slot of slots) {
          sums.add(of, slot)
          if (sums.size > LINES_MAX)
            throw new QueryTooLarge(`more than ${LINES_MAX} lines: group by less, or by a longer period`)
          if (++added > slotsMax)
            throw new QueryTooLarge(
              `more than ${slotsMax} quarters of an hour of GPUs: ask for a shorter period, or for one node`,
            )
          if (turns.over) await turns.next()
        }
    return { ...sums.result(), asOf, hoursUntil: from < samplesFrom ? Math.min(to, samplesFrom) : undefined }
  }
}

/** Of a machine that somebody names: all its names, in lower case. */
function namesOfNode(directory: DirectorySnapshot, tenant: string, name: string, at: number): string[] {
  const all = sharedNames(directory, tenant, name, at)
  return [...new Set(all.flatMap((one) => [one, withoutPort(one)]).map((one) => one.toLowerCase()))]
}

interface PlacedNode extends FleetNode {
  readonly windows: TaskWindow[]
  readonly counted: NodeCounted[]
}

/** Tasks beside the node that has one of their machine's names; the tenant's own also where no samples are of the machine. */
async function placed(
  fleet: readonly FleetNode[],
  windows: readonly TaskWindow[],
  counted: readonly NodeCounted[],
  tenant: string,
  turns: Turns,
): Promise<PlacedNode[]> {
  const nodes: PlacedNode[] = fleet.map((node) => ({ ...node, windows: [], counted: [] }))
  const byName = new Map(nodes.flatMap((node) => [...node.names].map((name) => [name, node] as const)))
  const nodeOf = (of: TaskNode): PlacedNode | undefined => {
    const names = [of.name, ...of.names].map((name) => withoutPort(name).toLowerCase())
    const known = names.map((name) => byName.get(name)).find((node) => node !== undefined)
    if (known !== undefined || of.tenant !== tenant) return known
    const node: PlacedNode = { name: of.name, names: new Set(names), vmType: '', gpus: [], windows: [], counted: [] }
    nodes.push(node)
    for (const name of names) byName.set(name, node)
    return node
  }
  for (const sum of counted) {
    nodeOf(sum)?.counted.push(sum)
    if (turns.over) await turns.next()
  }
  for (const window of windows) {
    nodeOf(window)?.windows.push(window)
    if (turns.over) await turns.next()
  }
  return nodes
}

/** Of GPU-seconds, those of one kind of machine together. */
function pricesByMachine(
  directory: DirectorySnapshot,
  tenant: string,
): (machine: Machine) => ResourcePrices | undefined {
  const known = new Map<string, ResourcePrices | undefined>()
  return (machine) => {
    const key = JSON.stringify([machine.vmType, machine.gpuModel])
    if (!known.has(key)) {
      const prices = taskPrices(directory, tenant, machine)('gpu_seconds')
      known.set(key, prices === undefined ? undefined : remembered(prices))
    }
    return known.get(key)
  }
}

async function* slotsOf(
  node: PlacedNode,
  presence: readonly Presence[],
  { from, to, equal }: NodeUsageFilter,
  pricesOf: (machine: Machine) => ResourcePrices | undefined,
  turns: Turns,
): AsyncGenerator<{ readonly of: GpuPlace; readonly slots: Iterable<GpuSlot> }> {
  const windows = node.windows.flatMap((window) =>
    clipped([window], { from, to }).map((cut) => ({ ...window, ...cut })),
  )
  const gpus = [...node.gpus.map(({ id, names }) => ({ id, names })), ...unknownGpus(node, windows)]
  const byGpu = windowsByGpu(windows)
  const held = gpus.map(({ names }) => [...new Set([...names].flatMap((gpu) => byGpu.get(gpu) ?? []))])
  const parts: Map<number, Counted>[][] = []
  for (const tenant of new Set(node.counted.map((sum) => sum.tenant))) {
    const times: Map<number, number>[] = []
    for (const [i, { id }] of gpus.entries()) {
      const own = (id === UNSEEN ? windows : held[i]!).filter((window) => window.tenant === tenant)
      times.push(id === UNSEEN ? unseenTime(own) : timeBySlot(unionOf(own)))
      if (turns.over) await turns.next()
    }
    parts.push(dividedByGpu(countedBySlot(node.counted.filter((sum) => sum.tenant === tenant)), times))
    if (turns.over) await turns.next()
  }
  for (const [i, { id }] of gpus.entries()) {
    const known = node.gpus[i]
    const of = { node: node.name, gpu: id, gpu_model: known?.model ?? '', vm_type: node.vmType }
    if (!matches(equal, of, known?.names)) continue
    const machine = { vmType: of.vm_type || null, gpuModel: of.gpu_model || null }
    const there = unionOf(presence.flatMap((one) => (known?.series ?? []).flatMap((series) => one.get(series) ?? [])))
    const counted = together(parts.map((part) => part[i]!))
    yield { of, slots: gpuSlots({ there, held: held[i]!, counted, prices: pricesOf(machine) }) }
  }
}

function windowsByGpu(windows: readonly TaskWindow[]): Map<string, TaskWindow[]> {
  const out = new Map<string, TaskWindow[]>()
  for (const window of windows)
    for (const gpu of new Set(window.gpus)) {
      const known = out.get(gpu)
      if (known === undefined) out.set(gpu, [window])
      else known.push(window)
    }
  return out
}

/** GPUs that tasks had and no series is of now; the last stands for those that none ever was of. */
function unknownGpus(node: PlacedNode, windows: readonly TaskWindow[]): { id: string; names: ReadonlySet<string> }[] {
  const known = new Set(node.gpus.flatMap(({ names }) => [...names]))
  const others = [...new Set(windows.flatMap(({ gpus }) => gpus))].filter((gpu) => !known.has(gpu)).sort(compareUtf8)
  return [...others, UNSEEN].map((id) => ({ id, names: new Set([id]) }))
}

/** Each task has those for itself. */
function unseenTime(windows: readonly TaskWindow[]): Map<number, number> {
  const out = new Map<number, number>()
  for (const window of windows)
    if (window.unseen > 0)
      for (const [slot, time] of timeBySlot([window])) out.set(slot, (out.get(slot) ?? 0) + time * window.unseen)
  return out
}

type SlotSums = Map<number, { amount: number; costs: Map<string, number> }>

function addTo(
  sums: SlotSums,
  slot: number,
  amount: number,
  costs: Iterable<readonly [currency: string, micros: number]>,
): void {
  const known = sums.get(slot) ?? { amount: 0, costs: new Map<string, number>() }
  known.amount += amount
  for (const [currency, micros] of costs) known.costs.set(currency, (known.costs.get(currency) ?? 0) + micros)
  sums.set(slot, known)
}

function countedBySlot(counted: readonly NodeCounted[]): Map<number, Counted> {
  const out: SlotSums = new Map()
  for (const { slot, amount, currency, costMicro } of counted)
    addTo(out, slot, amount, currency === '' ? [] : [[currency, costMicro]])
  return out
}

function together(parts: readonly ReadonlyMap<number, Counted>[]): Map<number, Counted> {
  const out: SlotSums = new Map()
  for (const part of parts) for (const [slot, { amount, costs }] of part) addTo(out, slot, amount, costs)
  return out
}

function matches(equal: NodeUsageFilter['equal'], of: GpuPlace, gpuNames: ReadonlySet<string> | undefined): boolean {
  return (
    (equal.gpu === undefined || equal.gpu === of.gpu || gpuNames?.has(equal.gpu) === true) &&
    (equal.gpu_model === undefined || equal.gpu_model === of.gpu_model) &&
    (equal.vm_type === undefined || equal.vm_type === of.vm_type)
  )
}
