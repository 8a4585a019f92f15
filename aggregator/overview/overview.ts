/**
 * Everything that the first page shows, in one answer from memory: what arrives, from whom, hosts with their GPUs, and charts of the
 * last fifteen minutes. One question every few seconds instead of dozens. Askers of the same answer share it for a second, or twenty
 * times as long as it took: however large the fleet, and however many look, it costs a twentieth of a processor. Charts of one host
 * are read beside it, of that host alone; a name that no host has costs nothing.
 */
import { LRUCache } from 'lru-cache'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import { gpusOf, hostAnswer, senderAnswer, utc } from './answers.ts'
import type { ChartAnswer, LineAnswer, OverviewAnswer } from './api.ts'
import type { Host } from './fleet.ts'
import { readFleet } from './fleet.ts'
import type { RecentOptions } from './recent.ts'
import { Recent } from './recent.ts'
import type { SenderRow } from './senders.ts'
import { readArrival, readSenders } from './senders.ts'
import type { StepMeans, Steps } from './steps.ts'
import { drawable, lastSteps } from './steps.ts'

export interface OverviewQuery {
  readonly tenant: string
  /** Also of the senders of all other tenants, and which tenants there are. */
  readonly allTenants: boolean
  /** Charts of this host only. */
  readonly host: string | undefined
}

export const WINDOW_MS = 900_000
const STEP_MS = 15_000
const LINES_MAX = 8
const SENDERS_MAX = 100
/** Where all tenants are shown. */
const SENDERS_OF_TENANT_MAX = 20
const HOSTS_MAX = 200
const TENANTS_MAX = 1000
const SHARED_MS = 1000
const SHARED_TIMES = 20
const SHARED_MAX = 50
/** Hosts whose charts are kept as long as the answer is that they belong to. */
const HOST_CHARTS_MAX = 50

type Charts = OverviewAnswer['charts']
type FleetCharts = Omit<Charts, 'start' | 'step_seconds' | 'samples_per_second'>

/** An answer, and what charts of one host need that belong to it. */
interface Reading {
  readonly answer: OverviewAnswer
  readonly recent: Recent
  readonly steps: Steps
  readonly names: ReadonlySet<string>
  readonly charts: LRUCache<string, Promise<FleetCharts>>
}

export class Overview {
  readonly #options: RecentOptions
  readonly #shared = new LRUCache<string, Promise<Reading>>({ max: SHARED_MAX })

  constructor(options: RecentOptions) {
    this.#options = options
  }

  async answer({ host, ...of }: OverviewQuery): Promise<OverviewAnswer> {
    const reading = await this.#reading(of)
    const { answer } = reading
    if (host === undefined) return answer
    return { ...answer, charts: { ...answer.charts, ...(await chartsOfHost(reading, host)) } }
  }

  #reading(of: Omit<OverviewQuery, 'host'>): Promise<Reading> {
    const key = JSON.stringify([of.tenant, of.allTenants])
    let reading = this.#shared.get(key)
    if (reading === undefined) {
      const started = performance.now()
      const asked = this.#read(of)
      this.#shared.set(key, asked, { ttl: 0 }) // as long as it takes
      asked.then(
        () => this.#shared.set(key, asked, { ttl: Math.max(SHARED_MS, (performance.now() - started) * SHARED_TIMES) }),
        () => this.#shared.delete(key),
      )
      reading = asked
    }
    return reading
  }

  async #read({ tenant, allTenants }: Omit<OverviewQuery, 'host'>): Promise<Reading> {
    const { registry } = this.#options
    const recent = new Recent(this.#options, tenant)
    const recents = allTenants ? recentsOf(this.#options) : [recent]
    const steps = lastSteps(recent.now, STEP_MS, WINDOW_MS / STEP_MS)
    const fleet = await readFleet(recent, steps, undefined)
    const senders: SenderRow[] = []
    for (const one of recents) {
      const rows = [...(await readSenders(one, steps.start)).values()]
      // Among all tenants, the senders that one makes up must not hide those of the others.
      senders.push(...(allTenants ? rows.sort(byRate).slice(0, SENDERS_OF_TENANT_MAX) : rows))
    }
    const arrival = await readArrival(recents, steps)
    const hosts = [...fleet.values()]
    const answer: OverviewAnswer = {
      as_of: utc(recent.now),
      tenant,
      all_tenants: allTenants,
      ...(allTenants ? { tenants: registry.knownTenants().slice(0, TENANTS_MAX).sort() } : {}),
      totals: {
        samples_per_second: total(senders),
        samples_refused: counted(senders, 'samplesRefused'),
        requests_refused: counted(senders, 'requestsRefused'),
        senders: senders.length,
        hosts: hosts.length,
        gpus: hosts.reduce((n, { gpus }) => n + gpus.size, 0),
        series: allTenants ? registry.count : seriesOf(registry, tenant),
      },
      senders: senders.sort(byRate).slice(0, SENDERS_MAX).map(senderAnswer),
      hosts: hosts.sort(byName).slice(0, HOSTS_MAX).map(hostAnswer),
      charts: {
        start: utc(steps.start),
        step_seconds: STEP_MS / 1000,
        samples_per_second: { of: arrival.length, ...drawable(arrival, LINES_MAX) },
        ...chartsOf(hosts),
      },
    }
    return { answer, recent, steps, names: new Set(fleet.keys()), charts: new LRUCache({ max: HOST_CHARTS_MAX }) }
  }
}

