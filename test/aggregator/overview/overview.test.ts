/** What the overview makes of recent samples: hosts, GPUs, senders, charts, pages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HotSeries } from '../../../aggregator/hot/hot-series.ts'
import { SeriesRegistry } from '../../../aggregator/hot/series-registry.ts'
import type { OverviewAnswer } from '../../../aggregator/overview/api.ts'
import { pageOf, readPageQuery } from '../../../aggregator/overview/cursor.ts'
import { Overview } from '../../../aggregator/overview/overview.ts'
import { drawable } from '../../../aggregator/overview/steps.ts'
import { sha256 } from '../../../proto/runtime/sha256.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { SeriesIds, sortLabels } from '../../../proto/wire/labels.ts'

const NOW = Date.parse('2026-11-21T10:00:00Z')
const ids = new SeriesIds(sha256)

/** Memory with an overview over it. */
class Rig {
  readonly hot = new HotSeries({ ageMs: 900_000, bytesMax: 1e9 }, 0)
  readonly registry = new SeriesRegistry()
  readonly overview = new Overview({ hot: this.hot, registry: this.registry, now: () => NOW })
  readonly #pending = this.hot.begin()

  /** Adds a series. @param values each with its time before now, s */
  add(
    name: string,
    labels: Record<string, string>,
    values: readonly (readonly [age: number, value: number])[],
    tenant = 'default',
  ): void {
    const sorted = sortLabels(Object.entries(labels) as Label[])
    const slot = this.registry.slotOf({ tenant, id: ids.of(name, sorted), name, labels: sorted })
    for (const [age, value] of values) this.hot.add(this.#pending, slot, NOW - age * 1000, value, (NOW - age) * 1000)
  }

  answer(query: { tenant?: string; allTenants?: boolean; host?: string } = {}): Promise<OverviewAnswer> {
    return this.overview.answer({ tenant: 'default', allTenants: false, host: undefined, ...query })
  }
}

test('a host has its processors, memory, load and GPUs, under one name from both exporters', async () => {
  const rig = new Rig()
  rig.add('node_uname_info', { instance: '10.0.0.1:9100', nodename: 'gpu-01' }, [[5, 1]])
  rig.add('node_load1', { instance: '10.0.0.1:9100' }, [[2, 3.5]])
  rig.add('node_memory_MemTotal_bytes', { instance: '10.0.0.1:9100' }, [[5, 1000]])
  rig.add('node_memory_MemAvailable_bytes', { instance: '10.0.0.1:9100' }, [[5, 250]])
  for (const [cpu, idle] of [
    ['0', 10],
    ['1', 5],
  ] as const)
    rig.add('node_cpu_seconds_total', { instance: '10.0.0.1:9100', cpu, mode: 'idle' }, [
      [15, 100],
      [5, 100 + idle],
    ])
  rig.add('node_cpu_seconds_total', { instance: '10.0.0.1:9100', cpu: '0', mode: 'user' }, [
    [15, 0],
    [5, 99],
  ])
  const gpu = { gpu: '0', UUID: 'GPU-1', modelName: 'H100', Hostname: 'gpu-01', instance: '10.0.0.1:9400' }
  rig.add('DCGM_FI_DEV_GPU_UTIL', gpu, [[1, 93]])
  rig.add('DCGM_FI_DEV_POWER_USAGE', gpu, [[1, 512.5]])
  rig.add('DCGM_FI_DEV_FB_USED', gpu, [[1, 1024]])
  rig.add('DCGM_FI_DEV_FB_FREE', gpu, [[1, 3072]])
  const { hosts, charts, totals } = await rig.answer()
  assert.equal(hosts.length, 1)
  const [host] = hosts
  assert.deepEqual(
    [host?.host, host?.processors, host?.load1, host?.memory_used_bytes, host?.memory_total_bytes, host?.last_seen],
    ['gpu-01', 2, 3.5, 750, 1000, '2026-11-21T09:59:59.000Z'],
  )
  assert.ok(Math.abs(host!.cpu_used_ratio! - 0.25) < 1e-9, 'one processor was idle all the time, the other half of it')
  assert.deepEqual(host?.gpus, [
    {
      gpu: '0',
      uuid: 'GPU-1',
      model: 'H100',
      last_seen: '2026-11-21T09:59:59.000Z',
      utilization_ratio: 0.93,
      memory_used_bytes: 1024 * 1048576,
      memory_total_bytes: 4096 * 1048576,
      power_watts: 512.5,
      temperature_celsius: null,
    },
  ])
  assert.deepEqual([totals.hosts, totals.gpus], [1, 1])
  assert.deepEqual(
    charts.gpu_power_watts.lines.map(({ name, values }) => [name, values.at(-2)]),
    [['GPU 0', 512.5]],
  )
})

test('ports are cut off, addresses are not', async () => {
  const rig = new Rig()
  for (const instance of ['a:9100', 'b', '[::1]:9100', '::1', '']) rig.add('node_load1', { instance }, [[1, 1]])
  const names = (await rig.answer()).hosts.map(({ host }) => host)
  assert.deepEqual(names.sort(), ['(without a name)', '::1', '[::1]', 'a', 'b'])
})

test('a series that ended is not shown', async () => {
  const rig = new Rig()
  rig.add('node_load1', { instance: 'a' }, [
    [10, 1],
    [5, Number.NaN],
  ])
  assert.deepEqual((await rig.answer()).hosts, [])
})

const sender = { sender: '10.0.0.9', credential: 'key:a', door: 'remote_write', collector: 'c1', instance: 'h' }

test('a sender has its rate of the last minute, over a restart of its collector too, and what was refused', async () => {
  const rig = new Rig()
  rig.add('fleetmeter_sender_samples_received_total', sender, [
    [120, 0],
    [50, 1000],
    [40, 2000],
    [30, 500],
    [20, 1500],
  ])
  rig.add('fleetmeter_sender_last_request_seconds', sender, [[20, NOW / 1000 - 25]])
  rig.add('fleetmeter_sender_samples_refused_total', { ...sender, reason: 'too_old' }, [
    [30, 0],
    [20, 12],
  ])
  rig.add('fleetmeter_sender_requests_total', { ...sender, outcome: 'ok' }, [
    [30, 0],
    [20, 12],
  ])
  rig.add('fleetmeter_sender_requests_total', { ...sender, outcome: 'limited' }, [
    [30, 2],
    [20, 5],
  ])
  const { senders, totals } = await rig.answer()
  assert.deepEqual(senders, [
    {
      tenant: 'default',
      ...sender,
      samples_per_second: 2500 / 30,
      samples_received: 1500,
      samples_refused: [{ reason: 'too_old', count: 12 }],
      requests_refused: [{ reason: 'limited', count: 3 }],
      last_seen: '2026-11-21T09:59:35.000Z',
      reported_at: '2026-11-21T09:59:40.000Z',
    },
  ])
  assert.deepEqual([totals.samples_refused, totals.requests_refused], [12, 3])
})

test('a collector that says nothing any more tells no rate', async () => {
  const rig = new Rig()
  rig.add('fleetmeter_sender_samples_received_total', sender, [
    [200, 0],
    [100, 1000],
  ])
  assert.equal((await rig.answer()).senders[0]?.samples_per_second, null)
})

test('senders and hosts of another tenant are in no answer but that to the admin who names no tenant', async () => {
  const rig = new Rig()
  for (const tenant of ['default', 'other']) {
    rig.add(
      'fleetmeter_sender_samples_received_total',
      { ...sender, sender: tenant },
      [
        [20, 0],
        [10, 100],
      ],
      tenant,
    )
    rig.add('node_load1', { instance: tenant }, [[1, 1]], tenant)
  }
  const own = await rig.answer({ tenant: 'other' })
  assert.deepEqual(
    [own.senders.map((s) => s.sender), own.hosts.map((h) => h.host), own.tenants],
    [['other'], ['other'], undefined],
  )
  assert.deepEqual([own.totals.samples_per_second, own.totals.series], [10, 2])
  const all = await rig.answer({ allTenants: true })
  assert.deepEqual(all.senders.map((s) => s.tenant).sort(), ['default', 'other'])
  assert.deepEqual(
    [all.hosts.map((h) => h.host), all.tenants, all.totals.samples_per_second, all.totals.series],
    [['default'], ['default', 'other'], 20, 4],
  )
})

test('charts of more than eight lines are their highest, median and lowest', async () => {
  const rig = new Rig()
  for (let i = 0; i < 9; i++)
    rig.add('DCGM_FI_DEV_POWER_USAGE', { gpu: '0', UUID: `GPU-${i}`, Hostname: `h${i}` }, [[20, i * 100]])
  const { charts } = await rig.answer()
  assert.deepEqual([charts.gpu_power_watts.of, charts.gpu_power_watts.summary], [9, true])
  assert.deepEqual(
    charts.gpu_power_watts.lines.map(({ name, values }) => [name, values.at(-3)]),
    [
      ['highest', 800],
      ['median', 400],
      ['lowest', 0],
    ],
  )
  const one = await rig.answer({ host: 'h3' })
  assert.deepEqual([one.charts.gpu_power_watts.of, one.hosts.length], [1, 9], 'charts of one host, the table of all')
})

test('whoever asks for charts of a host, or of one that is not there, has nothing read again but that host', async () => {
  const rig = new Rig()
  for (let i = 0; i < 3; i++) rig.add('node_load1', { instance: `h${i}` }, [[20, i]])
  rig.add('DCGM_FI_DEV_POWER_USAGE', { gpu: '0', UUID: 'GPU-1', Hostname: 'h1' }, [[20, 500]])
  const all = await rig.answer()
  let read = 0
  const { matching } = rig.registry
  rig.registry.matching = (...asked) => {
    read++
    return matching.apply(rig.registry, asked)
  }
  for (let i = 0; i < 100; i++) {
    const { charts, hosts } = await rig.answer({ host: `made up ${i}` })
    assert.deepEqual(
      [charts.gpu_power_watts.of, charts.samples_per_second, hosts],
      [0, all.charts.samples_per_second, all.hosts],
    )
  }
  assert.equal(read, 0)
  const one = await rig.answer({ host: 'h1' })
  const valuesOf = ({ charts }: OverviewAnswer) => charts.gpu_power_watts.lines.map(({ values }) => values)
  assert.deepEqual([valuesOf(one), one.charts.start], [valuesOf(all), all.charts.start])
  const once = read
  await rig.answer({ host: 'h1' })
  assert.equal(read, once, 'askers share it')
})

test('drawable() keeps gaps', () => {
  const lines = Array.from({ length: 3 }, (_, i) => ({ name: `${i}`, values: [null, i === 0 ? 1 : null] }))
  assert.deepEqual(
    drawable(lines, 2).lines.map(({ values }) => values),
    [
      [null, 1],
      [null, 1],
      [null, 1],
    ],
  )
})

test('pages follow each other to the end, whatever comes in between', () => {
  const records = ['b', 'a', 'ä', 'c', 'd'].map((key) => [key, key] as const)
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const query = readPageQuery(new URLSearchParams({ limit: '2', ...(cursor === null ? {} : { cursor }) }))
    assert.ok('limit' in query)
    const page = pageOf([...records, ['aa', 'aa']], query)
    seen.push(...page.data)
    cursor = page.next_cursor
  } while (cursor !== null)
  assert.deepEqual(seen, ['a', 'aa', 'b', 'c', 'd', 'ä'])
})

test('readPageQuery() names the parameter that it cannot understand', () => {
  for (const [text, field] of [
    ['limit=0', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=x', 'limit'],
    ['cursor=%3C', 'cursor'],
    ['cursor=', 'cursor'],
  ])
    assert.equal((readPageQuery(new URLSearchParams(text)) as { field: string }).field, field)
  assert.deepEqual(readPageQuery(new URLSearchParams('limit=99999')), { limit: 1000, after: undefined })
})
