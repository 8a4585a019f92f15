/** How many series of a shard are of which tenant and sender: nobody may use up the room of all. */
import type { SeriesBound } from './overflow.ts'
import type { SeriesTable } from './series-table.ts'

export interface SeriesBounds {
  readonly seriesMax: number
  readonly seriesPerTenantMax: number
  readonly seriesPerSenderMax: number
}

const MIB = 1024 * 1024
/** Labels and their index, of all spellings, on average for each series that there is room for; and what few series may have. */
const KEY_BYTES_PER_SERIES = 1024
const KEY_BYTES_MIN = 64 * MIB
/** A shard's index is in one memory of 4 GiB, and doubles parts of itself on the way. */
const KEY_BYTES_MAX = 2048 * MIB

/** Most memory for label blocks and their index, bytes: label limits alone would allow half a megabyte a series. */
export function keyBytesMax({ seriesMax }: Pick<SeriesBounds, 'seriesMax'>): number {
  return Math.min(KEY_BYTES_MAX, Math.max(KEY_BYTES_MIN, seriesMax * KEY_BYTES_PER_SERIES))
}

/** Of series that a journal brought: whose they were is not written there. */
const NOBODY = 0

export class SeriesShares {
  readonly #bounds: SeriesBounds
  readonly #keyBytesMax: number
  readonly #numbers = new Map<string, number>()
  #bySender: number[] = [0]
  #byTenant: number[] = []

  constructor(bounds: SeriesBounds) {
    this.#bounds = bounds
    this.#keyBytesMax = keyBytesMax(bounds)
  }

  /** The number of a sender, to be kept with its series. @param sender undefined: not known */
  numberOf(sender: string | undefined): number {
    if (sender === undefined) return NOBODY
    const known = this.#numbers.get(sender)
    if (known !== undefined) return known
    const number = this.#bySender.push(0) - 1
    this.#numbers.set(sender, number)
    return number
  }

  /** The bound that one more series would be beyond; undefined: there is room. */
  boundFor(table: SeriesTable, tenant: number, sender: number): SeriesBound | undefined {
    const { seriesMax, seriesPerTenantMax, seriesPerSenderMax } = this.#bounds
    if (table.count >= seriesMax || table.keys.bytes >= this.#keyBytesMax) return 'series_max'
    if ((this.#byTenant[tenant] ?? 0) >= seriesPerTenantMax) return 'series_per_tenant_max'
    if (sender !== NOBODY && this.#bySender[sender]! >= seriesPerSenderMax) return 'series_per_sender_max'
    return undefined
  }

  /** A series was added to the table. */
  added(table: SeriesTable, series: number, sender: number): void {
    table.owner[series] = sender
    this.#bySender[sender]!++
    const tenant = table.tenantOf(series)
    this.#byTenant[tenant] = (this.#byTenant[tenant] ?? 0) + 1
  }

  /** Whether one of the bounds is nearly reached: it is time to forget series that are idle. */
  get tight(): boolean {
    const { seriesPerTenantMax, seriesPerSenderMax } = this.#bounds
    return (
      this.#byTenant.some((n) => n >= seriesPerTenantMax * 0.9) ||
      this.#bySender.some((n, sender) => sender !== NOBODY && n >= seriesPerSenderMax * 0.9)
    )
  }

  /** The table is another one, with fewer series: counts anew, and renumbers the senders that are left. */
  recount(table: SeriesTable): void {
    const names = new Map([...this.#numbers].map(([name, number]) => [number, name]))
    const owners = table.owner.slice(0, table.count)
    this.#numbers.clear()
    this.#bySender = [0]
    this.#byTenant = []
    for (let series = 0; series < table.count; series++)
      this.added(table, series, this.numberOf(names.get(owners[series]!)))
  }
}
