/**
 * A soak: steady load, faults round after round, and every few rounds a comparison of what was acknowledged with what is there.
 *
 *     round: faults of the plan side by side ──▶ all is well again, within a bound ──▶ the sums on /metrics hold
 *     every few rounds, and at the end: senders pause ──▶ everything is stored ──▶ compared ──▶ senders go on
 */
import { Checker } from './checker.ts'
import { inflict } from './faults.ts'
import type { Found } from './found.ts'
import { add, isSound, nothingFound } from './found.ts'
import { Load } from './load.ts'
import type { Fault } from './plan.ts'
import { nameOf, Plan } from './plan.ts'
import { World } from './world.ts'

const PAUSE_MS = 120_000
/** Samples begin a little earlier than now, so that the answers to queries come from memory and ClickHouse as it goes on. */
const FROM_MS = 10_000

export interface SoakOptions {
  readonly seed: number
  /** At most. */
  readonly rounds: number
  /** No round begins after so many ms. */
  readonly forMs: number
  /** No round begins after it either. */
  readonly enough?: AbortSignal
  /** Compared after each so many rounds. */
  readonly every: number
  /** Of all durations of the plan. */
  readonly scale: number
  readonly directory: string
  readonly senders: number
  /** Whether samples go by Kafka. */
  readonly kafka: boolean
  readonly onRound: (round: Round, report: Report) => void
}

export interface Round {
  readonly number: number
  readonly faults: readonly Fault[]
  readonly recoveryMs: number
  /** What was compared after it. */
  readonly found: Found | undefined
}

export interface Report {
  rounds: number
  /** By name of the fault: how often it hit, found nothing to hit, and cannot be done here. */
  readonly faults: Map<string, { hit: number; missed: number; skipped: number }>
  /** What happened to requests, by road and mishap. */
  readonly mishaps: Map<string, number>
  /** Samples. */
  acknowledged: number
  resent: number
  failedStarts: number
  readonly compared: Found
  slowest: { ms: number; round: number }
  readonly missing: ReadonlyMap<string, string>
}

/** Something that was promised did not hold. Its data was kept. */
export class SoakFailure extends Error {
  readonly round: number
  readonly faults: readonly Fault[]
  readonly report: Report

  constructor(round: number, faults: readonly Fault[], report: Report, cause: unknown) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause), { cause })
    this.round = round
    this.faults = faults
    this.report = report
  }
}

/** @throws SoakFailure */
export async function soak(options: SoakOptions): Promise<Report> {
  const began = performance.now()
  const plan = new Plan(options.seed, options.scale, options.kafka)
  const world = await World.open(options.directory, options.kafka)
  const load = new Load({
    url: world.sendersUrl,
    senders: options.senders,
    lanes: 2,
    series: 100,
    stepMs: 250,
    from: Date.now() - FROM_MS,
  })
  const run = new Run(world, load, options)
  let faults: readonly Fault[] = []
  try {
    load.start()
    const goesOn = (): boolean => performance.now() - began < options.forMs && options.enough?.aborted !== true
    while (run.report.rounds < options.rounds && goesOn()) {
      faults = plan.next()
      await run.round(faults)
    }
    faults = []
    await run.end()
    await world.close(false)
    return run.report
  } catch (error) {
    await load.stop().catch(() => {})
    await world.close(true)
    throw new SoakFailure(run.report.rounds + 1, faults, run.report, error)
  }
}

class Run {
  readonly report: Report
  readonly #world: World
  readonly #load: Load
  readonly #options: SoakOptions
  readonly #checker: Checker

  constructor(world: World, load: Load, options: SoakOptions) {
    this.#world = world
    this.#load = load
    this.#options = options
    this.#checker = new Checker(world, load)
    this.report = {
      rounds: 0,
      faults: new Map(),
      mishaps: new Map(),
      acknowledged: 0,
      resent: 0,
      failedStarts: 0,
      compared: nothingFound(),
      slowest: { ms: 0, round: 0 },
      missing: world.missing,
    }
  }

