/**
 * Tasks that have left memory follow a change of memberships, though the aggregator is killed with -9 while they do: each is somebody's in
 * the end, in one row, and what was counted is there once.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventBatch, receivedEvent, sendEvents } from '../support/events.ts'
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
  total,
} from '../support/programs.ts'

const TASKS = 600
const IN_MEMORY = 100
const KILLS = 3
const USER = 'u1'

test('tasks that have left memory follow a change of memberships over kill -9', { timeout: 300_000 }, async (t) => {
  const env = {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
    FLEETMETER_AGGREGATOR_TASKS_MAX: String(IN_MEMORY),
    FLEETMETER_AGGREGATOR_TASK_KEPT_MINUTES: '1',
    FLEETMETER_AGGREGATOR_TASK_INTERVAL_MS: '1000',
    FLEETMETER_AGGREGATOR_HOT_MINUTES: '60',
    FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '100',
  }
  let aggregator: Running = await start('aggregator', env)
  t.after(() => kill(aggregator))
  await ready(aggregator.url)
  const metric = async (name: string): Promise<number> =>
    total(await scrape(aggregator.url), `fleetmeter_aggregator_${name}`)
  // Memory has their windows: no query for each.
  const begun = Date.now() - 700_000
  const events = Array.from({ length: TASKS }, (_, i) => {
    const ids = { task_id: randomUUID(), user_id: USER, node_id: `n-${i % 10}` }
    const at = (seconds: number): string => new Date(begun + (i + seconds) * 1000).toISOString()
    return [
      receivedEvent({ ...ids, event_type: 'xumi.generation.start', timestamp: at(0) }),
      receivedEvent({ ...ids, event_type: 'xumi.generation.complete', timestamp: at(1), result: true }),
    ]
  }).flat()
  assert.equal(await sendEvents(aggregator.url, eventBatch(events)), 200)
  await eventually('they have left memory', async () => (await metric('tasks_in_memory')) <= IN_MEMORY, 120_000)

  const membership = {
    user_id: USER,
    project: 'p1',
    department: 'd1',
    valid_from: new Date(begun - 1000).toISOString(),
  }
  const answer = await fetch(`${aggregator.url}/v1/memberships`, {
    method: 'POST',
    headers: { ...authorized, 'Content-Type': 'application/json' },
    body: JSON.stringify(membership),
  })
  assert.equal(answer.status, 201, await answer.text())
  let killedMidway = 0
  for (let i = 0; i < KILLS; i++) {
    await eventually('some have come back', async () => (await metric('task_archive_returned_total')) > 0, 120_000)
    await sleep(i * 100)
    if ((await metric('task_archive_rows_left')) > 0) killedMidway++
    await kill(aggregator)
    aggregator = await start('aggregator', env)
    await ready(aggregator.url)
  }
  assert.ok(killedMidway > 0, 'none of the kills came while they were looked at')

  await eventually(
    'all rows were looked at, and what came back is calculated',
    async () =>
      (await metric('task_archive_rows_left')) + (await metric('tasks_dirty')) === 0 &&
      (await usageOf(aggregator.url, begun)).get('p1') === TASKS,
    120_000,
  )
  const usage = await usageOf(aggregator.url, begun)
  assert.deepEqual([usage.get('p1'), usage.get('') ?? 0], [TASKS, 0])
})

/** Tasks that were counted, by project. */
async function usageOf(url: string, begun: number): Promise<Map<string, number>> {
  const [from, to] = [begun - 60_000, Date.now()].map((at) => new Date(at).toISOString())
  const response = await fetch(`${url}/v1/usage?from=${from}&to=${to}&group_by=project,resource`, {
    headers: authorized,
  })
  const text = await response.text()
  assert.equal(response.status, 200, text)
  const { data } = JSON.parse(text) as { data: { project: string; resource: string; amount: string }[] }
  const counted = data.filter(({ resource }) => resource === 'tasks')
  return new Map(counted.map(({ project, amount }) => [project, Number(amount)]))
}
