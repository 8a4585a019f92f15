/**
 * A configuration that changes while the programs run: nobody whose token is valid throughout is refused or cut off, nothing is lost
 * or counted twice, and a wrong file changes nothing.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { checkAggregatorSums, checkCollectorSums } from '../support/item-sums.ts'
import { startPair } from '../support/pair.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { readSeries } from '../support/remote-read.ts'
import type { Point } from '../support/write-request.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const METRICS = ['kept', 'steady', 'changed', 'gone', 'added'] as const
const SECOND = 1000
const key = (name: string) => ({ name, token: `token-of-${name}`, tenant: 'default', may: ['write'] })
const rule = (match: string, interval: string, keep: boolean) => ({
  match,
  interval,
  outputs: ['count', 'sum'],
  keep_input: keep,
  grace: '1s',
})
const BEFORE = {
  keys: [key('throughout'), key('leaving')],
  collector: {
    rules: [
      rule('kept', '10s', true),
      rule('steady', '10s', false),
      rule('changed', '10s', false),
      rule('gone', '10s', false),
    ],
  },
}
const AFTER = {
  keys: [key('throughout'), key('joining')],
  collector: {
    sender_samples_per_second: 3000,
    sender_burst_seconds: 1,
    decoded_bytes_max: '1MiB',
    batch_bytes: '300KiB', // not without a restart
    rules: [
      rule('kept', '10s', true),
      rule('added', '10s', true),
      rule('changed', '20s', false),
      rule('steady', '10s', false),
    ],
  },
  aggregator: { rate_limit_qps: 33 },
}

/** Sends a point of each metric every 50 ms over one connection, which has to last. */
class Sender {
  readonly points: Point[] = []
  readonly refused: string[] = []
  connections = 0
  readonly #url: string
  readonly #series: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #stopped = false
  #done: Promise<void> = Promise.resolve()

  constructor(url: string, series: string) {
    this.#url = url
    this.#series = series
  }

  run(): void {
    this.#done = this.#send()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
    this.#agent.destroy()
  }

