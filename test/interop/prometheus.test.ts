/**
 * A real Prometheus scrapes itself, the collector and a target with exemplars, and writes to the collector: by its own metrics
 * nothing failed and nothing was dropped, and what is read back from fleetmeter is exactly what Prometheus holds: samples with
 * their stale markers to the bit, native histograms field by field, exemplars, metadata.
 *
 * FLEETMETER_TEST_PROMETHEUS_SECONDS sets how long.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPair } from '../support/pair.ts'
import { hasPeer } from '../support/peers.ts'
import { authorized, eventually, freePort, scrape, temporaryDirectory, total } from '../support/programs.ts'
import { buildPrometheus3 } from '../support/prometheus-3.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'

const SECONDS = Number(process.env['FLEETMETER_TEST_PROMETHEUS_SECONDS'] ?? 60)
const FEATURES = '--enable-feature=native-histograms,exemplar-storage'

/** A way to have a Prometheus, and which version of remote write it is told to speak. */
interface Peer {
  readonly what: string
  /** @returns the command; undefined when the test was skipped */
  readonly find: (t: TestContext) => Promise<string | undefined>
  /** More settings of every scrape. */
  readonly scraping: string
  /** More settings of the scrape of the target whose histograms are classic ones. */
  readonly classic: string
  /** More settings of its remote_write. */
  readonly settings: string
  readonly door: string
  /** Whether it has native histograms of its own, and whether classic ones become such with custom bounds. */
  readonly native: boolean
  readonly custom: boolean
}

/** Asked for by protobuf: the only form of an exposition that has native histograms. */
const NATIVE = 'scrape_native_histograms: true'

const PEERS: readonly Peer[] = [
  {
    what: 'Prometheus 2 speaks 1.0',
    find: async (t) => (hasPeer(t, 'prometheus', '--version', 'Debian package prometheus') ? 'prometheus' : undefined),
    scraping: '',
    classic: '',
    settings: 'metadata_config: { send: true, send_interval: 5s }',
    door: 'remote_write',
    native: false,
    custom: false,
  },
  {
    what: 'Prometheus 3 speaks 1.0',
    find: prometheus3,
    scraping: NATIVE,
    classic: '',
    settings: 'metadata_config: { send: true, send_interval: 5s }',
    door: 'remote_write',
    native: true,
    custom: false,
  },
  {
    what: 'Prometheus 3 speaks 2.0',
    find: prometheus3,
    scraping: NATIVE,
    classic: 'convert_classic_histograms_to_nhcb: true',
    settings: 'protobuf_message: io.prometheus.write.v2.Request',
    door: 'remote_write_2',
    native: true,
    custom: true,
  },
]

/** Built from its Go module in CI, which takes minutes; elsewhere the one that FLEETMETER_TEST_PROMETHEUS_3 names. */
async function prometheus3(t: TestContext): Promise<string | undefined> {
  built ??= findPrometheus3(t)
  return built
}

let built: Promise<string | undefined> | undefined

async function findPrometheus3(t: TestContext): Promise<string | undefined> {
  const given = process.env['FLEETMETER_TEST_PROMETHEUS_3']
  if (given !== undefined) return given
  if (process.env['CI'] === undefined) {
    t.skip('a Prometheus 3 is built in CI only: FLEETMETER_TEST_PROMETHEUS_3 names one that is there')
    return undefined
  }
  if (!hasPeer(t, 'go', 'version', 'golang')) return undefined
  return buildPrometheus3(temporaryDirectory())
}

