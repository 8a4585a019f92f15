/**
 * What do more series cost? Two collectors, one that gets few series and one that gets a hundred times as many, side by side and in
 * turn, the same number of samples, merely forwarded to the same sink.
 *
 * Memory a series: resident memory of the one less that of the other, both once they have taken as many samples and have nothing
 * left to do, a series that it has more; less the bytes of its label names and values, which any index must keep.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fleet, SAMPLES_PER_REQUEST } from './fleet.ts'
import { measureTurn } from './forward.ts'
import type { Forwarder } from './forwarders.ts'
import { MANY_SERIES, startCollector } from './forwarders.ts'
import { memoryMib } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { row } from './table.ts'
import { Load, Sink } from './talker.ts'

/** 10,080 series and 1,000,080. */
const SERIES_JOB = { fewNodes: 42, manyNodes: 4167, rounds: 2 }

export interface SeriesJob {
  readonly fewNodes: number
  readonly manyNodes: number
  /** Samples of each of the many series in a turn; the few have as many more as there are more series. */
  readonly rounds: number
  readonly turns: number
}

export interface SeriesCost {
  readonly series: { readonly few: number; readonly many: number }
  /** CPU seconds a million samples; the first turn is cold, and its series new. */
  readonly turns: readonly { readonly few: number; readonly many: number }[]
  /** Bytes a series. */
  readonly memory: { readonly resident: number; readonly labels: number }
}

const MIB = 1024 * 1024
const STEP_MS = 1000

interface Side {
  readonly load: Load
  readonly forwarder: Forwarder
  readonly rounds: number
}

export async function measureSeries(job: SeriesJob): Promise<SeriesCost> {
  const sink = new Sink()
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const loads: Load[] = []
  const started: Forwarder[] = []
  const few = new Fleet(job.fewNodes)
  const many = new Fleet(job.manyNodes)
  try {
    const url = await sink.url()
    const side = async (name: string, nodes: number, rounds: number): Promise<Side> => {
      const all = rounds * (job.turns + 1)
      const startMs = Date.now() - all * STEP_MS
      const shape = { pods: false, versions: [1] as const, windows: undefined, connections: 4 }
      const load = new Load({ ...shape, nodes, rounds: all, startMs, stepMs: STEP_MS })
      loads.push(load)
      await load.ready()
      const forwarder = await startCollector(join(directory, name), url, MANY_SERIES)
      started.push(forwarder)
      return { load, forwarder, rounds }
    }
    const requests = (fleet: Fleet): number => Math.ceil(fleet.series / SAMPLES_PER_REQUEST)
    const fewRounds = Math.round((job.rounds * requests(many)) / requests(few))
    const sides = [await side('few', job.fewNodes, fewRounds), await side('many', job.manyNodes, job.rounds)] as const
    const turns: { few: number; many: number }[] = []
    for (let turn = 0; turn <= job.turns; turn++) {
      const cost = async ({ load, forwarder, rounds }: Side): Promise<number> => {
        const part = { first: turn * rounds, end: (turn + 1) * rounds, version: 1 } as const
        return (await measureTurn(forwarder, load, sink, part)).cpuPerMillion
      }
      turns.push({ few: await cost(sides[0]), many: await cost(sides[1]) })
    }
    const more = many.series - few.series
    const resident = ((memoryMib(sides[1].forwarder.pid).now - memoryMib(sides[0].forwarder.pid).now) * MIB) / more
    const labels = (many.labelBytes - few.labelBytes) / more
    return { series: { few: few.series, many: many.series }, turns, memory: { resident, labels } }
  } finally {
    for (const { stop } of started) await stop()
    for (const load of loads) load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Prints the table. */
export async function series(turns: number): Promise<void> {
  const { series, turns: costs, memory } = await measureSeries({ ...SERIES_JOB, turns })
  const name = (n: number): string => `${n.toLocaleString('en')} series`
  console.log(`| CPU s / million samples | ${name(series.few)} | ${name(series.many)} | × |\n|---|---:|---:|---:|`)
  for (const [i, { few, many }] of costs.entries()) row(i === 0 ? 'cold' : 'warm', [few, many, many / few])
  console.log(`\nmedian × ${quantiles(costs.slice(1).map(({ few, many }) => many / few)).p50.toFixed(2)}`)
  const { resident, labels } = memory
  const figures = [resident, labels, resident - labels].map((n) => n.toFixed(0))
  console.log(`resident bytes a series ${figures[0]}, of labels ${figures[1]}, beyond them ${figures[2]}`)
}