  async round(faults: readonly Fault[]): Promise<void> {
    const possible = faults.filter(({ kind }) => !this.#world.missing.has(kind))
    const outcomes = await Promise.allSettled(possible.map((fault) => inflict(this.#world, fault)))
    let over = 0
    for (const fault of faults) {
      const i = possible.indexOf(fault)
      const outcome = outcomes[i]
      if (outcome?.status === 'rejected') throw outcome.reason
      this.#count(fault, outcome?.value.hit)
      over = Math.max(over, outcome?.value.over ?? 0)
    }
    await this.#checker.recovered()
    const recoveryMs = over === 0 ? 0 : performance.now() - over
    this.#nothingUnexpected()
    await this.#checker.checkSums()
    const number = this.report.rounds + 1
    const found = number % this.#options.every === 0 ? await this.#compare() : undefined
    this.report.rounds = number
    if (recoveryMs > this.report.slowest.ms) this.report.slowest = { ms: recoveryMs, round: number }
    this.#figures()
    this.#options.onRound({ number, faults: possible, recoveryMs, found }, this.report)
  }

  /** Everything once more, then the programs end in order, and the tables are read. */
  async end(): Promise<void> {
    await this.#load.pause(PAUSE_MS)
    await this.#load.stop()
    const found = await this.#checker.compareAllStored()
    Object.assign(this.report.compared, nothingFound())
    this.#judge(found)
    await this.#checker.compareAllAnswers()
    this.#nothingUnexpected()
    this.#figures()
    await this.#world.terminate('collector')
    await this.#world.terminate('aggregator')
    await this.#checker.compareTables()
  }

  async #compare(): Promise<Found> {
    await this.#load.pause(PAUSE_MS)
    const found = await this.#checker.compareStored()
    this.#judge(found)
    await this.#checker.compareAnswers()
    this.#load.go()
    return found
  }

  #judge(found: Found): void {
    add(this.report.compared, found)
    if (!isSound(found))
      throw new Error(`what is stored is not what was acknowledged:\n${JSON.stringify(found, null, 2)}`)
  }

  #nothingUnexpected(): void {
    if (this.#load.refusal !== undefined) throw new Error(`a request was refused: ${this.#load.refusal}`)
    const [ended] = this.#world.endedThemselves
    if (ended !== undefined) throw new Error(`a program ended by itself: ${ended}`)
  }

  /** @param hit undefined when it cannot be done here */
  #count(fault: Fault, hit: boolean | undefined): void {
    const name =
      fault.kind === 'network'
        ? `network: ${fault.mishap}`
        : 'target' in fault
          ? `${fault.kind}: ${fault.target}`
          : fault.kind === 'broker'
            ? `${fault.how}: broker`
            : fault.kind
    const counts = this.report.faults.get(name) ?? { hit: 0, missed: 0, skipped: 0 }
    counts[hit === undefined ? 'skipped' : hit ? 'hit' : 'missed']++
    this.report.faults.set(name, counts)
  }

  #figures(): void {
    this.report.acknowledged = this.#load.acknowledged
    this.report.resent = this.#load.resent
    this.report.failedStarts = this.#world.failedStarts
    for (const [name, road] of Object.entries(this.#world.roads))
      for (const [mishap, count] of road.happened) this.report.mishaps.set(`${mishap} on ${name}`, count)
  }
}

/** One line: what happened in a round and how it ended. */
export function lineOf({ number, faults, recoveryMs, found }: Round, report: Report): string {
  const what = faults.length === 0 ? 'nothing that can be done here' : faults.map(nameOf).join(', ')
  const compared =
    found === undefined
      ? ''
      : `; compared ${found.expected.toLocaleString('en')} and ${found.histograms.toLocaleString('en')} histograms: nothing lost or twice`
  const well = `well after ${(recoveryMs / 1000).toFixed(1)} s`
  return `round ${number}: ${what}; ${well}; ${report.acknowledged.toLocaleString('en')} acknowledged${compared}`
}
