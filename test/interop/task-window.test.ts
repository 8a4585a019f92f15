/**
 * A real Prometheus that holds the recording's samples gives the same window as our own store: the same points, and the table of
 * the recording to 0.1 %. So does an aggregator that is told of it by PROMETHEUS_URL, beside one that collectors deliver to.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { PrometheusSource } from '../../aggregator/tasks/prometheus-source.ts'
import type { Series } from '../../aggregator/tasks/series-source.ts'
import type { QuantitiesAnswer, TaskAttemptAnswer } from '../../aggregator/tasks/task-answers.ts'
import { eventBatch, receivedEvent, sendEvents } from '../support/events.ts'
import { hasPeer } from '../support/peers.ts'
import { authorized, eventually, freePort, kill, ready, start, temporaryDirectory } from '../support/programs.ts'
import { prometheusSourceOptions } from '../support/prometheus-source.ts'
import { recordedTasks } from '../support/recorded-gpu.ts'
import {
  assertRecordedTable,
  RECORDED_HOST,
  RECORDED_TABLE,
  recordedReadSpan,
  recordedSelectors,
  recordedSeries,
  recordedTaskRecords,
} from '../support/recorded-tasks.ts'
import { event, idOf, TENANT } from '../support/task-events.ts'
import type { Point } from '../support/write-request.ts'
import { remoteWriteBody } from '../support/write-request.ts'

/** @returns its address */
async function startPrometheus(t: TestContext): Promise<string> {
  const directory = temporaryDirectory()
  const config = join(directory, 'prometheus.yml')
  writeFileSync(config, 'storage: { tsdb: { out_of_order_time_window: 24h } }\n')
  const port = await freePort()
  const flags = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(directory, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--web.enable-remote-write-receiver',
  ]
  const child = spawn('prometheus', flags, { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  await eventually('Prometheus is ready', async () => {
    const answer = await fetch(`${url}/-/ready`).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer?.status === 200
  })
  return url
}

/** By remote write, to a Prometheus or a collector. */
async function write(url: string, series: readonly Series[]): Promise<void> {
  const points = series.flatMap(({ name, labels, times, values }) =>
    Array.from(times, (time, i): Point => ({ name, labels, time, value: values[i]! })),
  )
  const written = await fetch(`${url}/api/v1/write`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    body: remoteWriteBody(points),
  })
  assert.ok(written.status < 300, `${written.status} ${await written.text()}`)
}

const plain = (series: readonly Series[]): unknown =>
  series
    .map(({ name, labels, times, values }) => ({ name, labels, times: Array.from(times), values: Array.from(values) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))

test('the recording’s table comes out of a real Prometheus too', { timeout: 120_000 }, async (t) => {
  if (!hasPeer(t, 'prometheus', '--version', 'Debian package prometheus')) return
  const url = await startPrometheus(t)
  const shift = Date.now() - 600_000 - recordedSeries()[0]!.times[0]!
  const series = recordedSeries(shift)
  await write(url, series)

  const source = new PrometheusSource(prometheusSourceOptions(url))
  const { times } = series[0]!
  const whole = await source.read(TENANT, recordedSelectors(), times[0]!, times[times.length - 1]!)
  assert.deepEqual(plain(whole), plain(series))
  const records = recordedTaskRecords(shift)
  for (const [i, record] of records.entries()) {
    const { from, to } = recordedReadSpan(record)
    assertRecordedTable(i, records, await source.read(TENANT, recordedSelectors(), from, to))
  }

  // By steps, as long windows are asked for: values are those that hold at each step.
  const bySteps = new PrometheusSource({ ...prometheusSourceOptions(url), samplesWindowMs: 0, intervalMs: 1000 })
  const stepped = await bySteps.read(TENANT, recordedSelectors(), times[0]!, times[times.length - 1]!)
  assert.deepEqual(stepped.map(({ name }) => name).sort(), series.map(({ name }) => name).sort())
  assert.ok(stepped.every((one) => Math.abs(one.times.length - times.length) <= 2))
})

/** An aggregator with a directory of its own. */
async function aggregator(t: TestContext, env: Readonly<Record<string, string>>): Promise<string> {
  const running = await start('aggregator', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_TASK_INTERVAL_MS: '1000',
    FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '200',
    ...env,
  })
  t.after(() => kill(running))
  await ready(running.url)
  return running.url
}

/** What the recorded tasks used, once it is final. */
async function quantities(url: string): Promise<readonly QuantitiesAnswer[]> {
  const found: QuantitiesAnswer[] = []
  for (const { task_id } of recordedTasks()) {
    await eventually(`${task_id} is final`, async () => {
      const answer = await fetch(`${url}/v1/tasks/${task_id}`, { headers: authorized })
      const text = await answer.text()
      assert.equal(answer.status, 200, text)
      const [attempt] = (JSON.parse(text) as { attempts: TaskAttemptAnswer[] }).attempts
      if (attempt === undefined || attempt.provisional) return false
      found.push(attempt.quantities)
      return true
    })
  }
  return found
}

test('an aggregator with PROMETHEUS_URL has the figures of one that collectors deliver to', {
  timeout: 240_000,
}, async (t) => {
  if (!hasPeer(t, 'prometheus', '--version', 'Debian package prometheus')) return
  const prometheus = await startPrometheus(t)
  const shift = Date.now() - 600_000 - recordedSeries()[0]!.times[0]!
  const [asked, own] = [await aggregator(t, { PROMETHEUS_URL: `${prometheus}/` }), await aggregator(t, {})]
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: own,
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
  })
  t.after(() => kill(collector))
  for (const url of [prometheus, collector.url]) await write(url, recordedSeries(shift))
  const events = recordedTasks().flatMap(({ task_id, start: begun, end, result }) => {
    const about = { task_id, node_id: idOf('node'), host_name: RECORDED_HOST }
    return [
      event('xumi.generation.start', Date.parse(begun) + shift, about),
      event('xumi.generation.complete', Date.parse(end) + shift, { ...about, result }),
    ]
  })
  for (const url of [asked, own])
    assert.equal(await sendEvents(url, eventBatch(events.map((one) => receivedEvent(one)))), 200)

  const [theirs, ours] = [await quantities(asked), await quantities(own)]
  for (const [i, wanted] of RECORDED_TABLE.entries()) {
    const { gpu_held_seconds, gpu_busy_seconds, energy_wh } = theirs[i]!
    near(gpu_held_seconds.value, wanted.seconds)
    near(gpu_busy_seconds.value, (wanted.seconds * wanted.utilization) / 100)
    near(energy_wh.value, wanted.energyWh)
    for (const name of ['gpu_held_seconds', 'gpu_busy_seconds', 'gpu_memory_peak_bytes', 'energy_wh'] as const) {
      assert.equal(theirs[i]![name].value === null, ours[i]![name].value === null, `${name} of task ${i}`)
      if (ours[i]![name].value !== null) near(theirs[i]![name].value, ours[i]![name].value)
    }
  }
})

/** To 0.1 %, or to the last digit of the table. */
function near(value: number | null, wanted: number): void {
  assert.ok(value !== null && Math.abs(value - wanted) <= wanted * 0.001 + 5e-5, `${value}, not ${wanted}`)
}