function chartsOfHost({ recent, steps, names, charts }: Reading, host: string): Promise<FleetCharts> | FleetCharts {
  if (!names.has(host)) return chartsOf([])
  let read = charts.get(host)
  if (read === undefined) {
    read = readFleet(recent, steps, host).then((fleet) => chartsOf([...fleet.values()]))
    charts.set(host, read)
  }
  return read
}

function chartsOf(hosts: readonly Host[]): FleetCharts {
  return {
    cpu_used_ratio: chart(hosts.map(({ name, cpu }) => [name, cpu])),
    memory_used_ratio: chart(hosts.map(({ name, memory }) => [name, memory])),
    gpu_utilization_ratio: chart(ofGpus(hosts, (gpu) => gpu.utilization)),
    gpu_power_watts: chart(ofGpus(hosts, (gpu) => gpu.power)),
  }
}

/** Of one tenant: how many others have is nothing to it. */
function seriesOf(registry: SeriesRegistry, tenant: string): number {
  return registry.names(tenant).reduce((n, name) => n + registry.seriesOf(tenant, name), 0)
}

/** Each tenant that memory has series of. */
export function recentsOf(options: RecentOptions): Recent[] {
  return options.registry.knownTenants().map((tenant) => new Recent(options, tenant))
}

function ofGpus(
  hosts: readonly Host[],
  read: (gpu: ReturnType<typeof gpusOf>[number]) => StepMeans,
): [string, StepMeans][] {
  return hosts.flatMap((host) =>
    gpusOf(host).map((gpu): [string, StepMeans] => [
      hosts.length === 1 ? `GPU ${gpu.index}` : `${host.name} GPU ${gpu.index}`,
      read(gpu),
    ]),
  )
}

function chart(entities: readonly (readonly [name: string, means: StepMeans])[]): ChartAnswer {
  const lines = entities
    .map(([name, means]): LineAnswer => ({ name, values: means.values() }))
    .filter(({ values }) => values.some((value) => value !== null))
  return { of: lines.length, ...drawable(lines, LINES_MAX) }
}

function total(senders: readonly SenderRow[]): number | null {
  const rates = senders.flatMap(({ samplesPerSecond }) => samplesPerSecond ?? [])
  return rates.length === 0 ? null : rates.reduce((a, b) => a + b, 0)
}

function counted(senders: readonly SenderRow[], what: 'samplesRefused' | 'requestsRefused'): number {
  return senders.reduce((n, row) => n + row[what].reduce((m, { count }) => m + count, 0), 0)
}

function byRate(a: SenderRow, b: SenderRow): number {
  return (b.samplesPerSecond ?? -1) - (a.samplesPerSecond ?? -1)
}

function byName(a: Host, b: Host): number {
  return a.name.localeCompare(b.name, 'en', { numeric: true })
}
