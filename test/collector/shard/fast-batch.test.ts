/** Metric batches read by the core against those that JSON.parse reads: what the first reads, the second reads to the same bits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FastKeys } from '../../../collector/shard/fast/fast-keys.ts'
import { newCore } from '../../../collector/shard/fast/load-core.ts'
import { ByteWriter } from '../../../proto/wire/bytes.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import type { MetricPoint } from '../../../proto/wire/metric-batch.ts'
import { readMetricBatch } from '../../../proto/wire/metric-batch.ts'
import { mutate } from '../../support/mutate.ts'
import { Random, testSeed } from '../../support/random.ts'

const BODIES = Number(process.env['FLEETMETER_TEST_FAST_BODIES'] ?? 20_000)
const SCOPE = 7

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** The core, and what its series are. */
class Reader {
  readonly #keys: FastKeys
  readonly #series: Pick<MetricPoint, 'name' | 'labels'>[] = []

  constructor(core = newCore(1)) {
    assert.ok(core !== undefined, 'npm run build makes dist/collector/shard/fast/core.wasm')
    this.#keys = new FastKeys(core)
  }

  /** From now on their series are known. */
  learn(points: readonly Pick<MetricPoint, 'name' | 'labels'>[]): void {
    for (const { name, labels } of points) {
      const key = new ByteWriter(64)
      for (const text of [name, ...labels.flat()]) key.string(text)
      const view = new DataView(key.buf.buffer)
      if (this.#keys.find(key.buf, view, 0, key.pos, SCOPE) < 0)
        this.#keys.remember(key.buf, view, 0, key.pos, SCOPE, this.#series.push({ name, labels }) - 1)
    }
  }

  /** Undefined: not plain, or with a series that is not known. */
  read(body: Uint8Array): MetricPoint[] | undefined {
    let points: MetricPoint[] | undefined
    const whole = this.#keys.readBatch(body, SCOPE, {
      plainSamples: (series, times, words, count) => {
        const values = new Float64Array(words.slice(0, 2 * count).buffer)
        points = Array.from(series.subarray(0, count), (n, i) => ({
          ...this.#series[n]!,
          value: values[i]!,
          timestamp: times[i]!,
        }))
      },
    })
    assert.equal(whole, points !== undefined)
    return points
  }
}

function readParsed(body: Uint8Array): MetricPoint[] {
  const points: MetricPoint[] = []
  readMetricBatch(
    body,
    (point) => points.push(point),
    ({ index, reason }) => assert.fail(`point ${index}: ${reason}`),
  )
  return points
}

const TEXTS = ['', 'node_id', 'gpu_index', 'a', 'b', 'ab', '__name__', '__proto__', '10', '9', 'x'.repeat(200)]
const UNUSUAL = ['ö', '\\n', '\\u0041', '\u0001', '\u007f', '😀']
const NUMBERS = [
  '0',
  '-0',
  '0.5',
  '40960.0',
  '-3.5',
  '0.423',
  '123456789012345',
  '9007199254740993',
  '0.1234567890123456789',
  '0.9007199254740992',
  '0.9007199254740993',
  '9007199254740.992',
  '0.0000000000000000001',
  '1844674407370955161.5',
  '99999999999999999999',
]
const UNUSUAL_NUMBERS = ['1e3', '1E-7', '1e999', '01', '1.', '.5', '+1', '-', 'NaN', 'null', '"1"', '00', '1.e1']
const TIMES = [
  '2026-11-21T00:18:19.977000721Z',
  '2026-11-21T00:18:19.9Z',
  '2026-11-21T00:18:19Z',
  '2026-11-21t00:18:60.5+00:00',
  '2026-11-21 23:59:59Z',
]
const UNUSUAL_TIMES = [
  '2026-11-21T00:18:19z',
  '2026-11-21T08:18:19+08:00',
  '2026-02-30T00:00:00Z',
  '2026-11-21T00:18:19',
  '2026-11-21T00:18:19.Z',
  '',
  '0001-01-01T00:00:00.001Z',
]

/** @param odd how often something is not as daemons write it */
function generate(random: Random, odd: number): string {
  const space = (): string => (random.chance(0.1) ? random.pick([' ', '\n\t', '\r', '  ']) : '')
  const one = (usual: readonly string[], unusual: readonly string[]): string =>
    random.pick(random.chance(odd) ? unusual : usual)
  const text = (): string => `"${one(TEXTS, UNUSUAL)}"`
  const join = (parts: readonly string[]): string => parts.map((part) => `${space()}${part}${space()}`).join(',')
  const point = (): string => {
    const labels = Array.from({ length: random.between(0, 4) }, () => `${text()}${space()}:${space()}${text()}`)
    const fields = [
      `"name"${space()}:${space()}${text()}`,
      `"value":${space()}${one(NUMBERS, UNUSUAL_NUMBERS)}`,
      `"timestamp":"${one(TIMES, UNUSUAL_TIMES)}"`,
    ]
    if (random.chance(0.8)) fields.push(`"labels":{${join(labels)}}`)
    if (random.chance(odd)) fields.push(random.pick(['"extra":1', '"name":"again"', '"labels":null']))
    if (random.chance(odd)) fields.splice(random.between(0, fields.length - 1), 1)
    return `{${join(fields.sort(() => random.next() - 0.5))}}`
  }
  const points = Array.from({ length: random.between(0, 5) }, point)
  return `${space()}{${space()}"metrics":[${join(points)}]${space()}}${space()}`
}

