/** The reader in WebAssembly against the portable one: of every body, sound or damaged, both say the same to the bit. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SeriesLimits } from '../../../collector/shard/body-decoder.ts'
import { FastKeys, fastKeys } from '../../../collector/shard/fast/fast-keys.ts'
import { PortableKeys } from '../../../collector/shard/key-index.ts'
import { OVERFLOW } from '../../../collector/shard/overflow.ts'
import { Reception } from '../../../collector/shard/reception.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { encodeWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { fullRequest1, fullRequest2 } from '../../support/full-requests.ts'
import { mutate } from '../../support/mutate.ts'
import { Random, testSeed } from '../../support/random.ts'
import type { Symbols } from '../../support/write-request.ts'
import { encodeRequest2 } from '../../support/write-request.ts'

const NOW = 1_700_000_000_000
const BODIES = Number(process.env['FLEETMETER_TEST_FAST_BODIES'] ?? 20_000)
const LIMITS: SeriesLimits = {
  seriesMax: 300,
  seriesPerTenantMax: 1000,
  seriesPerSenderMax: 200,
  overflowSeriesMax: 50,
  labelCountMax: 12,
  labelNameBytesMax: 40,
  labelValueBytesMax: 150,
  decodedBytesMax: 1 << 20,
  metadataBytesMax: 100_000,
  samplesPerBodyMax: 400,
}
const BOUNDS = { oldest: NOW - 1e6, newest: NOW + 1e6 }
/** Six bytes of a varint have 36 to 42 bits. */
const TIMES = [0, -1, NOW, NOW, 2 ** 35 - 1, 2 ** 35, 2 ** 42 - 1, 2 ** 42, 2 ** 49, 2 ** 53]
const NAMES = ['up', 'cpu', 'übung', 'gpu_util', '']
const SENDERS = ['a', 'b']

/** Keys are compared 64 bytes at a time, and then what is left. */
function longText(random: Random): string {
  return random.chance(0.1) ? 'x'.repeat(random.pick([20, 21, 22, 36, 37, 38, 100, 140])) : ''
}

function labelsOf(random: Random, usual: boolean): Label[] {
  if (usual) {
    const names = ['a', 'b', 'host', 'z'].filter(() => random.chance(0.6))
    return [
      ['__name__', random.pick(['up', 'gpu_util'])],
      ...names.map((name): Label => [name, `${longText(random)}${random.between(0, 12)}`]),
    ]
  }
  const labels: Label[] = [['__name__', random.pick(NAMES)]]
  for (let n = random.between(0, 5); n > 0; n--) {
    const value = random.chance(0.05) ? 'x'.repeat(random.between(0, 200)) : String(random.between(0, 12))
    labels.push([random.pick(['a', 'b', 'host', 'z', '_x', 'ö', '', 'a'.repeat(random.between(1, 60))]), value])
  }
  // Mostly sorted and without an empty name, as senders do.
  if (random.chance(0.9)) {
    const sorted = labels.filter(([name]) => name !== '').sort(([a], [b]) => (a < b ? -1 : 1))
    return random.chance(0.9) ? sorted.filter(([name], i) => name !== sorted[i - 1]?.[0]) : sorted
  }
  return labels
}

/** A message of series from a pool of label sets, so that series come again, in the same order or another. */
function message(
  random: Random,
  pool: readonly Label[][],
  usual: boolean,
  door: 'remote_write' | 'remote_write_2',
): Uint8Array {
  if (random.chance(0.1)) return door === 'remote_write' ? fullRequest1(NOW) : fullRequest2(NOW)
  const first = random.between(0, pool.length - 1)
  const series = Array.from({ length: random.between(0, 30) }, (_, i) => ({
    labels: random.chance(0.03) ? labelsOf(random, usual) : pool[(first + i) % pool.length]!,
    samples: Array.from({ length: random.chance(0.8) ? 1 : random.between(0, 20) }, () => ({
      timestamp: random.pick(usual ? [NOW, NOW + random.between(-50, 50)] : TIMES),
      value: random.pick([0, -0, 1, random.next(), Number.NaN, Number.POSITIVE_INFINITY, 1e300]),
    })),
  }))
  if (door === 'remote_write') return encodeWriteRequest(series)
  const help = random.pick(['', 'what it is', 'übung'])
  return encodeRequest2(
    series.map((one) => ({
      ...one,
      ...(random.chance(0.5) ? { metadata: { type: random.between(0, 3), help, unit: '' } } : {}),
    })),
  )
}

