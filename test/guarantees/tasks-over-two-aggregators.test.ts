/**
 * A collector that knows the standby only: the tasks of a real H100 get the recording's figures from the owner, which neither their events
 * nor their samples came to, and though the samples come after all events.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authorized, eventually, kill, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { recordedTasks } from '../support/recorded-gpu.ts'
import { RECORDED_HOST, RECORDED_TABLE, recordedSeries } from '../support/recorded-tasks.ts'
import { startPair, startStores } from '../support/site.ts'
import { event, idOf } from '../support/task-events.ts'
import { remoteWriteBody } from '../support/write-request.ts'

/** As if the recording had ended a quarter of an hour ago. */
const SHIFT = Date.now() - 900_000 - Array.from(recordedSeries()[0]!.times).at(-1)!

test('events and samples that come to the standby make the figures that they would make at the owner', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const env = {
    FLEETMETER_AGGREGATOR_TASK_INTERVAL_MS: '1000',
    FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '200',
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '500',
  }
  const [owner, standby] = await startPair(t, stores, env)
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: standby.url,
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
  })
  t.after(() => kill(collector))
  const tasks = recordedTasks()
  const events = tasks.flatMap(({ task_id, kind, start: begun, end, result, detail }) => {
    const about = {
      task_id,
      node_id: idOf('node'),
      host_name: RECORDED_HOST,
      model: kind,
      user_id: 'u-1',
      tenant_id: 'default',
    }
    return [
      event('xumi.generation.start', Date.parse(begun) + SHIFT, about),
      event('xumi.generation.complete', Date.parse(end) + SHIFT, { ...about, result, detail }),
    ]
  })
  const told = await fetch(`${collector.url}/v1/events`, {
    method: 'POST',
    headers: { ...authorized, 'Content-Type': 'application/json' },
    body: JSON.stringify(events),
  })
  assert.equal(told.status, 200, await told.text())
  await eventually('the owner has the tasks', async () => {
    return total(await scrape(owner.url), 'fleetmeter_aggregator_tasks_in_memory') === tasks.length
  })
  assert.equal(total(await scrape(standby.url), 'fleetmeter_aggregator_tasks_in_memory'), 0)

  /** Of its newest calculation; NaN while that is not final. */
  const busyOf = async (task: string): Promise<number> => {
    const { body } = await standby.ask('/v1/events?type=telemetry.usage.calculated&limit=1000')
    const versions = (body['data'] as { event: Record<string, unknown> }[])
      .map((one) => one.event)
      .filter((one) => one['task_id'] === task)
      .sort((a, b) => Number(b['usage_version']) - Number(a['usage_version']))
    if (versions[0]?.['final'] !== true) return Number.NaN
    const amounts = versions[0]['amounts'] as { resource: string; amount: number }[]
    return amounts
      .filter(({ resource }) => resource === 'gpu_busy_seconds')
      .reduce((sum, { amount }) => sum + amount / 1e6, 0)
  }
  await eventually('all are final, without a sample', async () => {
    return (await Promise.all(tasks.map(({ task_id }) => busyOf(task_id)))).every((busy) => busy === 0)
  })

  const points = recordedSeries(SHIFT).flatMap(({ name, labels, times, values }) =>
    Array.from(times, (time, i) => ({ name, labels, time, value: values[i]! })),
  )
  const written = await fetch(`${collector.url}/api/v1/write`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    body: remoteWriteBody(points),
  })
  assert.ok(written.status < 300, await written.text())

  for (const [i, { seconds, utilization }] of RECORDED_TABLE.entries()) {
    const wanted = (seconds * utilization) / 100
    await eventually(`task ${i} has its figures, ${wanted} s busy, and they are final`, async () => {
      return Math.abs((await busyOf(tasks[i]!.task_id)) - wanted) <= wanted * 0.001 + 5e-5
    })
  }
})
