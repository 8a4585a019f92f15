/**
 * A real Prometheus scrapes itself and writes to the collector: by its own metrics nothing failed and nothing was dropped,
 * and ClickHouse holds exactly the samples that Prometheus holds.
 *
 * FLEETMETER_TEST_PROMETHEUS_SECONDS sets how long.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startEngine } from '../support/engine.ts'
import { startPair } from '../support/pair.ts'
import { hasPeer } from '../support/peers.ts'
import { eventually, freePort, scrape, temporaryDirectory, terminate, total } from '../support/programs.ts'

const SECONDS = Number(process.env['FLEETMETER_TEST_PROMETHEUS_SECONDS'] ?? 60)
const STALE = 0x7ff0000000000002n

/** A way to have a Prometheus, and which version of remote write it is told to speak. */
interface Peer {
  readonly what: string
  /** @returns the command; undefined when the test was skipped */
  readonly find: (t: TestContext) => Promise<string | undefined>
  /** More settings of its remote_write. */
  readonly settings: string
  readonly door: string
}

const PEERS: readonly Peer[] = [
  {
    what: 'Prometheus speaks 1.0',
    find: async (t) => (hasPeer(t, 'prometheus', '--version', 'Debian package prometheus') ? 'prometheus' : undefined),
    settings: 'metadata_config: { send: true, send_interval: 5s }',
    door: 'remote_write',
  },
  {
    what: 'Prometheus 3 speaks 2.0',
    find: prometheus3,
    settings: 'protobuf_message: io.prometheus.write.v2.Request',
    door: 'remote_write_2',
  },
]

/** Built from its Go module in CI, which takes minutes; elsewhere the one that FLEETMETER_TEST_PROMETHEUS_3 names. */
async function prometheus3(t: TestContext): Promise<string | undefined> {
  const given = process.env['FLEETMETER_TEST_PROMETHEUS_3']
  if (given !== undefined) return given
  if (process.env['CI'] === undefined) {
    t.skip('a Prometheus 3 is built in CI only: FLEETMETER_TEST_PROMETHEUS_3 names one that is there')
    return undefined
  }
  if (!hasPeer(t, 'go', 'version', 'golang')) return undefined
  const directory = temporaryDirectory()
  for (const file of ['go.mod', 'go.sum'])
    copyFileSync(fileURLToPath(new URL(`./prometheus-3/${file}`, import.meta.url)), join(directory, file))
  const binary = join(directory, 'prometheus')
  const flags = [
    'build',
    '-mod=mod',
    '-tags',
    'remove_all_sd',
    '-o',
    binary,
    'github.com/prometheus/prometheus/cmd/prometheus',
  ]
  await promisify(execFile)('go', flags, { cwd: directory, maxBuffer: 64 * 1024 * 1024 })
  return binary
}