/** A metric batch of the same series; one that names its metric twice, or says something else that is unusual, is not plain. */
function metricBatch(random: Random, pool: readonly Label[][], usual: boolean): Uint8Array {
  const first = random.between(0, pool.length - 1)
  const metrics = Array.from({ length: random.between(0, 30) }, (_, i) => {
    const labels = random.chance(0.03) ? labelsOf(random, usual) : pool[(first + i) % pool.length]!
    const [[, name], ...others] = labels as [Label, ...Label[]]
    return {
      name,
      labels: Object.fromEntries(random.chance(0.5) ? others : others.reverse()),
      value: random.pick([0, -0, 1, random.next(), -1.5, 1e15]),
      timestamp: new Date(NOW + (usual ? random.between(-50, 50) : random.pick([0, -1e9, 1e9]))).toISOString(),
    }
  })
  return new TextEncoder().encode(JSON.stringify({ metrics }))
}

function bothReaders(limits: SeriesLimits, seed: number): [fast: Reception, portable: Reception] {
  return [new Reception(limits, seed, fastKeys), new Reception(limits, seed, (s) => new PortableKeys(s))]
}

/** All that a body became, in a form that does not depend on how it was read. */
function became(
  reception: Reception,
  body: Uint8Array,
  sender: string,
  tenant: string,
  door: 'remote_write' | 'remote_write_2' | 'metrics_batch' = 'remote_write',
): unknown {
  const incoming = { door, tenant, sender, body }
  const [received] = reception.receive(NOW, [incoming], BOUNDS, () => true)
  const { scratch, extras } = reception
  const { outcome, start, end, extrasStart, extrasEnd } = received!
  const seriesText = (series: number): unknown => {
    if (series < 0 || series >= OVERFLOW) return series
    const { name, labels, id, ref } = reception.define(series)
    return [name, labels, Buffer.from(id).toString('hex'), ref]
  }
  const items: unknown[] = []
  for (let i = start; i < end; i++)
    items.push([seriesText(scratch.series[i]!), scratch.times[i], scratch.words[2 * i], scratch.words[2 * i + 1]])
  for (let i = extrasStart; i < extrasEnd; i++) {
    const kind = extras.kind(i)
    const of = kind === 'metadata' ? extras.series[i] : seriesText(extras.series[i]!)
    items.push([
      kind,
      of,
      extras.times[i],
      extras.series[i]! >= 0 ? Buffer.from(extras.message(i)).toString('hex') : '',
    ])
  }
  const answer = outcome ?? reception.answer(received!)
  const records = reception.recordsOf([received!], 0, NOW * 1000, undefined)
  for (const record of records) reception.commit(record.body, NOW, { sample: () => {}, extra: () => {} })
  return { answer, items, records: records.map(({ record }) => [record.count, record.kinds, record.verdict]) }
}

test('the core was built, and is in use', () => {
  assert.ok(fastKeys(1) instanceof FastKeys, 'npm run build makes dist/collector/shard/fast/core.wasm')
})

test(`both readers say the same of ${BODIES} bodies`, (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const counts = { ok: 0, refused: 0 }
  const reading = (['read', 'read2', 'readBatch'] as const).map((name) => t.mock.method(FastKeys.prototype, name))
  let readers: [Reception, Reception] | undefined
  let pool: Label[][] = []
  let usual = true
  for (let n = 0; n < BODIES; n++) {
    if (n % 500 === 0) {
      readers = bothReaders(LIMITS, seed)
      usual = n % 1000 === 0
      pool = Array.from({ length: 60 }, () => labelsOf(random, usual))
    }
    const door = random.pick(['remote_write', 'remote_write_2', 'metrics_batch'] as const)
    const isBatch = door === 'metrics_batch'
    const plain: Uint8Array = isBatch ? metricBatch(random, pool, usual) : message(random, pool, usual, door)
    const inner = random.chance(0.3) ? mutate(plain, random) : plain
    const block = isBatch ? inner : portableSnappy.compress(inner)
    const body = random.chance(0.2) ? mutate(block, random) : block
    const [sender, tenant] = [random.pick(SENDERS), random.pick(['', 'other'])]
    const [fast, portable] = readers!.map((reader) => became(reader, Uint8Array.from(body), sender, tenant, door))
    assert.deepEqual(fast, portable, `seed ${seed}, body ${n}: ${Buffer.from(body).toString('hex')}`)
    counts['kind' in (portable as { answer: object }).answer ? 'refused' : 'ok']++
  }
  const whole = reading.map(({ mock }) => mock.calls.filter(({ result }) => result === true).length)
  t.diagnostic(
    `${counts.ok} read, ${counts.refused} refused; by the core ${whole[0]} of 1.0, ${whole[1]} of 2.0, ${whole[2]} batches`,
  )
  assert.ok(
    whole.every((n) => n > BODIES / 20),
    `the core read ${whole}`,
  )
  assert.ok(counts.ok > BODIES / 4 && counts.refused > BODIES / 20)
})

