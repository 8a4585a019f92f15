import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { readExemplar } from '../../../proto/wire/exemplar.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { sortLabels } from '../../../proto/wire/labels.ts'
import { METRIC_TYPES, readMetadata } from '../../../proto/wire/metadata.ts'
import { readHistogram } from '../../../proto/wire/native-histogram.ts'
import { isReaderError, Reader } from '../../../proto/wire/protobuf.ts'
import type { WriteRequestSink } from '../../../proto/wire/remote-write.ts'
import {
  encodeWriteRequest,
  readLabels,
  readWriteRequest,
  STALE_HIGH,
  STALE_LOW,
} from '../../../proto/wire/remote-write.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const schema = protobuf.parse(
  readFileSync(new URL('../../../proto/schema/prometheus-remote-write-1.proto', import.meta.url), 'utf8'),
)
const WriteRequest = schema.root.lookupType('prometheus.WriteRequest')

interface Read {
  labels: Label[]
  samples: [timestamp: number, value: number][]
  extrasBefore: number
}

/** Keeps everything as plain values; expects the series in the order of the request before. */
class Collecting implements WriteRequestSink {
  read: Read[] = []
  extras: [kind: string, value: unknown][] = []
  expected = 0
  #before: Uint8Array[] = []
  #blocks: Uint8Array[] = []

  expect(body: Uint8Array, pos: number, end: number): number {
    const block = this.#before[this.#blocks.length]
    if (!block || pos + block.length > end || Buffer.compare(block, body.subarray(pos, pos + block.length)) !== 0)
      return 0
    this.expected++
    return block.length
  }
  series(body: Uint8Array, start: number, end: number): void {
    this.#blocks.push(body.slice(start, end))
    this.read.push({ labels: readLabels(body, start, end), samples: [], extrasBefore: this.extras.length })
  }
  sample(timestamp: number, low: number, high: number): void {
    const view = new DataView(new ArrayBuffer(8))
    view.setUint32(0, low, true)
    view.setUint32(4, high, true)
    this.read.at(-1)?.samples.push([timestamp, view.getFloat64(0, true)])
  }
  retract(): void {
    this.#blocks.pop()
    this.extras.splice(this.read.pop()!.extrasBefore)
  }
  histogram(body: Uint8Array, start: number, end: number): void {
    this.extras.push(['histogram', readHistogram(body, start, end)])
  }
  exemplarMessage(body: Uint8Array, start: number, end: number): void {
    this.extras.push(['exemplar', readExemplar(body, start, end)])
  }
  metadataMessage(body: Uint8Array, start: number, end: number): void {
    this.extras.push(['metadata', readMetadata(body, start, end)])
  }
  again(): void {
    this.read = []
    this.#before = this.#blocks
    this.#blocks = []
  }
}

const text = fc.string({ unit: 'grapheme', maxLength: 8 })
const timestamp = fc.oneof(fc.integer({ min: 1.6e12, max: 1.9e12 }), fc.maxSafeInteger(), fc.constant(0))
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { noNullPrototype: true })
const series = record({
  labels: fc.array(record({ name: text, value: text }), { minLength: 1, maxLength: 5 }),
  samples: fc.array(record({ value: fc.double(), timestamp }), { maxLength: 4 }),
  exemplars: fc.array(
    record({
      labels: fc.uniqueArray(record({ name: text, value: text }), { maxLength: 3, selector: (l) => l.name }),
      value: fc.double(),
      timestamp,
    }),
    { maxLength: 2 },
  ),
})
const request = record({
  timeseries: fc.array(series, { maxLength: 6 }),
  metadata: fc.array(record({ type: fc.nat(7), metricFamilyName: text, help: text, unit: text }), { maxLength: 2 }),
})

test('readWriteRequest reads what protobufjs encodes by the public schema', () => {
  fc.assert(
    fc.property(request, (message) => {
      const sink = new Collecting()
      readWriteRequest(WriteRequest.encode(WriteRequest.fromObject(message)).finish(), sink)
      assert.deepEqual(
        sink.read.map(({ labels, samples }) => ({ labels, samples })),
        message.timeseries.map((s) => ({
          labels: s.labels.map((l) => [l.name, l.value]),
          samples: s.samples.map((p) => [p.timestamp, p.value]),
        })),
      )
      assert.deepEqual(sink.extras, [
        ...message.timeseries.flatMap((s) =>
          s.exemplars.map((e) => ['exemplar', { ...e, labels: sortLabels(e.labels.map((l) => [l.name, l.value])) }]),
        ),
        ...message.metadata.map((m) => [
          'metadata',
          { type: METRIC_TYPES[m.type], family: m.metricFamilyName, help: m.help, unit: m.unit },
        ]),
      ])
    }),
  )
})

test('readWriteRequest reads the same when every series is expected', () => {
  fc.assert(
    fc.property(request, (message) => {
      const body = WriteRequest.encode(WriteRequest.fromObject(message)).finish()
      const sink = new Collecting()
      readWriteRequest(body, sink)
      const first = sink.read
      sink.again()
      readWriteRequest(body, sink)
      assert.deepEqual(
        sink.read.map(({ labels, samples }) => ({ labels, samples })),
        first.map(({ labels, samples }) => ({ labels, samples })),
      )
      assert.equal(sink.expected, message.timeseries.length)
    }),
  )
})