for (const { what, find, settings, door } of PEERS)
  test(`${what} for a minute: nothing failed, nothing dropped, and ClickHouse holds what it holds`, {
    timeout: (SECONDS + 1200) * 1000,
  }, async (t) => {
    const command = await find(t)
    if (command === undefined) return
    const { data, collector, aggregator } = await startPair(t)
    const port = await freePort()
    const configuration = join(data, 'prometheus.yml')
    const write = (targets: string): void =>
      writeFileSync(
        configuration,
        `global: { scrape_interval: 1s, external_labels: { cluster: "test é" } }
scrape_configs:
  - job_name: itself
    static_configs: [{ targets: [${targets}] }]
  - job_name: collector
    static_configs: [{ targets: [${targets === '' ? '' : `"${new URL(collector.url).host}"`}] }]
remote_write:
  - url: ${collector.url}/api/v1/write
    ${settings}
`,
      )
    write(`"127.0.0.1:${port}"`)
    const prometheus = spawn(
      command,
      [
        `--config.file=${configuration}`,
        `--storage.tsdb.path=${join(data, 'tsdb')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-lifecycle',
        '--log.level=error',
      ],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    )
    t.after(() => {
      prometheus.kill('SIGKILL')
    })
    const url = `http://127.0.0.1:${port}`
    await eventually('Prometheus is ready', async () => (await fetch(`${url}/-/ready`)).status === 200)
    await sleep(SECONDS * 1000)

    // Targets away: series end with stale markers, and the queue runs empty.
    write('')
    assert.equal((await fetch(`${url}/-/reload`, { method: 'POST' })).status, 200)
    await sleep(2000)
    await eventually(
      'everything is sent',
      async () => total(await scrape(url), 'prometheus_remote_storage_samples_pending') === 0,
    )
    const own = await scrape(url)
    for (const family of [
      'samples_failed_total',
      'samples_dropped_total',
      'samples_retried_total',
      'metadata_failed_total',
      'exemplars_failed_total',
    ]) {
      assert.equal(total(own, `prometheus_remote_storage_${family}`), 0, family)
    }
    assert.ok(total(own, 'prometheus_remote_storage_samples_total') > SECONDS * 500)

    const held = await samplesOf(url)
    await eventually(
      'everything is stored',
      async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
    )
    const refused = total(await scrape(collector.url), 'fleetmeter_collector_items_refused_total')
    assert.equal(refused, 0)
    assert.ok(total(await scrape(collector.url), 'fleetmeter_collector_items_received_total') > SECONDS * 500)
    const ok = (await scrape(collector.url)).get(`fleetmeter_collector_requests_total{door="${door}",outcome="ok"}`)
    assert.ok(ok !== undefined && ok > 0, `nothing came through the door ${door}`)
    assert.equal((await terminate(collector)).how, 0)
    assert.equal((await terminate(aggregator)).how, 0)
    const stored = await samplesStored(join(data, 'aggregator', 'engine'))
    t.diagnostic(
      `${[...held.values()].reduce((n, s) => n + s.size, 0)} samples of ${held.size} series compared, ${stored.stale} stale markers beside them`,
    )
    assert.ok(stored.stale > 500, 'stale markers are kept')
    assert.deepEqual([...stored.series.keys()].sort(), [...held.keys()].sort())
    for (const [series, samples] of held) assert.deepEqual(stored.series.get(series), samples, series)
  })

/** Series by their labels as sorted JSON, each with its samples: time in ms → value. */
type Samples = Map<string, Map<number, number>>

const keyOf = (labels: readonly (readonly [string, string])[]): string =>
  JSON.stringify([...labels].sort(([a], [b]) => (a < b ? -1 : 1)))

/** Everything that Prometheus holds, as samples and not as steps. Its API leaves stale markers out. */
async function samplesOf(url: string): Promise<Samples> {
  const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: '{__name__=~".+"}[1h]' })}`)
  const { data } = (await response.json()) as {
    data: { result: { metric: Record<string, string>; values: [number, string][] }[] }
  }
  return new Map(
    data.result.map(({ metric, values }) => [
      keyOf([...Object.entries(metric), ['cluster', 'test é']]),
      new Map(
        values.map(([seconds, value]) => [
          Math.round(seconds * 1000),
          value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value),
        ]),
      ),
    ]),
  )
}

async function samplesStored(directory: string): Promise<{ series: Samples; stale: number }> {
  const engine = await startEngine(directory)
  try {
    const described = await engine.db.rows<{ id: string; name: string; labels: string[] }>(
      'SELECT toString(series) AS id, name, kv AS labels FROM fleetmeter.series FINAL',
    )
    const keys = new Map(
      described.map(({ id, name, labels }) => [
        id,
        keyOf([
          ['__name__', name],
          ...labels.map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)] as const),
        ]),
      ]),
    )
    const rows = await engine.db.rows<{ id: string; time: string; value: number | string; bits: string }>(
      `SELECT toString(p.series) AS id, toString(toUnixTimestamp64Milli(p.ts)) AS time, p.value AS value, toString(reinterpretAsUInt64(p.value)) AS bits FROM fleetmeter.points AS p`,
    )
    const series: Samples = new Map()
    let stale = 0
    for (const { id, time, value, bits } of rows) {
      if (BigInt(bits) === STALE) {
        stale++
        continue
      }
      const key = keys.get(id)!
      const samples = series.get(key) ?? new Map<number, number>()
      series.set(
        key,
        samples.set(Number(time), value === 'inf' ? Infinity : value === '-inf' ? -Infinity : Number(value)),
      )
    }
    return { series, stale }
  } finally {
    await engine.stop()
  }
}
