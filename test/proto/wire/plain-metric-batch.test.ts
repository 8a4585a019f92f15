/** The reader of plain metric batches against the one that parses JSON: what the first reads, the second reads to the same bits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteReader } from '../../../proto/wire/bytes.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import type { MetricPoint } from '../../../proto/wire/metric-batch.ts'
import { readMetricBatch } from '../../../proto/wire/metric-batch.ts'
import { PlainMetricBatch } from '../../../proto/wire/plain-metric-batch.ts'
import { mutate } from '../../support/mutate.ts'
import { Random, testSeed } from '../../support/random.ts'

const BODIES = Number(process.env['FLEETMETER_TEST_FAST_BODIES'] ?? 20_000)
const reader = new PlainMetricBatch()

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Undefined: not plain. */
function readPlain(body: Uint8Array): MetricPoint[] | undefined {
  const points: MetricPoint[] = []
  const whole = reader.read(body, (key, end, timestamp, value) => {
    const texts = new ByteReader(key, 0, end)
    const name = texts.string()
    const labels: Label[] = []
    while (texts.left > 0) labels.push([texts.string(), texts.string()])
    points.push({ name, labels, value, timestamp })
    return true
  })
  return whole ? points : undefined
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

test(`of ${BODIES} bodies, what is read as plain is what parsing says`, (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  let plain = 0
  let damaged = 0
  for (let n = 0; n < BODIES; n++) {
    const whole = bytesOf(generate(random, random.pick([0, 0, 0.05, 0.3])))
    const isDamaged = random.chance(0.4)
    const body = isDamaged ? mutate(whole, random) : whole
    const points = readPlain(body)
    if (points === undefined) continue
    assert.deepEqual(points, readParsed(body), `seed ${seed}: ${Buffer.from(body).toString()}`)
    plain++
    if (isDamaged) damaged++
  }
  t.diagnostic(`${plain} plain, of them ${damaged} damaged and still sound`)
  assert.ok(plain > BODIES / 8 && damaged > BODIES / 200)
})

const HEARTBEAT = `{"metrics":[${['a', 'b']
  .map(
    (name) =>
      `{"name":"${name}","labels":{"node_id":"n1","gpu_index":"0"},"value":0.25,"timestamp":"2026-11-21T00:18:19.977000721Z"}`,
  )
  .join()}]}`

test('PlainMetricBatch reads a heartbeat, whose labels stand in any order', () => {
  const timestamp = Date.UTC(2026, 10, 21, 0, 18, 19, 977)
  const labels: Label[] = [
    ['gpu_index', '0'],
    ['node_id', 'n1'],
  ]
  assert.deepEqual(readPlain(bytesOf(HEARTBEAT)), [
    { name: 'a', labels, value: 0.25, timestamp },
    { name: 'b', labels, value: 0.25, timestamp },
  ])
})

test('PlainMetricBatch takes no body that is cut off, nor one with anything behind it', () => {
  const whole = bytesOf(HEARTBEAT)
  const taken = (): boolean => assert.fail('a point of it was taken')
  for (let end = 0; end < whole.length; end++) assert.equal(reader.read(whole.subarray(0, end), taken), false, `${end}`)
  for (const behind of ['x', '{}', ',', '\0']) assert.equal(readPlain(bytesOf(HEARTBEAT + behind)), undefined)
})

test('PlainMetricBatch stops where it is told to', () => {
  let seen = 0
  assert.equal(
    reader.read(bytesOf(HEARTBEAT), () => {
      seen++
      return false
    }),
    false,
  )
  assert.equal(seen, 1)
})

test('PlainMetricBatch: a time that breaks off says nothing of the next ones', () => {
  const at = (time: string): Uint8Array => bytesOf(`{"metrics":[{"name":"m","value":1,"timestamp":"${time}"}]}`)
  assert.ok(readPlain(at('2026-11-21T17:08:05Z')))
  assert.equal(readPlain(at('2026-11-21T17:09ö05Z')), undefined)
  const next = at('2026-11-21T17:09:05Z')
  assert.deepEqual(readPlain(next) ?? readParsed(next), readParsed(next))
})