/** Undefined: it is not sound. */
function ifSound(body: Uint8Array): MetricPoint[] | undefined {
  try {
    return readParsed(body)
  } catch {
    return undefined
  }
}

test(`of ${BODIES} bodies, what the core reads is what parsing says`, (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  let reader = new Reader()
  const counts = { sound: 0, read: 0, damaged: 0, unknown: 0 }
  for (let n = 0; n < BODIES; n++) {
    if (n % 1000 === 0) reader = new Reader() // keys stay
    const whole = bytesOf(generate(random, random.pick([0, 0, 0.05, 0.3])))
    const isDamaged = random.chance(0.4)
    const body = isDamaged ? mutate(whole, random) : whole
    const said = ifSound(body)
    if (said !== undefined) counts.sound++
    const before = reader.read(body)
    if (before === undefined) reader.learn(said ?? [])
    const points = before ?? reader.read(body)
    if (before === undefined && points !== undefined) counts.unknown++
    if (points === undefined) continue
    assert.deepEqual(points, said, `seed ${seed}: ${Buffer.from(body).toString()}`)
    counts.read++
    if (isDamaged) counts.damaged++
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.read > BODIES / 8 && counts.damaged > BODIES / 200)
  assert.ok(counts.unknown > BODIES / 20 && counts.read - counts.unknown > BODIES / 50)
})

const HEARTBEAT = `{"metrics":[${['a', 'b']
  .map(
    (name) =>
      `{"name":"${name}","labels":{"node_id":"n1","gpu_index":"0"},"value":0.25,"timestamp":"2026-11-21T00:18:19.977000721Z"}`,
  )
  .join()}]}`

function readerThatKnows(body: string): Reader {
  const reader = new Reader()
  reader.learn(readParsed(bytesOf(body)))
  return reader
}

test('the core reads a heartbeat, whose labels stand in any order', () => {
  const reader = readerThatKnows(HEARTBEAT)
  const timestamp = Date.UTC(2026, 10, 21, 0, 18, 19, 977)
  const labels: Label[] = [
    ['gpu_index', '0'],
    ['node_id', 'n1'],
  ]
  const said = [
    { name: 'a', labels, value: 0.25, timestamp },
    { name: 'b', labels, value: 0.25, timestamp },
  ]
  const other = HEARTBEAT.replaceAll('"node_id":"n1","gpu_index":"0"', '"gpu_index" : "0", "node_id": "n1"')
  for (const body of [HEARTBEAT, other]) assert.deepEqual(reader.read(bytesOf(body)), said)
  assert.equal(reader.read(bytesOf(HEARTBEAT.replace('"b"', '"c"'))), undefined, 'nobody knows c')
  assert.deepEqual(reader.read(bytesOf('{"metrics":[]}')), [])
})

test('the core takes no body that is cut off, nor one with anything behind it', () => {
  const reader = readerThatKnows(HEARTBEAT)
  const whole = bytesOf(HEARTBEAT)
  assert.equal(reader.read(whole)?.length, 2)
  // The rest of each stands behind it still.
  for (let end = 0; end < whole.length; end++) assert.equal(reader.read(whole.subarray(0, end)), undefined, `${end}`)
  for (const behind of ['x', '{}', ',', '\0']) assert.equal(reader.read(bytesOf(HEARTBEAT + behind)), undefined)
  for (const [good, bad] of [
    ['},{', '}{'],
    ['},{', '},,{'],
    ['}]', '},]'],
    ['[{', '[,{'],
  ] as const)
    assert.equal(reader.read(bytesOf(HEARTBEAT.replace(good, bad))), undefined, bad)
})

test('the core reads where addresses are beyond two gigabytes', () => {
  const core = newCore(1)!
  const reader = new Reader(core)
  const bodyOf = (name: string): Uint8Array =>
    bytesOf(`{"metrics":[{"name":"${name}","value":0.12345678901234567,"timestamp":"2026-11-21T17:08:05Z"}]}`)
  const long = 'm'.repeat(1 << 20)
  const [known] = readParsed(bodyOf(long))
  assert.equal(reader.read(bodyOf('a')), undefined)
  core.memory.grow(2 ** 15 + 100) // pages of 64 KiB; what is larger than before comes behind them
  reader.learn([known!])
  assert.ok(core.input(bodyOf(long).length) < 0)
  assert.deepEqual(reader.read(bodyOf(long)), [known])
})

test('the core takes as many points as it has room for', () => {
  const bodyOf = (count: number): string =>
    `{"metrics":[${Array.from({ length: count }, (_, i) => `{"name":"m","value":${i},"timestamp":"2026-11-21T17:08:05Z"}`).join()}]}`
  const reader = readerThatKnows(bodyOf(1))
  const values = reader.read(bytesOf(bodyOf(65_536)))?.map(({ value }) => value)
  assert.deepEqual(values, [...Array(65_536).keys()])
  for (const count of [65_537, 100_000]) assert.equal(reader.read(bytesOf(bodyOf(count))), undefined)
})

test('a time that breaks off says nothing of the next ones', () => {
  const at = (time: string): string => `{"metrics":[{"name":"m","value":1,"timestamp":"${time}"}]}`
  const reader = readerThatKnows(at('2026-11-21T17:08:05Z'))
  const read = (time: string): MetricPoint[] | undefined => reader.read(bytesOf(at(time)))
  assert.ok(read('2026-11-21T17:08:05Z'))
  assert.equal(read('2026-11-21T17:09ö05Z'), undefined)
  assert.deepEqual(read('2026-11-21T17:09:05Z'), readParsed(bytesOf(at('2026-11-21T17:09:05Z'))))
})