test('readWriteRequest does not take a series for the expected one when more labels follow', () => {
  const one = encodeWriteRequest([{ labels: [['__name__', 'm']], samples: [{ timestamp: 1, value: 1 }] }])
  const two = encodeWriteRequest([
    {
      labels: [
        ['__name__', 'm'],
        ['a', 'b'],
      ],
      samples: [{ timestamp: 1, value: 1 }],
    },
  ])
  const sink = new Collecting()
  readWriteRequest(one, sink)
  sink.again()
  readWriteRequest(two, sink)
  assert.deepEqual(sink.read[0]?.labels, [
    ['__name__', 'm'],
    ['a', 'b'],
  ])
})

test('readWriteRequest puts labels that stand behind samples in front', () => {
  const label = (name: string, value: string) => [
    0x0a,
    4 + name.length + value.length,
    0x0a,
    name.length,
    ...Buffer.from(name),
    0x12,
    value.length,
    ...Buffer.from(value),
  ]
  const sample = [0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 7]
  const fields = [...label('__name__', 'm'), ...sample, 0x1a, 0, ...label('a', 'b'), ...sample]
  const sink = new Collecting()
  readWriteRequest(Uint8Array.of(0x0a, fields.length, ...fields), sink)
  assert.deepEqual(sink.read, [
    {
      labels: [
        ['__name__', 'm'],
        ['a', 'b'],
      ],
      samples: [
        [7, 1],
        [7, 1],
      ],
      extrasBefore: 0,
    },
  ])
  assert.deepEqual(sink.extras, [['exemplar', { labels: [], value: 0, timestamp: 0 }]])
})

test('readWriteRequest keeps the bits of a stale marker', () => {
  let seen: number[] = []
  const sink: WriteRequestSink = {
    expect: () => 0,
    series() {},
    sample: (_, low, high) => (seen = [low, high]),
    retract() {},
    histogram() {},
    exemplarMessage() {},
    metadataMessage() {},
  }
  readWriteRequest(Uint8Array.of(0x0a, 13, 0x12, 11, 0x09, 2, 0, 0, 0, 0, 0, 0xf0, 0x7f, 0x10, 7), sink)
  assert.deepEqual(seen, [STALE_LOW, STALE_HIGH])
})

test('readWriteRequest answers every truncation and mutation with values or a WireError', () => {
  fc.assert(
    fc.property(
      request,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.nat(),
      (message, edits, cut) => {
        const body = WriteRequest.encode(WriteRequest.fromObject(message)).finish().slice()
        for (const [at, byte] of edits) if (body.length > 0) body[at % body.length] = byte
        const input = edits.length === 0 ? body.subarray(0, cut % (body.length + 1)) : body
        try {
          readWriteRequest(input, new Collecting())
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})

test('isReaderError knows all that protobufjs says of bad bytes, and nothing else', () => {
  const bad: readonly ((reader: Reader) => unknown)[] = [
    (reader) => reader.skip(100),
    (reader) => reader.tag(),
    (reader) => reader.uint32(),
    (reader) => reader.size(),
    (reader) => reader.skipType(7, 0, 1),
    (reader) => reader.skipType(4, 0, 1),
    (reader) => reader.skipType(3, 0, 1),
  ]
  const deep = new Uint8Array(1000).fill(0x0b) // groups in groups
  for (const bytes of [new Uint8Array(0), new Uint8Array(12).fill(0xff), new Uint8Array(12), deep]) {
    for (const read of bad) {
      try {
        read(new Reader(bytes))
      } catch (error) {
        assert.ok(isReaderError(error), `${error}`)
      }
    }
  }
  for (const bug of [
    new TypeError('x is not a function'),
    new WebAssembly.RuntimeError('unreachable'),
    new RangeError('Maximum call stack size exceeded'),
    new Error('The memory for series is full'),
  ])
    assert.ok(!isReaderError(bug), bug.message)
})

test('readWriteRequest passes a bug of its sink on as it is', () => {
  const body = encodeWriteRequest([{ labels: [['__name__', 'up']], samples: [{ timestamp: 1, value: 1 }] }])
  const sink = new Collecting()
  const trap = new WebAssembly.RuntimeError('unreachable')
  sink.sample = () => {
    throw trap
  }
  assert.throws(
    () => readWriteRequest(body, sink),
    (error) => error === trap,
  )
})

test('encodeWriteRequest writes what protobufjs decodes by the public schema', () => {
  const body = encodeWriteRequest([
    {
      labels: [
        ['__name__', 'm'],
        ['a', 'é'],
      ],
      samples: [
        { timestamp: 1761991200123, value: -0 },
        { timestamp: -5, value: 0 },
      ],
    },
  ])
  const message = WriteRequest.toObject(WriteRequest.decode(body), { longs: Number, arrays: true })
  assert.deepEqual(message, {
    timeseries: [
      {
        labels: [
          { name: '__name__', value: 'm' },
          { name: 'a', value: 'é' },
        ],
        samples: [{ timestamp: 1761991200123, value: -0 }, { timestamp: -5 }],
        exemplars: [],
        histograms: [],
      },
    ],
    metadata: [],
  })
})