  async #send(): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const time = Date.now()
      const points = METRICS.map((name) => ({ name, labels: { series: this.#series }, time, value: n % 1000 }))
      const status = await this.post(points)
      if (status === 200 || status === 204) this.points.push(...points)
      else this.refused.push(`${status} at ${new Date(time).toISOString()}`)
      await sleep(50)
    }
  }

  post(points: readonly Point[], token: string = 'token-of-throughout'): Promise<number> {
    return new Promise((resolve) => {
      const headers = {
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/x-protobuf',
        'Content-Encoding': 'snappy',
      }
      // From an address of its own: another sender, and perhaps another shard.
      const localAddress = `127.0.0.${10 + Number(this.#series)}`
      const outgoing = request(`${this.#url}/api/v1/write`, {
        method: 'POST',
        headers,
        agent: this.#agent,
        localAddress,
      })
      outgoing.on('socket', () => {
        if (!outgoing.reusedSocket) this.connections++
      })
      outgoing.on('response', (answer) => answer.on('end', () => resolve(answer.statusCode ?? 0)).resume())
      outgoing.on('error', () => resolve(0))
      outgoing.end(remoteWriteBody(points))
    })
  }
}

async function reloaded(program: Running, result: 'taken' | 'refused'): Promise<void> {
  const family = `fleetmeter_${program.name}_config_reloads_total{result="${result}"}`
  const before = (await scrape(program.url)).get(family) ?? Number.NaN
  program.process.kill('SIGHUP')
  await eventually(`${program.name}: ${result}`, async () => (await scrape(program.url)).get(family) === before + 1)
}

test('a reload loses and refuses nothing; a wrong file changes nothing', { timeout: 240_000 }, async (t) => {
  const file = join(temporaryDirectory(), 'fleetmeter.yaml')
  const write = (value: unknown): void => writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
  write(BEFORE)
  const { collector, aggregator } = await startPair(t, {
    FLEETMETER_CONFIG: file,
    FLEETMETER_COLLECTOR_SHARDS: '2',
    FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
  })
  const senders = Array.from({ length: 6 }, (_, i) => new Sender(collector.url, String(i)))
  const other = new Sender(collector.url, '99')
  const begin = Date.now()
  const statusOf = (token: string) => other.post([{ name: 'other', labels: {}, time: Date.now(), value: 1 }], token)
  const large = (): Promise<number> =>
    fetch(`${collector.url}/v1/events`, {
      method: 'POST',
      headers: {
        Authorization: 'Bearer token-of-throughout',
        'Content-Type': 'application/json',
        'Content-Encoding': 'gzip',
      },
      body: gzipSync(`[${' '.repeat(2 * 1024 * 1024)}]`),
    }).then(({ status }) => status)
  for (const sender of senders) sender.run()
  t.after(() => Promise.all([...senders, other].map((sender) => sender.stop())).then(() => {}))

  await sleep(14 * SECOND) // a window is given out, and another is not
  assert.equal(await statusOf('token-of-leaving'), 204)
  assert.equal(await statusOf('token-of-joining'), 401)
  assert.notEqual(await large(), 413)
  const wrong = { ...AFTER, points_days: 'many', collector: { ...AFTER.collector, batch_samples: 'many', shardz: 2 } }
  for (const broken of [
    'keys: [a: b: c',
    wrong,
    { ...AFTER, keys: [key('a'), { ...key('b'), token: 'token-of-a' }] },
  ]) {
    write(broken)
    for (const program of [collector, aggregator]) await reloaded(program, 'refused')
    assert.equal(await statusOf('token-of-leaving'), 204)
    assert.equal(await statusOf('token-of-joining'), 401)
  }
  const said = collector.output()
  assert.match(said, /fleetmeter\.yaml:1: collector\.batch_samples: \\"many\\" is not allowed/)
  assert.match(said, /collector\.shardz: there is no such setting \(did you mean shards\?\)/)
  const state = await (await fetch(`${collector.url}/readyz`)).json()
  assert.match(
    JSON.stringify(state),
    /"status":"ready".*the configuration that was read at .* is wrong and not in force/,
  )

  checkCollectorSums(await scrape(collector.url))
  write(AFTER)
  const changedAt = Date.now()
  for (const program of [aggregator, collector]) await reloaded(program, 'taken')
  for (let i = 0; i < 20; i++) {
    checkCollectorSums(await scrape(collector.url))
    await sleep(100)
  }
  assert.equal(await statusOf('token-of-leaving'), 401)
  assert.equal(await statusOf('token-of-joining'), 204)
  const flood = Array.from({ length: 9000 }, (_, i) => ({ name: 'flood', labels: {}, time: begin + i, value: i }))
  assert.equal(await other.post(flood, 'token-of-joining'), 204)
  assert.equal(await statusOf('token-of-joining'), 429, 'the limit is in force')
  assert.match(collector.output(), /"settings":\["collector\.batch_bytes"\].*only a restart/)
  assert.match(
    await (await fetch(`${collector.url}/readyz`)).text(),
    /changed, and in force after a restart: collector\.batch_bytes/,
  )
  assert.equal(await large(), 413, 'events are held to the same bound')
  await sleep(20 * SECOND)

  for (const sender of senders) await sender.stop()
  assert.deepEqual(
    senders.flatMap(({ refused }) => refused),
    [],
    'nobody was refused',
  )
  assert.deepEqual(
    senders.map(({ connections }) => connections),
    senders.map(() => 1),
    'nobody was cut off',
  )
  const points = senders.flatMap((sender) => sender.points)
  // The last window is due a second after its end.
  await sleep(Math.ceil(Date.now() / 20_000) * 20_000 + 3000 - Date.now())
  await eventually('nothing waits', async () => {
    const metrics = await scrape(collector.url)
    checkCollectorSums(metrics)
    checkAggregatorSums(await scrape(aggregator.url))
    return total(metrics, 'fleetmeter_collector_items_waiting') === 0
  })

  const read = async (name: string): Promise<Map<number, number>> => {
    const series = await readSeries(
      aggregator.url,
      [{ type: 0, name: '__name__', value: name }],
      begin - 60_000,
      Date.now() + 60_000,
    )
    const values = new Map<number, number>()
    for (const { samples } of series)
      for (const { timestamp, value } of samples) values.set(timestamp, (values.get(timestamp) ?? 0) + value)
    return values
  }
  /** Points of a metric by window end: how many, and their sum. */
  const sent = (name: string, interval: number): Map<number, { count: number; sum: number }> => {
    const windows = new Map<number, { count: number; sum: number }>()
    for (const point of points.filter((one) => one.name === name)) {
      const end = Math.ceil(point.time / interval) * interval
      const { count, sum } = windows.get(end) ?? { count: 0, sum: 0 }
      windows.set(end, { count: count + 1, sum: sum + point.value })
    }
    return windows
  }
  const stored = async (name: string): Promise<Set<string>> => {
    const series = await readSeries(
      aggregator.url,
      [{ type: 0, name: '__name__', value: name }],
      begin - 60_000,
      Date.now() + 60_000,
    )
    return new Set(series.flatMap(({ labels, samples }) => samples.map((s) => `${labels['series']} ${s.timestamp}`)))
  }
  const keyOf = ({ labels, time }: Point): string => `${labels['series']} ${time}`
  for (const [name, interval] of [
    ['kept', '10s'],
    ['steady', '10s'],
    ['added', '10s'],
    ['changed', '20s'],
  ] as const) {
    const counts = await read(`${name}:${interval}_count`)
    const sums = await read(`${name}:${interval}_sum`)
    for (const [end, { count, sum }] of sent(name, interval === '10s' ? 10_000 : 20_000))
      assert.deepEqual([counts.get(end), sums.get(end)], [count, sum], `${name} until ${new Date(end).toISOString()}`)
  }
  for (const name of ['kept', 'added']) {
    const all = points.filter((point) => point.name === name).map(keyOf)
    assert.deepEqual([...(await stored(name))].sort(), all.sort(), `${name} is stored`)
  }
  assert.equal((await stored('steady')).size, 0, 'what an unchanged rule drops is not stored')
  // The rule that is gone: what it had given out stands, the rest is stored.
  const raw = await stored('gone')
  const outputs = await read('gone:10s_count')
  assert.ok(outputs.size > 0 && raw.size > 0)
  for (const [end, { count }] of sent('gone', 10_000)) {
    const told = outputs.get(end) ?? 0
    const kept = points.filter(
      (p) => p.name === 'gone' && Math.ceil(p.time / 10_000) * 10_000 === end && raw.has(keyOf(p)),
    )
    assert.equal(
      told + kept.length,
      count,
      `gone until ${new Date(end).toISOString()}, changed ${new Date(changedAt).toISOString()}`,
    )
  }
  const figures = await (
    await fetch(`${aggregator.url}/api/internal/rate_limit_stats`, { headers: { Authorization: 'Bearer test-token' } })
  ).json()
  assert.equal((figures as { rate_limit_qps: number }).rate_limit_qps, 33)
  t.diagnostic(`${points.length} samples; of the rule that is gone ${raw.size} are stored`)
})

test('npm start has both of its programs read their configuration again', { timeout: 120_000 }, async (t) => {
  const file = join(temporaryDirectory(), 'fleetmeter.yaml')
  writeFileSync(file, 'aggregator:\n  rate_limit_qps: 20\n')
  const aggregator = `127.0.0.1:${await freePort()}`
  const program = await start('standalone', {
    FLEETMETER_CONFIG: file,
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_LISTEN: aggregator,
  })
  t.after(() => kill(program))
  writeFileSync(file, 'aggregator:\n  rate_limit_qps: 33\n')
  program.process.kill('SIGHUP')
  for (const [side, url] of [
    ['collector', program.url],
    ['aggregator', `http://${aggregator}`],
  ] as const)
    await eventually(side, async () => {
      const metrics = await scrape(url)
      return metrics.get(`fleetmeter_${side}_config_reloads_total{result="taken"}`) === 1
    })
})