test('a series of remote write 2.0 is known by its texts, whatever their numbers are in a request', (t) => {
  const known = t.mock.method(FastKeys.prototype, 'find')
  const readers = bothReaders(LIMITS, 1)
  const labelsOfHost = (host: string): Label[] => [
    ['__name__', 'up'],
    ['host', host],
    ['job', 'a'],
  ]
  // The one before lets the next be foreseen; what is foreseen is another series, one text longer, or one shorter.
  const requests: Label[][][] = [
    [labelsOfHost('x'), labelsOfHost('y')],
    [labelsOfHost('x'), labelsOfHost('y')],
    [labelsOfHost('x'), labelsOfHost('y')],
    [[['__name__', 'down']], labelsOfHost('x'), labelsOfHost('y')],
    [labelsOfHost('x'), labelsOfHost('z')],
    [labelsOfHost('x'), labelsOfHost('y'), labelsOfHost('y')],
    [labelsOfHost('x'), [...labelsOfHost('y'), ['zone', 'a']]],
    [labelsOfHost('x'), labelsOfHost('y').slice(0, 2)],
    [labelsOfHost('x'), labelsOfHost('y')],
  ]
  for (const [n, request] of requests.entries()) {
    const series = request.map((labels, i) => ({ labels, samples: [{ timestamp: NOW + n, value: i }] }))
    const body = Uint8Array.from(portableSnappy.compress(encodeRequest2(series)))
    const [fast, portable] = readers.map((reader) => became(reader, body, 'a', '', 'remote_write_2'))
    assert.deepEqual(fast, portable, `request ${n}`)
    assert.equal((fast as { items: unknown[] }).items.length, request.length)
  }
  assert.equal(known.mock.callCount(), 0, 'the core itself knew them')
})

/** A text may stand among the symbols several times; references are mostly to the same one of them. */
function randomSymbols(random: Random, used: readonly string[], count: number): Symbols {
  const texts = ['', ...random.shuffled(used), ...Array.from({ length: count }, () => random.pick(used))]
  const anyOf = (text: string): number => texts.indexOf(text, random.between(0, texts.length - 1))
  const mostly = new Map(used.map((text) => [text, Math.max(anyOf(text), texts.indexOf(text))]))
  return {
    texts: () => texts,
    ref(text) {
      const other = random.chance(0.1) ? anyOf(text) : -1
      return other === -1 ? (mostly.get(text) ?? 0) : other
    },
  }
}

test(`both readers say the same of ${BODIES / 10} requests whose series are as those before, but for some labels`, (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const limits = { ...LIMITS, seriesMax: 5000, seriesPerSenderMax: 5000, labelCountMax: 60 }
  const reading = t.mock.method(FastKeys.prototype, 'read2')
  let readers: [Reception, Reception] | undefined
  let pool: Label[][] = []
  let sound = 0
  for (let n = 0; n < BODIES / 10; n++) {
    if (n % 100 === 0) {
      readers = bothReaders(limits, seed)
      // Names and values share texts. Where there are more than 32 labels, references are not compared with those before.
      const names = Array.from(
        { length: random.pick([1, 3, 8, 9, 15, 16, 17, 31, 32, 33, 40]) },
        (_, i) => `l${i + 10}`,
      )
      let labels = names.map((name): Label => [name, 'l10'])
      pool = Array.from({ length: 40 }, () => {
        labels = labels.map(([name, value]) => [
          name,
          random.chance(1.5 / names.length) ? `l${random.between(8, 12)}` : value,
        ])
        return [['__name__', random.pick(['l10', 'up'])] satisfies Label, ...labels].slice(
          0,
          random.chance(0.1) ? -1 : undefined,
        )
      })
    }
    const first = random.between(0, pool.length - 1)
    const series = Array.from({ length: 60 }, (_, i) => ({
      labels: pool[(random.chance(0.1) ? random.between(0, 100) : first + i) % pool.length]!,
      samples: [{ timestamp: NOW + n, value: i }],
    }))
    // Numbers of one to three bytes.
    const count = random.chance(0.02) ? 17_000 : random.pick([0, 50, 100, 400])
    const plain = encodeRequest2(series, randomSymbols(random, [...new Set(pool.flat(2))], count))
    const body = Uint8Array.from(portableSnappy.compress(random.chance(0.3) ? mutate(plain, random) : plain))
    const [fast, portable] = readers!.map((reader) => became(reader, body, 'a', '', 'remote_write_2'))
    assert.deepEqual(fast, portable, `seed ${seed}, request ${n}`)
    if (!('kind' in (portable as { answer: object }).answer)) sound++
  }
  const whole = reading.mock.calls.filter(({ result }) => result === true).length
  t.diagnostic(`${sound} sound, the core read ${whole}`)
  assert.ok(sound > BODIES / 20 && whole > BODIES / 20)
})

