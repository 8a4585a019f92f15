/**
 * Aggregation rules against a real Prometheus that got the same samples: every output at every window's end equals what PromQL
 * computes there. Samples come from four senders over two shards, some of them many seconds late, some twice; the collector is
 * killed with -9 in the middle of windows.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasPeer } from '../support/peers.ts'
import { post } from '../support/post.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, ready, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'
import type { Point } from '../support/write-request.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const INTERVAL = 10_000
const SECONDS = 45
/** All of a window, open on the left as from Prometheus 3 on, also in those before. */
const RANGE = `[${INTERVAL - 1}ms]`
const SENDERS = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4']

const OUTPUTS = ['count', 'sum', 'avg', 'min', 'max', 'last', 'increase', 'rate', 'quantiles(0.5, 0.9)']
const RULES = [
  { match: 'load', interval: '10s', by: ['zone'], outputs: OUTPUTS, grace: '1s' },
  {
    match: '{__name__="load",zone="a"}',
    interval: '10s',
    without: ['zone'],
    outputs: ['last', 'quantiles(0.9)'],
    grace: '1s',
  },
  { match: 'dropped', interval: '10s', by: ['zone'], outputs: ['sum', 'count'], grace: '1s', keep_input: false },
]

/** What PromQL makes of it. `last` of a group of several series has no name there. */
const QUERIES: Readonly<Record<string, string>> = {
  'load:10s_by_zone_count': `sum by (zone) (count_over_time(load${RANGE}))`,
  'load:10s_by_zone_sum': `sum by (zone) (sum_over_time(load${RANGE}))`,
  'load:10s_by_zone_avg': `sum by (zone) (sum_over_time(load${RANGE})) / sum by (zone) (count_over_time(load${RANGE}))`,
  'load:10s_by_zone_min': `min by (zone) (min_over_time(load${RANGE}))`,
  'load:10s_by_zone_max': `max by (zone) (max_over_time(load${RANGE}))`,
  'load:10s_by_zone_increase': `sum by (zone) (last_over_time(load${RANGE}) - last_over_time(load${RANGE} offset 10s))`,
  'load:10s_by_zone_rate': `sum by (zone) (last_over_time(load${RANGE}) - last_over_time(load${RANGE} offset 10s)) / 10`,
  'load:10s_without_zone_last': `last_over_time(load{zone="a"}${RANGE})`,
  'load:10s_without_zone_quantiles': `quantile_over_time(0.9, load{zone="a"}${RANGE})`,
  'dropped:10s_by_zone_sum': `sum by (zone) (sum_over_time(dropped${RANGE}))`,
  'dropped:10s_by_zone_count': `sum by (zone) (count_over_time(dropped${RANGE}))`,
}

