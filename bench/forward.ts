/**
 * What does it cost to take a sample and forward it? A collector and a vmagent in turn, the same samples flat out, the same sink:
 *
 *     load process ──remote write──▶ collector | vmagent ──▶ sink process
 *
 * Each takes samples for a while first (series that are new, code that is not compiled yet); that is a figure of its own. CPU is
 * read when the queues have drained, and what the sink holds must be what was sent: as many samples, of the same sum.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Interface } from 'node:readline'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, freePort, ready, start, terminate } from '../test/support/programs.ts'
import type { LoadJob, LoadResult } from './load.process.ts'
import { cpuSeconds, memoryMib, startScript } from './processes.ts'
import type { Received } from './sink.process.ts'

/** CPU seconds a million samples, and the highest resident memory, MiB. */
export interface ForwardCost {
  readonly cpuPerMillion: number
  /** Of the first samples after the start: series that are new, and code that is not compiled yet. */
  readonly coldCpuPerMillion: number
  readonly peakMib: number
  readonly seconds: number
  /** Forwarded, a sample. */
  readonly wireBytes: number
}

export interface ForwardPair {
  readonly fleetmeter: ForwardCost
  readonly vmagent: ForwardCost | undefined
}

const MILLION = 1e6
/** Before the clock runs, for both: samples of each series. */
const WARM_ROUNDS = 50
const QUIET_MS = 1000
/** CPU seconds within {@link QUIET_MS} of a process that has nothing left to do. */
const QUIET_CPU = 0.05
const QUIET_TIMES = 3

/** @param peer whether vmagent takes its turn */
export async function measureForward(job: LoadJob, pairs: number, peer: boolean): Promise<ForwardPair[]> {
  const load = new Talker('./load.process.ts', [JSON.stringify(job)])
  const sink = new Talker('./sink.process.ts', [])
  try {
    const sinkUrl = await sink.line()
    await load.line()
    const found: ForwardPair[] = []
    for (let pair = 0; pair < pairs; pair++) {
      const vmagent = peer ? await measure(startVmagent, load, sink, sinkUrl, job.rounds) : undefined
      found.push({ fleetmeter: await measure(startCollector, load, sink, sinkUrl, job.rounds), vmagent })
    }
    return found
  } finally {
    load.end()
    sink.end()
  }
}

interface Program {
  readonly pid: number
  readonly writeUrl: string
  readonly stop: () => Promise<void>
}

async function measure(
  begin: (directory: string, sinkUrl: string) => Promise<Program>,
  load: Talker,
  sink: Talker,
  sinkUrl: string,
  rounds: number,
): Promise<ForwardCost> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  try {
    const program = await begin(directory, sinkUrl)
    const send = async (first: number, end: number): Promise<{ sent: LoadResult; cpu: number }> => {
      const before = cpuSeconds(program.pid)
      const sent = JSON.parse(await load.ask(`${program.writeUrl} ${first} ${end}`)) as LoadResult
      await quiet(program.pid)
      return { sent, cpu: cpuSeconds(program.pid) - before }
    }
    const cold = await send(0, WARM_ROUNDS)
    check(await sink.ask('count'), cold.sent)
    const { sent, cpu } = await send(WARM_ROUNDS, rounds)
    const { peak } = memoryMib(program.pid)
    await program.stop()
    const got = check(await sink.ask('count'), sent)
    return {
      cpuPerMillion: (cpu / sent.samples) * MILLION,
      coldCpuPerMillion: (cold.cpu / cold.sent.samples) * MILLION,
      peakMib: peak,
      seconds: sent.seconds,
      wireBytes: got.bytes / got.samples,
    }
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The sink must hold what was sent. */
function check(line: string, sent: LoadResult): Received {
  const got = JSON.parse(line) as Received
  if (got.samples !== sent.samples || Math.abs(got.sum - sent.sum) > 1e-9 * Math.abs(sent.sum))
    throw new Error(`the sink has ${got.samples} samples, sum ${got.sum}; sent were ${sent.samples}, ${sent.sum}`)
  return got
}

/** Until it has nothing to do. */
async function quiet(pid: number): Promise<void> {
  for (let times = 0, before = cpuSeconds(pid); times < QUIET_TIMES; ) {
    await sleep(QUIET_MS)
    const now = cpuSeconds(pid)
    times = now - before <= QUIET_CPU ? times + 1 : 0
    before = now
  }
}

async function startCollector(directory: string, sinkUrl: string): Promise<Program> {
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_AGGREGATOR_URL: sinkUrl,
    // What rules make is not what was sent.
    FLEETMETER_COLLECTOR_RULES: '[]',
  })
  await ready(collector.url)
  return {
    pid: collector.process.pid!,
    writeUrl: `${collector.url}/api/v1/write`,
    stop: async () => void (await terminate(collector)),
  }
}

async function startVmagent(directory: string, sinkUrl: string): Promise<Program> {
  const port = await freePort()
  const child = spawn(
    'vmagent',
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-remoteWrite.url=${sinkUrl}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${join(directory, 'vmagent')}`,
    ],
    { stdio: 'ignore' },
  )
  const url = `http://127.0.0.1:${port}`
  await eventually('vmagent is ready', async () => (await fetch(`${url}/health`)).status === 200)
  return { pid: child.pid!, writeUrl: `${url}/api/v1/write`, stop: () => stopChild(child) }
}

function stopChild(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

/** A script that answers lines with lines. */
class Talker {
  readonly #process: ChildProcess
  readonly #lines: Interface
  readonly #next: AsyncIterator<string>

  constructor(script: string, args: readonly string[]) {
    this.#process = startScript(script, args)
    this.#lines = createInterface({ input: this.#process.stdout! })
    this.#next = this.#lines[Symbol.asyncIterator]()
  }

  async line(): Promise<string> {
    const { value, done } = await this.#next.next()
    if (done === true) throw new Error('a process of the bench ended')
    return value
  }

  ask(line: string): Promise<string> {
    this.#process.stdin!.write(`${line}\n`)
    return this.line()
  }

  end(): void {
    this.#process.stdin!.end()
  }
}
