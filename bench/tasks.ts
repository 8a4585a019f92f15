/**
 * How soon is what a task used to be had after its end, with 1,000 ends a minute, while a fleet's samples arrive?
 *
 *     fleet process ──50,000 samples/s──▶ collector ──▶ aggregator ──▶ embedded engine
 *     this process  ──start, end──────────▶┘                 ▲
 *                   ──GET /v1/tasks/{id} until it says so────┘
 *
 * Tasks run for 20 to 40 s, each on one GPU of the fleet. Of every fourth the usage is asked for from its end on; of all the aggregator's
 * own figure says how long it was from the end's arrival to the row. In the end every task must have its GPU's seconds.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Running } from '../test/support/programs.ts'
import { authorized, enginePid, ready, scrape, start, terminate, total } from '../test/support/programs.ts'
import type { FleetJob, FleetResult } from './fleet.process.ts'
import { GPUS } from './fleet.ts'
import { cpuSeconds, memoryMib, outputOf, startScript } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { row } from './table.ts'

const NODES = 200
const SENDERS = 8
const RATE = 50_000
const ENDS_A_MINUTE = 1000
/** A task's time, ms: from the first, by steps, up to twice that. */
const RUN_MS = 20_000
/** Until series are known, code is compiled, and windows have samples. */
const SETTLE_S = 20
const PROBE_EVERY = 4
const PROBE_MS = 250
const LATE_MS = 60_000

interface Answer {
  readonly attempts: readonly { readonly ended_at: string | null; readonly quantities: Quantities }[]
}
interface Quantities {
  readonly gpu_held_seconds: { readonly value: number | null }
  readonly energy_wh: { readonly value: number | null }
}

class Tasks {
  readonly #collector: string
  readonly #aggregator: string
  readonly latencies: number[] = []
  ended = 0
  /** Without figures, of those that were asked for. */
  empty = 0

  constructor(collector: string, aggregator: string) {
    this.#collector = collector
    this.#aggregator = aggregator
  }

  async run(number: number): Promise<void> {
    const begun = Date.now()
    const task = { task_id: randomUUID(), user_id: randomUUID(), model: 'llama-70b', ...machineOf(number) }
    await this.#tell('xumi.generation.start', begun, task)
    await sleep(RUN_MS + ((number * 37) % 100) * (RUN_MS / 100))
    const since = performance.now()
    await this.#tell('xumi.generation.complete', Date.now(), { ...task, result: true })
    this.ended++
    if (number % PROBE_EVERY === 0) await this.#probe(task.task_id, since)
  }

  async #tell(event_type: string, time: number, fields: object): Promise<void> {
    const timestamp = new Date(time).toISOString()
    const event = { event_id: randomUUID(), event_type, timestamp, tenant_id: 'default', source: 'xumi', ...fields }
    const response = await fetch(`${this.#collector}/v1/events`, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      body: JSON.stringify(event),
    })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`an event was answered ${response.status} ${text}`)
  }

  async #probe(id: string, since: number): Promise<void> {
    while (performance.now() - since < LATE_MS) {
      const response = await fetch(`${this.#aggregator}/v1/tasks/${id}`, { headers: authorized })
      const answer = (await response.json()) as Answer
      const attempt = response.status === 200 ? answer.attempts[0] : undefined
      if (attempt !== undefined && attempt.ended_at !== null) {
        this.latencies.push(performance.now() - since)
        const { gpu_held_seconds, energy_wh } = attempt.quantities
        if (gpu_held_seconds.value === null || energy_wh.value === null) this.empty++
        return
      }
      await sleep(PROBE_MS)
    }
    this.latencies.push(Number.POSITIVE_INFINITY)
  }
}

/** Of task number n: all GPUs of the fleet in turn. */
function machineOf(n: number): { readonly host_name: string; readonly gpus: readonly string[] } {
  return { host_name: `gpu-${String(n % NODES).padStart(4, '0')}`, gpus: [String(Math.floor(n / NODES) % GPUS)] }
}

/** Prints the table. @param seconds of each turn */
export async function tasks(turns: number, seconds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const running: Running[] = []
  try {
    const aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
    })
    running.unshift(aggregator)
    const collector = await start('collector', {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_AGGREGATOR_URL: aggregator.url,
    })
    running.unshift(collector)
    await ready(aggregator.url)
    await ready(collector.url)
    const runS = (2 * RUN_MS) / 1000
    // Tasks end a while after the last turn: those have samples too.
    const all = SETTLE_S + 2 * runS + turns * seconds
    const job: FleetJob = { url: collector.url, nodes: NODES, senders: SENDERS, samplesPerSecond: RATE, seconds: all }
    const fleet = outputOf(startScript('./fleet.process.ts', [JSON.stringify(job)]))
    await sleep(SETTLE_S * 1000)
    const tasks = new Tasks(collector.url, aggregator.url)
    const count = Math.floor((ENDS_A_MINUTE / 60) * (turns * seconds + runS))
    const started = performance.now()
    const work = Promise.all(
      Array.from({ length: count }, async (_, i) => {
        await sleep((i * 60_000) / ENDS_A_MINUTE)
        await tasks.run(i)
      }),
    )
    await sleep(runS * 1000)
    console.log(
      '| | ends a minute | asked for | p50, ms | p99 | max | CPU s a minute: aggregator | engine | loop p99, ms |',
    )
    console.log('|---|---:|---:|---:|---:|---:|---:|---:|---:|')
    for (let turn = 0; turn < turns; turn++) {
      const pids = [aggregator.process.pid!, enginePid(aggregator)!] as const
      const before = { cpu: pids.map(cpuSeconds), ended: tasks.ended, probes: tasks.latencies.length }
      await scrape(aggregator.url) // event loop delays are counted from one reading to the next
      await sleep(seconds * 1000)
      const cpu = pids.map((pid, i) => ((cpuSeconds(pid) - before.cpu[i]!) * 60) / seconds)
      const loop = total(await scrape(aggregator.url), 'nodejs_eventloop_lag_p99_seconds') * 1000
      const probed = tasks.latencies.slice(before.probes)
      const { p50, p99, max } = quantiles(probed)
      const ends = ((tasks.ended - before.ended) * 60) / seconds
      row(`turn ${turn + 1}`, [ends, probed.length, p50, p99, max, cpu[0], cpu[1], loop], 1)
    }
    await work
    const { samples, seconds: took, lagMs } = JSON.parse(await fleet) as FleetResult
    const metrics = await scrape(aggregator.url)
    const within = (le: string): number => metrics.get(`fleetmeter_aggregator_task_row_seconds_bucket{le="${le}"}`) ?? 0
    const rows = total(metrics, 'fleetmeter_aggregator_task_row_seconds_count')
    console.log(
      `\n${Math.round(samples / took).toLocaleString('en')} samples a second, at most ${lagMs.toFixed(0)} ms late`,
    )
    console.log(
      `${tasks.ended} tasks ended in ${((performance.now() - started) / 1000).toFixed(0)} s, ${tasks.empty} of those asked for without figures`,
    )
    console.log(
      `by the aggregator's own figure, ${rows} rows: ${within('1')} within 1 s, ${within('2')} in 2, ${within('3')} in 3, ${within('5')} in 5`,
    )
    console.log(`calculations: ${total(metrics, 'fleetmeter_aggregator_task_calculations_total')}`)
    console.log(`peak memory of the aggregator ${memoryMib(aggregator.process.pid!).peak.toFixed(0)} MiB`)
  } finally {
    for (const program of running) await terminate(program)
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}