test('references mean the symbols of their own request, and all of their bytes count', () => {
  const readers = bothReaders(LIMITS, 1)
  const texts = ['', '__name__', 'up', 'host', 'x', 'y']
  const send = (hosts: readonly string[], used: readonly string[], numbers = texts) => {
    const series = hosts.map((host, i) => ({
      labels: [
        ['__name__', 'up'],
        ['host', host],
      ] satisfies Label[],
      samples: [{ timestamp: NOW, value: i }],
    }))
    const symbols: Symbols = { texts: () => used, ref: (text) => numbers.indexOf(text) }
    const body = Uint8Array.from(portableSnappy.compress(encodeRequest2(series, symbols)))
    const [fast, portable] = readers.map((reader) => became(reader, body, 'a', '', 'remote_write_2'))
    assert.deepEqual(fast, portable, `${hosts}, ${used}`)
    return fast as { items: unknown[]; answer: { refused?: { reason: string; count: number }[] } }
  }
  const [x, again, other] = [texts, texts, texts.with(4, 'p')].map((used) => JSON.stringify(send(['x'], used).items))
  assert.equal(x, again)
  assert.notEqual(x, other, 'the same references, in the same place')
  for (let n = 0; n < 3; n++) assert.equal(send(['x', 'y'], texts).items.length, 2)
  const { refused } = send(['x', 'y'], texts.slice(0, 5)).answer
  assert.deepEqual(
    refused?.map(({ reason, count }) => [reason, count]),
    [['malformed_labels', 1]],
    'a symbol of the request before',
  )
  // 130 and 258 are 82 01 and 82 02: the second byte is no reference to the second symbol.
  const many = Array.from({ length: 259 }, (_, i) => ['', '__name__', 'y', 'up', 'host'][i] ?? `unused ${i}`)
  many[130] = 'x'
  many[258] = 'z'
  for (const hosts of ['xy', 'xy', 'xz']) send([...hosts], many, many)
})

test('a body is never read beyond its end, whatever stood in memory before', () => {
  const reader = new Reception(LIMITS, 1, fastKeys)
  const labels: Label[] = [['__name__', 'up']]
  const whole = encodeWriteRequest([{ labels, samples: [{ timestamp: NOW, value: 1 }] }])
  const send = (bytes: Uint8Array) =>
    became(reader, portableSnappy.compress(bytes), 'a', '') as { answer: { kind?: string }; items: unknown[] }
  assert.equal(send(whole).items.length, 1)
  // The rest of each stands behind it still.
  for (let end = 1; end < whole.length; end++)
    assert.equal(send(whole.subarray(0, end)).answer.kind, 'reject', `${end}`)
})

test('a literal of four gigabytes is no literal of none', () => {
  const whole = encodeWriteRequest([{ labels: [['__name__', 'up']], samples: [{ timestamp: NOW, value: 1 }] }])
  const block = portableSnappy.compress(whole)
  assert.ok(block[0]! < 128)
  const forged = Uint8Array.of(block[0]!, 0xfc, 0xff, 0xff, 0xff, 0xff, ...block.subarray(1))
  const { answer } = became(new Reception(LIMITS, 1, fastKeys), forged, 'a', '') as { answer: { kind?: string } }
  assert.equal(answer.kind, 'reject')
})

test('a trap of the core is a bug: neither a refused body nor a record that cannot be read', (t) => {
  const reader = new Reception(LIMITS, 1, fastKeys)
  const whole = encodeWriteRequest([{ labels: [['__name__', 'up']], samples: [{ timestamp: NOW, value: 1 }] }])
  const body = Uint8Array.from(portableSnappy.compress(whole))
  const incoming = { door: 'remote_write', tenant: '', sender: 'a', body } as const
  const [received] = reader.receive(NOW, [incoming], BOUNDS, () => true)
  const [recorded] = reader.recordsOf([received!], 0, NOW * 1000, undefined)
  const trap = (): never => {
    throw new WebAssembly.RuntimeError('unreachable')
  }
  const ignore = { sample: () => {}, extra: () => {} }
  for (const method of ['read', 'find'] as const) {
    const trapped = t.mock.method(FastKeys.prototype, method, trap)
    const fresh = new Reception(LIMITS, 1, fastKeys)
    if (method === 'find') t.mock.method(FastKeys.prototype, 'read', () => false) // then the portable reader asks the core
    assert.throws(() => fresh.receive(NOW, [incoming], BOUNDS, () => true), WebAssembly.RuntimeError, method)
    assert.throws(() => fresh.replay(recorded!.record, ignore), WebAssembly.RuntimeError, method)
    trapped.mock.restore()
  }
})
