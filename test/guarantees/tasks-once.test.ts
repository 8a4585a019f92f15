/**
 * The tasks of a real H100 (test/fixtures/gpu-h100) end in one row each, with the recording's figures, whatever the order in which
 * their events come, however often, and though the aggregator is killed with -9 in between; what was counted is what the rows say.
 *
 * FLEETMETER_TEST_ROUNDS sets the number of kills, FLEETMETER_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskDetails } from '../../aggregator/tasks/task-details.ts'
import type { FleetEvent } from '../../proto/events/event.ts'
import { startEngine } from '../support/engine.ts'
import type { Running } from '../support/programs.ts'
import {
  authorized,
  eventually,
  freePort,
  kill,
  ready,
  scrape,
  start,
  temporaryDirectory,
  terminate,
  total,
} from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'
import { recordedTasks } from '../support/recorded-gpu.ts'
import { RECORDED_HOST, RECORDED_TABLE, recordedSeries } from '../support/recorded-tasks.ts'
import { event, idOf } from '../support/task-events.ts'
import type { Point } from '../support/write-request.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const KILLS = Number(process.env['FLEETMETER_TEST_ROUNDS'] ?? 3)
const TENANT = 'default'
const PLACES = ['owner.append.before', 'owner.append.after', 'events.rows.after'] as const
/** As if the recording had ended a quarter of an hour ago. */
const SHIFT = Date.now() - 900_000 - Array.from(recordedSeries()[0]!.times).at(-1)!
const MIB = 1024 * 1024
/** Every amount is rounded to a millionth of its unit, in each of its slots. */
const ROUNDED = 1e-5

interface TaskRow {
  readonly task_id: string
  readonly attempt: number
  readonly state: string
  readonly result: number
  readonly error_category: string
  readonly gpu_seconds: number
  readonly gpu_busy_seconds: number
  readonly energy_wh: number
  readonly details: string
}

interface Stored {
  readonly tasks: readonly TaskRow[]
  readonly rows: number
  readonly usage: Readonly<Record<string, number>>
}

class Pair {
  readonly #data = temporaryDirectory()
  readonly #ports: readonly [collector: number, aggregator: number]
  collector!: Running
  aggregator!: Running

  constructor(ports: readonly [number, number]) {
    this.#ports = ports
  }

  static async start(t: TestContext): Promise<Pair> {
    const pair = new Pair([await freePort(), await freePort()])
    await pair.startAggregator()
    pair.collector = await start('collector', {
      FLEETMETER_DATA_DIR: join(pair.#data, 'c'),
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${pair.#ports[0]}`,
      FLEETMETER_AGGREGATOR_URL: pair.aggregator.url,
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
      FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '200',
    })
    t.after(async () => {
      await kill(pair.collector)
      await kill(pair.aggregator)
    })
    return pair
  }

  async startAggregator(fault = ''): Promise<void> {
    this.aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: join(this.#data, 'a'),
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${this.#ports[1]}`,
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '200',
      FLEETMETER_AGGREGATOR_TASK_INTERVAL_MS: '1000',
      FLEETMETER_FAULT: fault,
    })
  }

  async write(points: readonly Point[]): Promise<void> {
    const answer = await fetch(`${this.collector.url}/api/v1/write`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
      body: remoteWriteBody(points),
    })
    assert.ok(answer.status < 300, `${answer.status} ${await answer.text()}`)
  }

  async tell(events: readonly FleetEvent[]): Promise<void> {
    const answer = await fetch(`${this.collector.url}/v1/events`, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      body: JSON.stringify(events),
    })
    assert.equal(answer.status, 200, await answer.text())
  }

  /** The newest calculation of each task that is told of, by its version. */
  async calculated(): Promise<Map<string, { version: number; final: boolean; busy: number }>> {
    const url = `${this.aggregator.url}/v1/events?type=telemetry.usage.calculated&limit=1000`
    const text = await (await fetch(url, { headers: authorized })).text()
    const { data } = JSON.parse(text) as { data: { event: FleetEvent }[] }
    const found = new Map<string, { version: number; final: boolean; busy: number }>()
    for (const { event: told } of data) {
      const [task, version] = [String(told['task_id']), Number(told['usage_version'])]
      if ((found.get(task)?.version ?? 0) > version) continue
      const amounts = told['amounts'] as { resource: string; amount: number }[]
      const busy = amounts.filter(({ resource }) => resource === 'gpu_busy_seconds').reduce((s, a) => s + a.amount, 0)
      found.set(task, { version, final: told['final'] === true, busy })
    }
    return found
  }