for (const { what, find, scraping, classic, settings, door, native, custom } of PEERS)
  test(`${what} for a minute: nothing failed, nothing dropped, and what comes back is what it holds`, {
    timeout: (SECONDS + 1200) * 1000,
  }, async (t) => {
    const command = await find(t)
    if (command === undefined) return t.skip('a Prometheus 3 is built in CI only')
    const target = await startTarget(t)
    const { data, collector } = await startPair(t)
    const port = await freePort()
    const configuration = join(data, 'prometheus.yml')
    const job = (name: string, host: string, more = ''): string =>
      `  - job_name: ${name}\n    static_configs: [{ targets: [${host}] }]\n    ${scraping}\n    ${more}\n`
    const write = (on: boolean): void =>
      writeFileSync(
        configuration,
        `global: { scrape_interval: 1s, external_labels: { cluster: "test é" } }
scrape_configs:
${job('itself', on ? `"127.0.0.1:${port}"` : '')}
${job('collector', on ? `"${new URL(collector.url).host}"` : '')}
${job('target', on ? `"${target}"` : '', classic)}
remote_write:
  - url: ${collector.url}/api/v1/write
    send_exemplars: true
    send_native_histograms: true
    ${settings}
`,
      )
    write(true)
    const prometheus = spawn(
      command,
      [
        `--config.file=${configuration}`,
        `--storage.tsdb.path=${join(data, 'tsdb')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--web.enable-lifecycle',
        '--log.level=error',
        FEATURES,
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
    const from = Date.now() - 3_600_000
    await sleep(SECONDS * 1000)
    const known = await metadataOf(url)

    // Targets away: series end with stale markers, and the queue runs empty.
    write(false)
    assert.equal((await fetch(`${url}/-/reload`, { method: 'POST' })).status, 200)
    await sleep(2000)
    await eventually('everything is sent', async () => {
      const metrics = await scrape(url)
      const pending = (kind: string): number => total(metrics, `prometheus_remote_storage_${kind}_pending`)
      return pending('samples') + pending('histograms') + pending('exemplars') === 0
    })
    const own = await scrape(url)
    const sent = (family: string): number => total(own, `prometheus_remote_storage_${family}_total`)
    for (const kind of ['samples', 'histograms', 'exemplars', 'metadata'])
      for (const fate of ['failed', 'dropped', 'retried']) assert.equal(sent(`${kind}_${fate}`), 0, `${kind} ${fate}`)
    assert.ok(sent('samples') > SECONDS * 500)
    assert.ok(sent('exemplars') >= SECONDS, `${sent('exemplars')} exemplars`)
    assert.ok(!native || sent('histograms') >= SECONDS, `${sent('histograms')} histograms`)

    await eventually(
      'everything is stored',
      async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
    )
    const metrics = await scrape(collector.url)
    assert.equal(total(metrics, 'fleetmeter_collector_items_refused_total'), 0)
    const ok = metrics.get(`fleetmeter_collector_requests_total{door="${door}",outcome="ok"}`)
    assert.ok(ok !== undefined && ok > 0, `nothing came through the door ${door}`)

    const everything = [{ type: 2, name: '__name__', value: '.+' }] as const
    const held = await readSeries(url, everything, from, Date.now())
    const back = await readSeries(collector.url, everything, from, Date.now())
    const count = (of: (s: ReadSeries) => number): number => back.reduce((n, s) => n + of(s), 0)
    const stale = count((s) => s.samples.filter((sample) => bitsOf(sample.value) === STALE).length)
    const bounds = count((s) => s.histograms.filter((h) => h['schema'] === -53).length)
    t.diagnostic(
      `${count((s) => s.samples.length)} samples (${stale} stale markers) and ${count((s) => s.histograms.length)} histograms (${bounds} with custom bounds) of ${back.length} series compared`,
    )
    assert.ok(stale > 500, 'stale markers are kept')
    assert.ok(!custom || bounds > 0, 'there are histograms with custom bounds')
    assert.ok(!native || count((s) => s.histograms.length) > bounds, 'there are exponential histograms')
    assert.deepEqual(byLabels(back), byLabels(held))

    const exemplars = new Map(back.filter((s) => s.exemplars.length > 0).map((s) => [keyOf(s.labels), s.exemplars]))
    const theirs = await exemplarsOf(url, from)
    assert.ok(theirs.size >= 2)
    assert.deepEqual([...exemplars.keys()].sort(), [...theirs.keys()].sort())
    for (const [series, list] of theirs) assert.deepEqual(exemplars.get(series), list, series)

    const ours = await metadataOf(collector.url)
    for (const [name, entries] of Object.entries(known))
      if (ours[name] !== undefined) assert.deepEqual(ours[name], entries, name)
    const both = Object.keys(known).filter((name) => ours[name] !== undefined)
    // By 2.0 this Prometheus sends empty ones, with its feature metadata-wal-records or without.
    assert.ok(door === 'remote_write_2' || both.length > 50, `metadata of ${both.length} metrics comes through`)
    t.diagnostic(`metadata of ${both.length} metrics compared`)
  })

const STALE = 0x7ff0000000000002n

function bitsOf(value: number): bigint {
  return new BigUint64Array(Float64Array.of(value).buffer)[0]!
}

const keyOf = (labels: Readonly<Record<string, string>>): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))

/** What is compared of a series, by its labels. */
function byLabels(series: readonly ReadSeries[]): Map<string, unknown> {
  const entries = series.map(({ labels, samples, histograms }): [string, unknown] => {
    const bits = samples.map(({ timestamp, value }): [number, bigint] => [timestamp, bitsOf(value)])
    const isStale = (h: ReadSeries['histograms'][number]): boolean => bitsOf(Number(h['sum'] ?? 0)) === STALE
    return [
      keyOf(labels),
      {
        samples: bits.filter(([, value]) => value !== STALE),
        histograms: histograms.filter((h) => !isStale(h)).map(comparable),
        // The end of a series of histograms is sent as a sample, and read back as a histogram.
        stale: [
          ...bits.filter(([, value]) => value === STALE).map(([time]) => time),
          ...histograms.filter(isStale).map((h) => Number(h['timestamp'])),
        ],
      },
    ]
  })
  return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/**
 * A histogram without what Prometheus itself changes between sending and reading back: it lays buckets out anew in its chunks
 * (so empty ones come and go), finds the reset hint out by itself, and its remote read has no start.
 */
function comparable(histogram: Readonly<Record<string, unknown>>): unknown {
  const { startTimestamp, resetHint, ...fields } = histogram
  const rest: Record<string, unknown> = fields
  const sides = (['positive', 'negative'] as const).map((side) => {
    const spans = (rest[`${side}Spans`] ?? []) as { offset?: number; length?: number }[]
    const deltas = ((rest[`${side}Deltas`] ?? []) as string[]).map(BigInt)
    const counts = (rest[`${side}Counts`] ?? []) as number[]
    for (const name of ['Spans', 'Deltas', 'Counts']) delete rest[`${side}${name}`]
    const buckets: [number, bigint | number][] = []
    let index = 0
    let at = 0
    let count = 0n
    for (const { offset = 0, length = 0 } of spans) {
      index += offset
      for (let i = 0; i < length; i++, index++, at++) {
        count += deltas[at] ?? 0n
        if (counts.length > 0) buckets.push([index, counts[at]!])
        else if (count !== 0n) buckets.push([index, count])
      }
    }
    return buckets
  })
  return { ...rest, sides, gauge: resetHint === 3 }
}

async function exemplarsOf(url: string, from: number): Promise<Map<string, ReadSeries['exemplars']>> {
  const query = new URLSearchParams({
    query: '{__name__=~".+"}',
    start: String(from / 1000),
    end: String(Date.now() / 1000),
  })
  const answer = (await (await fetch(`${url}/api/v1/query_exemplars?${query}`)).json()) as {
    data: {
      seriesLabels: Record<string, string>
      exemplars: { labels: Record<string, string>; value: string; timestamp: number }[]
    }[]
  }
  return new Map(
    answer.data.map(({ seriesLabels, exemplars }) => [
      keyOf({ ...seriesLabels, cluster: 'test é' }),
      exemplars.map(({ labels, value, timestamp }) => ({
        labels,
        value: Number(value),
        timestamp: Math.round(timestamp * 1000),
      })),
    ]),
  )
}

async function metadataOf(url: string): Promise<Record<string, { type: string; help: string; unit: string }[]>> {
  const response = await fetch(`${url}/api/v1/metadata`, { headers: authorized })
  return ((await response.json()) as { data: Record<string, { type: string; help: string; unit: string }[]> }).data
}

/** A target in OpenMetrics: a counter and a classic histogram, with an exemplar each that is another at every scrape. */
async function startTarget(t: TestContext): Promise<string> {
  let n = 0
  const server = createServer((_, response) => {
    n++
    const exemplar = (value: number): string => `# {trace_id="trace-${n}"} ${value} ${(Date.now() / 1000).toFixed(3)}`
    response.setHeader('Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8')
    response.end(`# HELP requests Requests of the target, by path.
# TYPE requests counter
requests_total{path="/a"} ${n} ${exemplar(1)}
requests_total{path="/b"} ${2 * n}
# HELP latency_seconds Latencies.
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
latency_seconds_bucket{le="0.1"} ${n} ${exemplar(0.05)}
latency_seconds_bucket{le="1.0"} ${3 * n}
latency_seconds_bucket{le="+Inf"} ${4 * n}
latency_seconds_count ${4 * n}
latency_seconds_sum ${2.5 * n}
# EOF
`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
