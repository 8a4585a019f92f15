/**
 * What does one sender's attack cost another's answers? Both are processes of their own; the hostile one offers ten times its
 * limit in series that are new each time. Alone and attacked take turns, so that a busy machine meets both.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPair } from '../test/support/pair.ts'
import type { NeighbourJob, NeighbourResult } from './neighbour.process.ts'
import { outputOf, startScript } from './processes.ts'

const LIMIT = 3000
const TIMES_THE_LIMIT = 10
/** Starting a process, and its first requests, are not the question. */
const SETTLE_MS = 3000

export interface NeighbourRound {
  readonly alone: NeighbourResult
  readonly attacked: NeighbourResult
  readonly attacker: NeighbourResult
}

/** @param seconds of each turn */
export async function measureNeighbour(rounds: number, seconds: number): Promise<NeighbourRound[]> {
  const ends: (() => void | Promise<void>)[] = []
  try {
    const { collector } = await startPair(
      { after: (end) => ends.unshift(end) },
      {
        FLEETMETER_COLLECTOR_SERIES_PER_SENDER_MAX: '1000',
        FLEETMETER_COLLECTOR_SENDER_SAMPLES_PER_SECOND: String(LIMIT),
        FLEETMETER_COLLECTOR_SENDER_BURST_SECONDS: '2',
      },
    )
    const sender = (role: NeighbourJob['role']): Sender =>
      new Sender({ url: collector.url, role, samplesPerSecond: TIMES_THE_LIMIT * LIMIT })
    const found: NeighbourRound[] = []
    for (let round = 0; round < rounds; round++) {
      const alone = await measure(sender('honest'), seconds)
      const hostile = sender('hostile')
      await sleep(SETTLE_MS)
      const attacked = await measure(sender('honest'), seconds)
      found.push({ alone, attacked, attacker: await hostile.end() })
    }
    return found
  } finally {
    for (const end of ends) await end()
  }
}

async function measure(sender: Sender, seconds: number): Promise<NeighbourResult> {
  await sleep(seconds * 1000)
  return sender.end()
}

class Sender {
  readonly #process: ChildProcess
  readonly #output: Promise<string>

  constructor(job: NeighbourJob) {
    this.#process = startScript('./neighbour.process.ts', [JSON.stringify(job)])
    this.#output = outputOf(this.#process)
  }

  async end(): Promise<NeighbourResult> {
    this.#process.stdin!.end()
    return JSON.parse(await this.#output) as NeighbourResult
  }
}

/** Prints the table. */
export async function neighbour(turns: number, seconds: number): Promise<void> {
  console.log('answers to the honest sender, ms; answers to the hostile one by status\n')
  console.log('| alone p50 | p99 | attacked p50 | p99 | p99 × | the hostile one |\n|---:|---:|---:|---:|---:|---|')
  for (const { alone, attacked, attacker } of await measureNeighbour(turns, seconds)) {
    const figures = [alone, attacked].flatMap(({ latencies: { p50, p99 } }) => [p50, p99])
    const row = [...figures, attacked.latencies.p99 / alone.latencies.p99].map((n) => n.toFixed(1))
    console.log(`| ${row.join(' | ')} | ${JSON.stringify(attacker.statuses)} |`)
    for (const { statuses } of [alone, attacked])
      if (Object.keys(statuses).join() !== '204') throw new Error(`the honest one got ${JSON.stringify(statuses)}`)
  }
}
