/**
 * What the resources of a task cost where it ran. What a quantity costs is said by the directory alone (cost.ts); here it is cut into
 * times within which one price holds, so that a share of a slot costs its share of what the slot costs.
 */
import type { Cost, Unpriced } from '../directory/cost.ts'
import { cost } from '../directory/cost.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { UsageResource } from './usage-out.ts'

export interface Machine {
  readonly vmType: string | null
  readonly gpuModel: string | null
}

/** Prices of one resource on one machine. */
export interface ResourcePrices {
  /** When they change, in order, ms. */
  readonly changes: readonly number[]
  /** Of whole units, delivered while one price holds: millionths; 0 where none does. */
  readonly costOf: (amount: number, from: number, to: number) => number
  readonly held: (from: number, to: number) => HeldPrices | UnheldPrices
}

/** There is a price for each moment of a time. */
export interface HeldPrices {
  readonly currency: string
  readonly ids: readonly string[]
}

/** There is none for (all of) it. */
export interface UnheldPrices {
  readonly reason: Unpriced
  readonly detail: string
}

/** @returns undefined: nobody ever said that the resource costs anything */
export type TaskPrices = (resource: UsageResource) => ResourcePrices | undefined

/** As a price names it, and how many of our units are one of its. */
const PRICED: Readonly<Record<UsageResource, readonly [name: string, units: number]>> = {
  gpu_seconds: ['gpu_seconds', 1e6],
  gpu_busy_seconds: ['gpu_busy_seconds', 1e6],
  cpu_core_seconds: ['cpu_core_seconds', 1e6],
  energy: ['energy_wh', 1e6],
  transfer_bytes: ['transfer_bytes', 1],
  disk_bytes: ['disk_bytes', 1],
  tokens: ['tokens', 1],
  tasks: ['tasks', 1],
  queue_seconds: ['queue_seconds', 1e6],
  load_seconds: ['load_seconds', 1e6],
}

const COSTS_MAX = 10_000

export function taskPrices(directory: DirectorySnapshot, tenant: string, machine: Machine): TaskPrices {
  const known = new Map<UsageResource, ResourcePrices | undefined>()
  return (resource) => {
    if (!known.has(resource)) known.set(resource, pricesOf(directory, tenant, machine, resource))
    return known.get(resource)
  }
}

/** The same, each found once: of what was used while no price changed, what it costs follows from how much it is and since when. */
export function remembered(prices: ResourcePrices): ResourcePrices {
  const { changes } = prices
  const costs = new Map<number, Map<number, number>>()
  const helds = new Map<number, HeldPrices | UnheldPrices>()
  const since = (time: number): number => changes.findLastIndex((change) => change <= time)
  return {
    changes,
    costOf: (amount, from, to) => {
      if (changes.some((change) => change > from && change < to)) return prices.costOf(amount, from, to)
      const period = since(from)
      const known = costs.get(period) ?? new Map<number, number>()
      costs.set(period, known)
      const cost = known.get(amount) ?? prices.costOf(amount, from, to)
      if (known.size < COSTS_MAX) known.set(amount, cost)
      return cost
    },
    held: (from, to) => {
      const period = since(from)
      if (changes.some((change) => change > from && change < to)) return prices.held(from, to)
      const held = helds.get(period) ?? prices.held(from, to)
      helds.set(period, held)
      return held
    },
  }
}

function pricesOf(
  directory: DirectorySnapshot,
  tenant: string,
  { vmType, gpuModel }: Machine,
  resource: UsageResource,
): ResourcePrices | undefined {
  const [name, units] = PRICED[resource]
  const all = directory.pricesOf(tenant, name).filter(({ record }) => record.superseded_by === null)
  if (all.length === 0) return undefined
  const source = (): typeof all => all
  const charged = (quantity: number, from: number, to: number): Cost =>
    cost(
      [
        {
          tenant,
          resource: name,
          quantity,
          from,
          to,
          ...(vmType === null ? {} : { vmType }),
          ...(gpuModel === null ? {} : { gpuModel }),
        },
      ],
      source,
    )[0]!
  const changes = [...new Set(all.flatMap(({ from, to }) => [from, to]))].filter(Number.isFinite)
  return {
    changes: changes.sort((a, b) => a - b),
    costOf: (amount, from, to) => Number(charged(amount / units, from, to).micros ?? 0n),
    held: (from, to) => {
      const found = charged(0, from, to)
      if (found.micros === null) return { reason: found.reason, detail: found.detail }
      return { currency: found.currency, ids: [...new Set(found.parts.map(({ price }) => price))] }
    },
  }
}
