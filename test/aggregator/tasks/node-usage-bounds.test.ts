/** Questions about nodes that would take too much memory or time, or that are too many. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import { QueryTooLarge, QueryUnavailable } from '../../../aggregator/query/metric-query.ts'
import type { Database } from '../../../aggregator/store/clickhouse.ts'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import type { TaskWindow } from '../../../aggregator/tasks/node-counted.ts'
import { NodeCounts } from '../../../aggregator/tasks/node-counted.ts'
import type { NodeUsageResult } from '../../../aggregator/tasks/node-usage.ts'
import { NodeUsage } from '../../../aggregator/tasks/node-usage.ts'
import { readNodeUsageFilter } from '../../../aggregator/tasks/node-usage-filter.ts'
import { QuestionLine } from '../../../aggregator/tasks/question-line.ts'

const T0 = Date.parse('2026-11-21T12:00:00Z')
const HOUR_MS = 3_600_000
const UTILIZATION = DEFAULT_MAPPING.filter(({ measure }) => measure === 'gpu_utilization')
const TENANT = 'default'

test('a question of too many lines or too much time of GPUs is refused, before memory has no room for them', async () => {
  const series = ['0', '1', '2'].map((id) => ({
    id,
    name: 'DCGM_FI_DEV_GPU_UTIL',
    labels: { Hostname: 'gpu-01', UUID: `GPU-${id}` },
  }))
  const whole = { from: T0 - 399 * 24 * HOUR_MS, to: T0 }
  const find = (groupBy: string, slotsMax?: number): Promise<NodeUsageResult> => {
    const usage = new NodeUsage({
      presence: {
        mapping: UTILIZATION,
        series: async () => series,
        samples: async (_, ids, span) => new Map(ids.map((id) => [id, [span]])),
        hours: async () => new Map(),
      },
      counts: { windows: async () => [], counted: async () => [] },
      directory: () => new DirectorySnapshot(),
      operator: TENANT,
      settled: async () => {},
      pointsMs: 1000 * 24 * HOUR_MS,
      now: () => T0,
      ...(slotsMax === undefined ? {} : { slotsMax }),
    })
    return usage.find(TENANT, { groups: readGroups(groupBy), ...whole, equal: {}, format: undefined })
  }
  const tooLarge = (message: RegExp) => (error: unknown) =>
    error instanceof QueryTooLarge && message.test(error.message)
  await assert.rejects(find('gpu,slot'), tooLarge(/more than 100000 lines/))
  assert.equal((await find('slot')).lines.length, 399 * 96)
  const slots = 3 * 399 * 96
  await assert.rejects(find('node', slots - 1), tooLarge(/quarters of an hour of GPUs/))
  assert.equal((await find('node', slots)).lines.length, 1)
})

test('of a tenant one question is answered at once, of all a few; the others wait in line, and too many are sent away', async () => {
  const line = new QuestionLine()
  let running: string[] = []
  const most = new Map<string, number>()
  const ended: (() => void)[] = []
  const ask = (tenant: string): Promise<string> =>
    line.run(tenant, async () => {
      running.push(tenant)
      most.set('', Math.max(most.get('') ?? 0, running.length))
      most.set(tenant, Math.max(most.get(tenant) ?? 0, running.filter((one) => one === tenant).length))
      await new Promise<void>((resolve) => ended.push(resolve))
      running = running.filter((one) => one !== tenant)
      if (tenant === 'fails') throw new Error('as it should')
      return tenant
    })
  const asked = ['a', 'a', 'fails', 'b', 'c', 'd', 'fails', 'a'].map((tenant) => ask(tenant).catch(() => 'failed'))
  assert.deepEqual(running, ['a', 'fails'])
  for (let i = 2; i < 20; i++) asked.push(ask('a'))
  await assert.rejects(ask('a'), QueryUnavailable)
  let done = false
  const all = Promise.all(asked).finally(() => {
    done = true
  })
  while (!done) {
    for (const end of ended.splice(0)) end()
    await nextTurn()
  }
  assert.deepEqual((await all).slice(0, 8), ['a', 'a', 'failed', 'b', 'c', 'd', 'failed', 'a'])
  assert.deepEqual(
    ['', 'a', 'fails', 'd'].map((tenant) => most.get(tenant)),
    [2, 1, 1, 1],
  )
})

test('tasks that had too many GPUs are not taken into memory', async () => {
  const gpus = Array.from({ length: 1000 }, (_, i) => `GPU-${i}`)
  const row = JSON.stringify({ tenant: TENANT, name: 'n', names: [], gpus, unseen: '0', begun: T0, until: T0 + 1 })
  const windowsOf = (tasks: number): Promise<TaskWindow[]> => {
    const db: Pick<Database, 'rows' | 'stream'> = {
      rows: async <T>() => [{ count: `${tasks}` } as T],
      stream: async function* () {
        for (let i = 0; i < tasks; i++) yield Buffer.from(`${row}\n`)
      },
    }
    const question = { tenant: TENANT, operator: false, names: undefined, from: T0, to: T0 + 1 }
    return new NodeCounts(db as Database, 'd').windows(question)
  }
  assert.equal((await windowsOf(2)).length, 2)
  await assert.rejects(windowsOf(2001), (error) => error instanceof QueryTooLarge && /2000000 GPUs/.test(error.message))
})

function readGroups(groupBy: string) {
  const filter = readNodeUsageFilter(new URLSearchParams({ group_by: groupBy }), T0)
  assert.ok(!('errors' in filter))
  return filter.groups
}
