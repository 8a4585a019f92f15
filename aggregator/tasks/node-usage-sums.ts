/** Sums of what GPUs delivered, slot by slot, by any grouping and period. */
import { compareUtf8 } from '../../proto/wire/labels.ts'
import type { GpuSlot } from './gpu-time.ts'
import type { NodeUsageFilter, NodeUsageGroup } from './node-usage-filter.ts'

/** µs of GPUs, and millionths of the currency. */
export interface NodeUsageSums {
  /** '': nothing says what it costs. */
  readonly currency: string
  /** How many there were, or were counted. */
  readonly gpus: number
  readonly delivered: bigint
  readonly attributed: bigint
  readonly idle: bigint
  readonly unmeasured: bigint
  readonly deliveredCost: number
  readonly attributedCost: number
  readonly idleCost: number
}

export interface NodeUsageLine extends NodeUsageSums {
  /** A value for each group, in their order; '' where it is not known. */
  readonly keys: readonly string[]
}

/** What a slot of a GPU is of. */
export type GpuPlace = Readonly<Record<'node' | 'gpu' | 'gpu_model' | 'vm_type', string>>

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
interface Sum extends Mutable<Omit<NodeUsageSums, 'gpus'>> {
  readonly keys: readonly string[]
  readonly gpus: Set<string>
}

export class Sums {
  readonly #groups: readonly NodeUsageGroup[]
  readonly #lines = new Map<string, Sum>()

  constructor({ groups }: NodeUsageFilter) {
    this.#groups = groups
  }

  /** Lines so far. */
  get size(): number {
    return this.#lines.size
  }

  add(of: GpuPlace, slot: GpuSlot): void {
    const keys = this.#groups.map((group) => (group in of ? of[group as keyof GpuPlace] : periodOf(group, slot.slot)))
    const sum = sumIn(this.#lines, keys, slot.currency)
    sum.gpus.add(JSON.stringify([of.node, of.gpu]))
    for (const name of TIMES) sum[name] += BigInt(slot[name])
    for (const name of COSTS) sum[name] += slot[name]
  }

  result(): { readonly lines: readonly NodeUsageLine[]; readonly totals: readonly NodeUsageSums[] } {
    const totals = new Map<string, Sum>()
    for (const line of this.#lines.values()) {
      const total = sumIn(totals, [], line.currency)
      for (const gpu of line.gpus) total.gpus.add(gpu)
      for (const name of TIMES) total[name] += line[name]
      for (const name of COSTS) total[name] += line[name]
    }
    return { lines: sorted(this.#lines), totals: sorted(totals) }
  }
}

const TIMES = ['delivered', 'attributed', 'idle', 'unmeasured'] as const
const COSTS = ['deliveredCost', 'attributedCost', 'idleCost'] as const
const NONE = {
  delivered: 0n,
  attributed: 0n,
  idle: 0n,
  unmeasured: 0n,
  deliveredCost: 0,
  attributedCost: 0,
  idleCost: 0,
}

function sumIn(sums: Map<string, Sum>, keys: readonly string[], currency: string): Sum {
  const key = JSON.stringify([...keys, currency])
  const known = sums.get(key)
  if (known !== undefined) return known
  const sum: Sum = { keys, currency, gpus: new Set(), ...NONE }
  sums.set(key, sum)
  return sum
}

function sorted(sums: ReadonlyMap<string, Sum>): NodeUsageLine[] {
  return [...sums.values()]
    .map((sum) => ({ sum, place: [...sum.keys, sum.currency] }))
    .sort((a, b) => compareKeys(a.place, b.place))
    .map(({ sum }) => ({ ...sum, gpus: sum.gpus.size }))
}

export function compareKeys(a: readonly string[], b: readonly string[]): number {
  for (const [i, key] of a.entries()) {
    const compared = compareUtf8(key, b[i]!)
    if (compared !== 0) return compared
  }
  return 0
}

/** The beginning of the slot, hour, day or month that a slot is in. */
function periodOf(group: NodeUsageGroup, slot: number): string {
  const text = new Date(slot).toISOString()
  const cut =
    group === 'month' ? `${text.slice(0, 7)}-01T00` : group === 'day' ? `${text.slice(0, 10)}T00` : text.slice(0, 13)
  return group === 'slot' ? `${text.slice(0, 16)}:00Z` : `${cut}:00:00Z`
}
