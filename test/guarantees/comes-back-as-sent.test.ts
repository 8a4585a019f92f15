/**
 * Native histograms (whole, float, custom bounds, stale), exemplars, metadata, starts of counters and special values, sent by
 * remote write 1.0 and 2.0, come back field by field; both programs are killed with -9 on the way.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { fullRequest1, fullRequest2, partsAt, WriteRequest } from '../support/full-requests.ts'
import type { Running } from '../support/programs.ts'
import { authorized, eventually, freePort, kill, ready, start, temporaryDirectory } from '../support/programs.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'

const now = Date.now() - 60_000
const { histograms: HISTOGRAMS, exemplars: EXEMPLARS, samples: SAMPLES, starts: STARTS } = partsAt(now)

async function send(url: string, message: Uint8Array, proto: string): Promise<Response> {
  return fetch(`${url}/api/v1/write`, {
    method: 'POST',
    headers: { 'Content-Type': `application/x-protobuf;proto=${proto}`, 'Content-Encoding': 'snappy' },
    body: Uint8Array.from(portableSnappy.compress(message)),
  })
}

test('whatever was sent comes back as it was sent', { timeout: 120_000 }, async (t) => {
  const data = temporaryDirectory()
  const [port, aggregatorPort] = [await freePort(), await freePort()]
  const env = {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${aggregatorPort}`,
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${aggregatorPort}`,
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '1000',
    FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${port}`,
    FLEETMETER_COLLECTOR_HOST: 'false',
  }
  const running: Running[] = []
  t.after(async () => void (await Promise.all(running.map(kill))))
  const startBoth = async (): Promise<void> => {
    running.push(await start('aggregator', env), await start('collector', env))
    await ready(running.at(-1)!.url)
    await ready(running.at(-2)!.url)
  }
  await startBoth()
  const url = `http://127.0.0.1:${port}`

  const first = await send(url, fullRequest1(now), 'prometheus.WriteRequest')
  assert.deepEqual([first.status, await first.text()], [204, ''])
  await Promise.all(running.splice(0).map(kill)) // before anything is stored
  await startBoth()
  const second = await send(url, fullRequest2(now), 'io.prometheus.write.v2.Request')
  assert.deepEqual([second.status, await second.text()], [204, ''])
  assert.deepEqual(
    ['Samples', 'Histograms', 'Exemplars'].map((kind) =>
      second.headers.get(`X-Prometheus-Remote-Write-${kind}-Written`),
    ),
    ['5', '5', '2'],
  )

  const read = async (matchers: Parameters<typeof readSeries>[1]): Promise<ReadSeries[]> =>
    readSeries(url, matchers, now - 1000, now + 10_000)
  let all: ReadSeries[] = []
  await eventually('all four series are there', async () => {
    all = await read([{ type: 2, name: '__name__', value: '[hs]' }])
    return all.length === 4 && all.every((s) => s.samples.length + s.histograms.length >= 4)
  })
  const of = (name: string, v: string): ReadSeries =>
    all.find((s) => s.labels['__name__'] === name && s.labels['v'] === v)!
  const bits = (samples: readonly { timestamp: number; value: number }[]): [number, bigint][] =>
    samples.map(({ timestamp, value }) => [timestamp, new BigUint64Array(Float64Array.of(value).buffer)[0]!])
  for (const v of ['1', '2']) {
    assert.deepEqual(bits(of('s', v).samples), bits(SAMPLES))
    assert.deepEqual(of('s', v).exemplars, EXEMPLARS)
  }
  const printed = (histograms: readonly object[]): unknown =>
    WriteRequest.toObject(WriteRequest.fromObject({ timeseries: [{ histograms: [...histograms] }] }), {
      longs: String,
      enums: Number,
    })['timeseries'][0].histograms
  assert.deepEqual(of('h', '1').histograms, printed(HISTOGRAMS.filter((h) => h['customValues'] === undefined)))
  assert.deepEqual(
    of('h', '2').histograms.map(({ startTimestamp, ...rest }) => rest),
    printed(HISTOGRAMS),
  )
  assert.ok(of('h', '2').histograms.every((h) => h['startTimestamp'] === String(now - 500)))
  assert.deepEqual(
    of('s', '2').samples.map((s) => s.startTimestamp),
    STARTS,
  )
  assert.ok(of('s', '1').samples.every((s) => s.startTimestamp === 0))

  assert.deepEqual(
    (
      await read([
        { type: 0, name: 'v', value: '2' },
        { type: 1, name: '__name__', value: 'h' },
      ])
    ).map((s) => s.labels),
    [{ __name__: 's', v: '2' }],
  )
  assert.equal((await read([{ type: 3, name: '__name__', value: 'h|s' }])).length, 0)
  assert.equal((await read([{ type: 0, name: 'absent', value: '' }])).length, 4)
  await assert.rejects(read([{ type: 2, name: 'v', value: '(' }]), /^Error: 400 .*regular expression/)

  const query = new URLSearchParams({ query: 's{v="2"}', start: String(now / 1000 - 1), end: String(now / 1000 + 10) })
  const found = await fetch(`${url}/api/v1/query_exemplars`, { method: 'POST', headers: authorized, body: query })
  assert.deepEqual(await found.json(), {
    status: 'success',
    data: [
      {
        seriesLabels: { __name__: 's', v: '2' },
        exemplars: EXEMPLARS.map(({ labels, value, timestamp }) => ({
          labels,
          value: String(value),
          timestamp: timestamp / 1000,
        })),
      },
    ],
  })
  const refused = await fetch(`${url}/api/v1/query_exemplars?query=rate(s[1m])`, { headers: authorized })
  assert.equal(refused.status, 400)
  assert.match(await refused.text(), /only a selector/)

  const metadata = async (): Promise<unknown> => (await fetch(`${url}/api/v1/metadata`, { headers: authorized })).json()
  assert.deepEqual(await metadata(), {
    status: 'success',
    data: {
      h: [{ type: 'histogram', help: 'Help of h.\n"quoted"', unit: 'seconds' }],
      only_metadata: [{ type: 'counter', help: '', unit: '' }],
      s: [{ type: 'counter', help: 'Help of s.', unit: '' }],
    },
  })
})