async function startPrometheus(t: TestContext, data: string): Promise<string> {
  const port = await freePort()
  const configuration = join(data, 'prometheus.yml')
  writeFileSync(configuration, 'storage: { tsdb: { out_of_order_time_window: 1h } }\n')
  const flags = [
    `--config.file=${configuration}`,
    `--storage.tsdb.path=${join(data, 'tsdb')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--web.enable-remote-write-receiver',
    '--log.level=error',
  ]
  const prometheus = spawn('prometheus', flags, { stdio: ['ignore', 'inherit', 'inherit'] })
  t.after(() => void prometheus.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  await eventually('Prometheus is ready', async () => (await fetch(`${url}/-/ready`)).status === 200)
  return url
}

test('outputs of rules equal what Prometheus computes, over kill -9 and late data', { timeout: 300_000 }, async (t) => {
  if (!hasPeer(t, 'prometheus', '--version', 'Debian package prometheus')) return
  const data = temporaryDirectory()
  const seed = testSeed()
  const random = new Random(seed)
  t.diagnostic(`seed ${seed}`)
  const [port, aggregatorPort] = [await freePort(), await freePort()]
  const prometheus = await startPrometheus(t, data)
  const env = {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${aggregatorPort}`,
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${aggregatorPort}`,
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '300',
    FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${port}`,
    FLEETMETER_COLLECTOR_ID: 'one',
    FLEETMETER_COLLECTOR_SHARDS: '2',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '100',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_RULES: JSON.stringify(RULES),
  }
  const running: Running[] = [await start('aggregator', env), await start('collector', env)]
  t.after(async () => void (await Promise.all(running.map(kill))))
  const url = `http://127.0.0.1:${port}`

  const begin = Math.ceil(Date.now() / INTERVAL) * INTERVAL
  const end = begin + SECONDS * 1000
  const deliver = async (from: string, points: readonly Point[]): Promise<void> => {
    if (points.length === 0) return
    const body = remoteWriteBody(points)
    for (;;) {
      const { status } = await post(url, from, body)
      if (status === 204) break
      assert.ok(status === 0 || status === 503, `${status}`)
      await sleep(50)
    }
    if (random.chance(0.1)) await post(url, from, body)
    assert.equal((await post(prometheus, from, body)).status, 204)
  }
  await sleep(Math.max(0, begin - Date.now()))
  let dropped = 0
  const sender = async (from: string, number: number): Promise<void> => {
    let late: Point[] = []
    while (Date.now() < end) {
      const time = Date.now()
      const points = ['a', 'b'].flatMap((zone, z): Point[] => {
        const labels = { zone: z === 0 && number > 0 ? 'c' : zone, sender: String(number) }
        const value = Math.round((time - begin) / 7) / 100 + number
        return [
          { name: 'load', labels, time: time + z, value },
          { name: 'dropped', labels, time: time + z, value: value / 3 },
        ]
      })
      dropped += points.filter((p) => p.name === 'dropped').length
      const held = random.chance(0.2)
      if (held) late.push(...points)
      else await deliver(from, points)
      // What was held back comes up to two windows later.
      if (random.chance(0.03)) {
        await deliver(from, late)
        late = []
      }
      await sleep(200)
    }
    await deliver(from, late)
  }
  const sending = SENDERS.map(sender)
  for (const at of [13_000, 27_500]) {
    await sleep(Math.max(0, begin + at - Date.now()))
    await kill(running[1]!)
    await sleep(300)
    running[1] = await start('collector', env)
  }
  await Promise.all(sending)
  await ready(running[0]!.url)

  const ends = Array.from({ length: Math.floor(SECONDS / 10) }, (_, i) => begin + (i + 1) * INTERVAL)
  const read = (name: string): Promise<ReadSeries[]> =>
    readSeries(url, [{ type: 0, name: '__name__', value: name }], begin - INTERVAL, end + INTERVAL)
  const compare = async (): Promise<number> => {
    let compared = 0
    for (const [name, query] of Object.entries(QUERIES)) {
      const outputs = await read(name)
      // The query needs a window before; a rule counts from a series' first sample.
      for (const time of /increase|rate/.test(name) ? ends.slice(1) : ends) {
        const wanted = await instant(prometheus, query, time)
        for (const [labels, value] of wanted) {
          const found = outputs.find((s) => sameGroup(s.labels, labels))
          const sample = found?.samples.find((s) => s.timestamp === time)
          assert.ok(sample !== undefined, `${name}${labels} at ${time - begin} ms is missing`)
          const error = Math.abs(sample.value - value)
          assert.ok(
            error <= 1e-9 * Math.max(1, Math.abs(value)),
            `${name}${labels} at ${time - begin} ms: ${sample.value} instead of ${value}`,
          )
          assert.equal(found!.labels['collector'], 'one')
          compared++
        }
        const there = outputs.filter((s) =>
          s.samples.some((sample) => sample.timestamp === time && !Number.isNaN(sample.value)),
        )
        assert.equal(there.length, wanted.size, `${name} at ${time - begin} ms`)
      }
    }
    return compared
  }
  let compared = 0
  // Amendments come within seconds after the late data.
  await eventually(
    'all outputs are there and right',
    async () => {
      compared = await compare()
      return compared > 0
    },
    60_000,
  )
  assert.ok(compared > 80, `${compared} compared`)
  t.diagnostic(`${compared} outputs compared`)

  // An input that its rule drops is nowhere but in the outputs, and every one of them is counted.
  assert.deepEqual(await read('dropped'), [])
  await eventually(
    'every input is accounted for',
    async () => {
      const metrics = await scrape(url)
      return total(metrics, 'fleetmeter_collector_items_waiting') === 0
    },
    30_000,
  )
  assert.ok(dropped > 200)
  const kept = (await read('load')).reduce((n, s) => n + s.samples.length, 0)
  assert.equal(kept, dropped, 'the input that is kept is stored')
})

/** A PromQL query at one instant: values by labels. */
async function instant(url: string, query: string, time: number): Promise<Map<string, number>> {
  const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query, time: String(time / 1000) })}`)
  const { data } = (await response.json()) as {
    data: { result: { metric: Record<string, string>; value: [number, string] }[] }
  }
  return new Map(
    data.result.map(({ metric, value }) => {
      const { __name__, ...labels } = metric
      return [JSON.stringify(labels), Number(value[1])]
    }),
  )
}

/** A rule without `zone` keeps all other labels; PromQL's answer has that label too. */
function sameGroup(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const { __name__, collector, quantile, ...own } = labels
  if (quantile !== undefined && quantile !== '0.9') return false
  const group = JSON.parse(wanted) as Record<string, string>
  if (__name__!.includes('without')) delete group['zone']
  return Object.keys(own).length === Object.keys(group).length && Object.entries(group).every(([k, v]) => own[k] === v)
}
