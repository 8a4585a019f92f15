/**
 * Native histograms (whole, float, custom bounds, stale), exemplars, metadata, starts of counters and special values, sent by
 * remote write 1.0 and 2.0, come back field by field; both programs are killed with -9 on the way.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import protobuf from 'protobufjs'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import type { Running } from '../support/programs.ts'
import { authorized, eventually, freePort, kill, ready, start, temporaryDirectory } from '../support/programs.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'

const lookUp = (version: 1 | 2, type: string): protobuf.Type =>
  protobuf
    .parse(
      readFileSync(new URL(`../../proto/schema/prometheus-remote-write-${version}.proto`, import.meta.url), 'utf8'),
    )
    .root.lookupType(type)
const WriteRequest = lookUp(1, 'prometheus.WriteRequest')
const Request2 = lookUp(2, 'io.prometheus.write.v2.Request')

const now = Date.now() - 60_000

/** One of each kind; as protobufjs prints them. */
const HISTOGRAMS = [
  {
    countInt: '14',
    sum: 12.5,
    schema: 3,
    zeroThreshold: 2 ** -128,
    zeroCountInt: '1',
    negativeSpans: [{ length: 1 }],
    negativeDeltas: [2],
    positiveSpans: [
      { offset: -2, length: 2 },
      { offset: 3, length: 1 },
    ],
    positiveDeltas: [4, -2, 3],
    resetHint: 2,
    timestamp: now,
  },
  {
    countInt: '18446744073709551615',
    sum: Number.NaN,
    zeroCountInt: '9007199254740993',
    schema: -4,
    timestamp: now + 1,
  },
  {
    countFloat: 3.5,
    sum: -0.1,
    schema: 8,
    zeroThreshold: 0.001,
    zeroCountFloat: 0.5,
    positiveSpans: [{ length: 2 }],
    positiveCounts: [1, 2],
    resetHint: 3,
    timestamp: now + 2,
  },
  {
    countInt: '3',
    sum: 1,
    schema: -53,
    zeroCountInt: '0',
    positiveSpans: [{ offset: 1, length: 2 }],
    positiveDeltas: [1, 1],
    customValues: [-1, 0.5],
    timestamp: now + 3,
  },
  { countInt: '0', sum: STALE(), zeroCountInt: '0', timestamp: now + 4 },
]

/** The stale marker as a number: its bits survive in a Float64Array. */
function STALE(): number {
  return new Float64Array(Uint32Array.of(2, 0x7ff00000).buffer)[0]!
}

const EXEMPLARS = [
  { labels: { trace_id: 'abc', path: '/é"\n' }, value: 0.25, timestamp: now },
  { labels: {}, value: -1, timestamp: now + 1 },
]
const SAMPLES = [
  { timestamp: now, value: 1.5 },
  { timestamp: now + 1000, value: -0 },
  { timestamp: now + 2000, value: Number.POSITIVE_INFINITY },
  { timestamp: now + 3000, value: Number.NaN },
  { timestamp: now + 4000, value: STALE() },
]

/** Of the samples of 2.0: the counter begins again between the second and the third; the last does not say. */
const STARTS = [now - 100, now - 100, now + 1500, now + 1500, 0]

const pairs = (labels: Readonly<Record<string, string>>): { name: string; value: string }[] =>
  Object.entries(labels).map(([name, value]) => ({ name, value }))

function body1(): Uint8Array {
  const message = WriteRequest.fromObject({
    timeseries: [
      { labels: pairs({ __name__: 'h', v: '1' }), histograms: HISTOGRAMS.filter((h) => h.customValues === undefined) },
      {
        labels: pairs({ __name__: 's', v: '1' }),
        samples: SAMPLES,
        exemplars: EXEMPLARS.map((e) => ({ ...e, labels: pairs(e.labels) })),
      },
    ],
    metadata: [
      { type: 3, metricFamilyName: 'h', help: 'Help of h.\n"quoted"', unit: 'seconds' },
      { type: 1, metricFamilyName: 'only_metadata', help: '', unit: '' },
    ],
  })
  return WriteRequest.encode(message).finish()
}

function body2(): Uint8Array {
  const symbols = ['']
  const ref = (text: string): number => {
    if (!symbols.includes(text)) symbols.push(text)
    return symbols.indexOf(text)
  }
  const refs = (labels: Readonly<Record<string, string>>): number[] =>
    Object.entries(labels).flatMap(([name, value]) => [ref(name), ref(value)])
  const timeseries = [
    {
      labelsRefs: refs({ __name__: 'h', v: '2' }),
      histograms: HISTOGRAMS.map((h) => ({ ...h, startTimestamp: now - 500 })),
      metadata: { type: 3, helpRef: ref('Help of h.\n"quoted"'), unitRef: ref('seconds') },
    },
    {
      labelsRefs: refs({ __name__: 's', v: '2' }),
      samples: SAMPLES.map((s, i) => ({ ...s, startTimestamp: STARTS[i] })),
      exemplars: EXEMPLARS.map((e) => ({ ...e, labelsRefs: refs(e.labels), labels: undefined })),
      metadata: { type: 1, helpRef: ref('Help of s.') },
    },
  ]
  return Request2.encode(Request2.fromObject({ symbols, timeseries })).finish()
}

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

  const first = await send(url, body1(), 'prometheus.WriteRequest')
  assert.deepEqual([first.status, await first.text()], [204, ''])
  await Promise.all(running.splice(0).map(kill)) // before anything is stored
  await startBoth()
  const second = await send(url, body2(), 'io.prometheus.write.v2.Request')
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
  const printed = (histograms: object[]): unknown =>
    WriteRequest.toObject(WriteRequest.fromObject({ timeseries: [{ histograms }] }), { longs: String, enums: Number })[
      'timeseries'
    ][0].histograms
  assert.deepEqual(of('h', '1').histograms, printed(HISTOGRAMS.filter((h) => h.customValues === undefined)))
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