  /** Everything has come in, is calculated, and is final. */
  async settled(): Promise<void> {
    await ready(this.aggregator.url)
    await eventually('the collector has handed over everything', async () => {
      return total(await scrape(this.collector.url), 'fleetmeter_collector_items_waiting') === 0
    })
    await eventually('every task is final', async () => {
      const metrics = await scrape(this.aggregator.url)
      const of = (name: string): number => total(metrics, `fleetmeter_aggregator_${name}`)
      if (of('tasks_dirty') + of('tasks_open') + of('tasks_waiting') > 0) return false
      const all = [...(await this.calculated()).values()]
      return all.length === 4 && all.every(({ final }) => final)
    })
  }

  /** Stops the aggregator and reads its tables. */
  async stored(): Promise<Stored> {
    assert.equal((await terminate(this.aggregator)).how, 0, this.aggregator.output())
    const engine = await startEngine(join(this.#data, 'a', 'aggregator', 'engine'))
    try {
      const tasks = await engine.db.rows<TaskRow>(
        `SELECT task_id, attempt, state, result, error_category, gpu_seconds, gpu_busy_seconds, energy_wh, details FROM fleetmeter.tasks FINAL WHERE tenant = '${TENANT}' ORDER BY started`,
      )
      const [count] = await engine.db.rows<{ n: string }>('SELECT toString(count()) AS n FROM fleetmeter.tasks FINAL')
      const usage = await engine.db.rows<{ key: string; amount: string }>(
        "SELECT concat(task_id, ' ', resource) AS key, toString(sum(amount)) AS amount FROM fleetmeter.usage FINAL GROUP BY key",
      )
      const sums = Object.fromEntries(usage.map(({ key, amount }) => [key, Number(amount)]))
      return { tasks, rows: Number(count!.n), usage: sums }
    } finally {
      await engine.stop()
    }
  }
}

const points = (): Point[] =>
  recordedSeries(SHIFT).flatMap(({ name, labels, times, values }) =>
    Array.from(times, (time, i): Point => ({ name, labels, time, value: values[i]! })),
  )

/** Of each task: its start, and its end. */
function taskEvents(): { start: FleetEvent; end: FleetEvent }[] {
  return recordedTasks().map((task) => {
    const about = {
      task_id: task.task_id,
      node_id: idOf('node'),
      host_name: RECORDED_HOST,
      model: task.kind,
      user_id: 'u-1',
      tenant_id: TENANT,
    }
    const tokens = task.tokens === undefined ? {} : { tokens: task.tokens }
    return {
      start: event('xumi.generation.start', Date.parse(task.start) + SHIFT, about),
      end: event('xumi.generation.complete', Date.parse(task.end) + SHIFT, {
        ...about,
        ...tokens,
        result: task.result,
        detail: task.detail,
      }),
    }
  })
}

/** What a row says, without what depends on how often it was calculated. */
function figuresOf({ tasks }: Stored): unknown {
  return tasks.map(({ details, ...row }) => {
    const { record, calculation, error, who, cost } = JSON.parse(details) as TaskDetails
    return { row, record, calculation, error, who, cost }
  })
}

function assertRecording({ tasks, rows, usage }: Stored): void {
  assert.equal(rows, 4, 'each task has one row')
  const near = (value: number, wanted: number, what: string): void =>
    assert.ok(Math.abs(value - wanted) <= wanted * 0.001 + 5e-5, `${what}: ${value}, not ${wanted}`)
  for (const [i, wanted] of RECORDED_TABLE.entries()) {
    const row = tasks[i]!
    const task = recordedTasks()[i]!
    const { calculation, error, memory } = JSON.parse(row.details) as TaskDetails
    assert.equal(row.task_id, task.task_id)
    near(row.gpu_seconds, wanted.seconds, 'seconds')
    near(row.gpu_busy_seconds, (wanted.seconds * wanted.utilization) / 100, 'busy seconds')
    near(row.energy_wh, wanted.energyWh, 'energy')
    near((calculation!.gpus[0]!.figures.gpu_utilization!.mean ?? -1) * 100, wanted.utilization, 'utilisation')
    if (wanted.memoryMib !== undefined) assert.equal(calculation!.usage.gpu_memory_peak.value, wanted.memoryMib * MIB)
    assert.equal(calculation!.usage.gpu_seconds_busy.confidence, i === 3 ? 'low' : 'full')
    assert.equal(row.state, task.result ? 'completed' : 'failed')
    assert.equal(row.error_category, task.result ? '' : 'resource.oom_gpu')
    assert.equal(error?.text ?? '', task.result ? '' : task.detail)
    assert.equal(memory?.taskId, task.task_id)
    const counted = (resource: string): number => usage[`${task.task_id} ${resource}`] ?? 0
    for (const [resource, value] of [
      ['gpu_seconds', row.gpu_seconds],
      ['gpu_busy_seconds', row.gpu_busy_seconds],
      ['energy_wh', row.energy_wh],
    ] as const)
      assert.ok(
        Math.abs(counted(resource) - value) < ROUNDED,
        `${resource}: ${counted(resource)} counted, ${value} said`,
      )
    assert.deepEqual([counted('tasks'), counted('tokens')], [1, task.tokens ?? 0])
  }
}

test('tasks of a real GPU have one row each with its figures, whatever comes when and is killed', {
  timeout: 300_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}, ${KILLS} kills`)
  const random = new Random(seed)

  const calm = await Pair.start(t)
  await calm.write(points())
  for (const { start: begun, end } of taskEvents()) await calm.tell([begun, end])
  await calm.settled()
  const undisturbed = await calm.stored()
  assertRecording(undisturbed)

  const rough = await Pair.start(t)
  // Ends before starts, all of it several times, samples last.
  const ends = taskEvents().map(({ end }) => end)
  const starts = taskEvents().map(({ start: begun }) => begun)
  const steps: (() => Promise<void>)[] = [
    () => rough.tell(random.shuffled([...ends, ...ends])),
    () => rough.tell(random.shuffled([...ends, ...starts, ...starts])),
    () => rough.write(points()),
    () => rough.tell(random.shuffled([...ends, ...starts])),
  ]
  let kills = 0
  for (const step of steps) {
    await step()
    if (kills >= KILLS) continue
    await sleep(random.between(0, 700))
    await kill(rough.aggregator)
    if (random.chance(0.5)) {
      await rough.startAggregator(`${random.pick(PLACES)}:${random.between(1, 4)}`)
      await Promise.race([rough.aggregator.exited, sleep(5000)])
      await kill(rough.aggregator)
    }
    await rough.startAggregator()
    kills++
  }
  await rough.settled()
  const disturbed = await rough.stored()
  assertRecording(disturbed)
  assert.deepEqual(figuresOf(disturbed), figuresOf(undisturbed))
  assert.deepEqual(disturbed.usage, undisturbed.usage)
})

test('a sample that comes after all replaces the figures, and is counted as the difference', {
  timeout: 120_000,
}, async (t) => {
  const pair = await Pair.start(t)
  const all = points()
  const [first] = taskEvents()
  const from = Date.parse(first!.start.timestamp)
  const isLate = ({ name, time }: Point): boolean =>
    name === 'DCGM_FI_DEV_GPU_UTIL' && time > from + 9000 && time < from + 11_500
  await pair.write(all.filter((point) => !isLate(point)))
  for (const { start: begun, end } of taskEvents()) await pair.tell([begun, end])
  await pair.settled()
  const task = String(first!.start['task_id'])
  const before = (await pair.calculated()).get(task)!
  await pair.write(all.filter(isLate))
  await eventually('the figures are made anew', async () => {
    const now = (await pair.calculated()).get(task)!
    return now.version > before.version && now.busy !== before.busy
  })
  await pair.settled()
  assertRecording(await pair.stored())
})
