/**
 * A host with a GPU, from the tools to the query: a real collector and aggregator, and a stand-in for nvidia-smi that replays a real
 * H100's recording.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasPeer } from '../../support/peers.ts'
import type { Running } from '../../support/programs.ts'
import {
  authorized,
  childrenOf,
  eventually,
  freePort,
  isAlive,
  kill,
  ready,
  scrape,
  start,
  temporaryDirectory,
} from '../../support/programs.ts'
import type { StandIn } from '../../support/recorded-gpu.ts'
import { nvidiaSmiStandIn, recordedRows } from '../../support/recorded-gpu.ts'

const SAMPLING = '/v1/host/sampling'

async function collectorOn(smi: StandIn, env: Readonly<Record<string, string>> = {}): Promise<Running> {
  return start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${await freePort()}`,
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${await freePort()}`,
    FLEETMETER_COLLECTOR_HOST_NAME: 'gpu-7',
    FLEETMETER_COLLECTOR_STOP_DEADLINE_MS: '3000',
    PATH: smi.path,
    ...env,
  })
}

const post = (url: string, body: string, headers: Readonly<Record<string, string>> = authorized) =>
  fetch(`${url}${SAMPLING}`, { method: 'POST', body, headers })

interface State {
  readonly interval_ms: number
  readonly leases: readonly { readonly reason: string; readonly seconds_left: number }[]
  readonly gpus: number
  readonly sources: readonly { readonly name: string; readonly state: string; readonly detail: string }[]
}

const state = async (url: string): Promise<State> =>
  (await (await fetch(`${url}${SAMPLING}`, { headers: authorized })).json()) as State

const hostDetail = async (url: string): Promise<string> => {
  const { services } = (await (await fetch(`${url}/readyz`)).json()) as { services: { host: { detail: string } } }
  return services.host.detail
}

test('what nvidia-smi told can be asked for by the names of DCGM and nebula, every row of it', {
  timeout: 120_000,
}, async (t) => {
  const smi = nvidiaSmiStandIn({})
  const data = temporaryDirectory()
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
  })
  t.after(() => kill(aggregator))
  await ready(aggregator.url)
  const collector = await collectorOn(smi, {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_URL: aggregator.url,
    FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '200',
  })
  t.after(() => kill(collector))
  const rows = recordedRows().map(({ cells }) => Number.parseFloat(cells['power.draw']!))
  const ask = async (name: string, agg: string) => {
    const from = new Date(Date.now() - 600_000).toISOString()
    const query = new URLSearchParams({ name, from, step: '1h', agg })
    const response = await fetch(`${aggregator.url}/api/public/metrics/query?${query}`, { headers: authorized })
    const { data } = (await response.json()) as {
      data: { labels: Record<string, string>; values: { value: number }[] }[]
    }
    return data
  }
  const sum = (values: readonly { value: number }[]) => values.reduce((total, { value }) => total + value, 0)
  const expected = rows.reduce((total, watts) => total + watts, 0)
  await eventually(
    'all power readings are there',
    async () => Math.abs(sum((await ask('DCGM_FI_DEV_POWER_USAGE', 'sum'))[0]?.values ?? []) - expected) < 1e-6,
    60_000,
  )
  assert.deepEqual((await ask('DCGM_FI_DEV_POWER_USAGE', 'last'))[0]?.labels, {
    DCGM_FI_DRIVER_VERSION: '580.159.04',
    Hostname: 'gpu-7',
    UUID: 'GPU-2a06f14d-a781-3b98-446d-bd427734072e',
    device: 'nvidia0',
    gpu: '0',
    instance: 'gpu-7',
    job: 'gpu',
    modelName: 'NVIDIA H100 80GB HBM3',
    pci_bus_id: '00000000:00:06.0',
  })
  const peak = await ask('gpu_memory_used_mb', 'max')
  assert.deepEqual(peak[0]?.labels, { gpu_index: '0', node_id: 'gpu-7' })
  assert.equal(Math.max(...peak[0]!.values.map(({ value }) => value)), 21_197, 'the task that holds 20 GiB')
  assert.deepEqual(await ask('DCGM_FI_DEV_FAN_SPEED', 'last'), [], 'an H100 has none')
  const [load] = await ask('node_load1', 'last')
  assert.deepEqual(load?.labels, { instance: 'gpu-7', job: 'node' })
})

test('fast rounds can be asked for, with a token, and end by themselves', { timeout: 60_000 }, async (t) => {
  const collector = await collectorOn(nvidiaSmiStandIn({ row: 2 }), {
    FLEETMETER_COLLECTOR_HOST_FAST_INTERVAL_MS: '500',
  })
  t.after(() => kill(collector))
  const { url } = collector
  assert.deepEqual([(await state(url)).interval_ms, (await state(url)).leases], [10_000, []])
  for (const headers of [{}, { Authorization: 'Bearer wrong' }])
    assert.equal((await post(url, '{"seconds":60}', headers)).status, 401)
  for (const body of [
    '',
    '{',
    '[]',
    'null',
    '{"seconds":-1}',
    '{"seconds":3601}',
    '{"seconds":"60"}',
    '{"seconds":null}',
  ])
    assert.equal((await post(url, body)).status, 400, body)
  assert.equal((await post(url, `{"seconds":1,"x":"${'x'.repeat(2000)}"}`)).status, 413)
  assert.equal((await fetch(`${url}${SAMPLING}`, { method: 'PUT', headers: authorized })).status, 405)
  assert.equal((await state(url)).interval_ms, 10_000)

  const leased = (await (await post(url, '{"seconds":600}')).json()) as State
  assert.deepEqual([leased.interval_ms, leased.leases], [500, [{ reason: 'asked for', seconds_left: 600 }]])
  await post(url, '{"seconds":1}')
  assert.ok((await state(url)).leases[0]!.seconds_left > 500, 'a shorter one takes nothing from a longer one')
  assert.match(await hostDetail(url), /^every 500 ms \(asked for\)/)
  await post(url, '{"seconds":0}')
  assert.equal((await state(url)).interval_ms, 10_000)
  await post(url, '{"seconds":0.5}')
  await eventually('the lease has ended', async () => (await state(url)).interval_ms === 10_000)
})

test('who asked for fast rounds ends its own request, and not that of another; the admin ends all', {
  timeout: 60_000,
}, async (t) => {
  const keyOf = (name: string) => ({ name, token: `token-of-${name}`, tenant: name, may: ['write'] })
  const collector = await collectorOn(nvidiaSmiStandIn({ row: 2 }), {
    FLEETMETER_KEYS: JSON.stringify([keyOf('a'), keyOf('b')]),
  })
  t.after(() => kill(collector))
  const { url } = collector
  const ask = async (name: string, seconds: number): Promise<number> => {
    const answer = await post(url, JSON.stringify({ seconds }), { Authorization: `Bearer token-of-${name}` })
    assert.equal(answer.status, 200)
    const { leases } = (await answer.json()) as State
    assert.ok(
      leases.every(({ reason }) => reason === 'asked for'),
      'who asked is not told',
    )
    return leases.length
  }
  assert.deepEqual([await ask('a', 600), await ask('a', 60), await ask('b', 600)], [1, 1, 2])
  assert.deepEqual([await ask('b', 0), await ask('b', 0)], [1, 1], 'that of a goes on')
  await ask('b', 600)
  await post(url, '{"seconds":0}')
  assert.deepEqual((await state(url)).leases, [])
})

test('a process that computes on a GPU is a reason for fast rounds', { timeout: 60_000 }, async (t) => {
  const collector = await collectorOn(nvidiaSmiStandIn({ row: 60 }), {
    FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '6000',
    FLEETMETER_COLLECTOR_HOST_FAST_INTERVAL_MS: '500',
  })
  t.after(() => kill(collector))
  await eventually('it is noticed', async () => (await state(collector.url)).interval_ms === 500)
  const { leases, gpus } = await state(collector.url)
  assert.deepEqual([leases[0]?.reason, gpus], ['gpu processes', 1])
})

test('a tool that hangs is said on /readyz and /metrics, and holds up neither the samples nor the end', {
  timeout: 60_000,
}, async (t) => {
  const collector = await collectorOn(nvidiaSmiStandIn({ mode: 'hang' }), {
    FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '200',
    FLEETMETER_COLLECTOR_HOST_TOOL_TIMEOUT_MS: '500',
  })
  t.after(() => kill(collector))
  const { url } = collector
  const metric = async (name: string, labels: string) =>
    (await scrape(url)).get(`fleetmeter_collector_${name}${labels}`)
  await eventually('it is said', async () => (await hostDetail(url)).includes('nvidia-smi: it gave no answer'))
  assert.match(await hostDetail(url), /amd-smi is not installed/)
  assert.equal((await fetch(`${url}/readyz`)).status, 200, 'the collector is ready all the same')
  assert.equal(await metric('host_tool_state', '{tool="nvidia-smi",state="silent"}'), 1)
  assert.equal(await metric('host_tool_state', '{tool="amd-smi",state="absent"}'), 1)
  assert.equal(await metric('host_tool_failures_total', '{tool="nvidia-smi"}'), 1)
  const received = () => metric('items_received_total', '{shard="shard-0",door="host",kind="sample"}')
  const before = (await received())!
  await eventually('samples go on', async () => (await received())! > before)
  collector.process.kill('SIGTERM')
  assert.equal(await collector.exited, 0)
})

test('killed with -9, the collector takes a tool along that hangs', { timeout: 60_000 }, async (t) => {
  if (!hasPeer(t, 'setpriv', '--version', 'util-linux')) return
  const smi = nvidiaSmiStandIn({ mode: 'hang' })
  const collector = await collectorOn(smi, { FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '200' })
  t.after(() => kill(collector))
  await eventually('the tool hangs', async () => smi.calls().length > 0)
  const tools = childrenOf(collector.process.pid!)
  assert.equal(tools.length, 1)
  await kill(collector)
  await eventually('it is gone', () => !tools.some(isAlive))
})

test('a collector that does not sample its host says so', async (t) => {
  const collector = await collectorOn(nvidiaSmiStandIn({}), { FLEETMETER_COLLECTOR_HOST: 'false' })
  t.after(() => kill(collector))
  assert.equal((await post(collector.url, '{"seconds":1}')).status, 404)
})
