import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { utf8Decode } from '../../../proto/wire/bytes.ts'
import type { Exemplar } from '../../../proto/wire/exemplar.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { sortLabels } from '../../../proto/wire/labels.ts'
import { readHistogram } from '../../../proto/wire/native-histogram.ts'
import { encodeWriteRequest, readLabels, readWriteRequest } from '../../../proto/wire/remote-write.ts'
import type { MetadataRanges, Request2Sink } from '../../../proto/wire/remote-write-2.ts'
import { readRequest2 } from '../../../proto/wire/remote-write-2.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'
import { encodeRequest2 } from '../../support/write-request.ts'

const schema = protobuf.parse(
  readFileSync(new URL('../../../proto/schema/prometheus-remote-write-2.proto', import.meta.url), 'utf8'),
)
const Request = schema.root.lookupType('io.prometheus.write.v2.Request')

const LABEL_BYTES_MAX = 1 << 20

interface Read {
  /** undefined: not readable */
  labels: Label[] | undefined
  key?: string
  samples: [timestamp: number, value: number][]
}

class Collecting implements Request2Sink {
  readonly read: Read[] = []
  readonly extras: [kind: string, value: unknown][] = []
  readonly starts: number[] = []

  series(labels: Uint8Array, start: number, end: number): void {
    const key = Buffer.from(labels.subarray(start, end)).toString('hex')
    this.read.push({ labels: readLabels(labels, start, end), key, samples: [] })
  }
  unreadableSeries(): void {
    this.read.push({ labels: undefined, samples: [] })
  }
  sample(timestamp: number, low: number, high: number, start: number): void {
    this.starts.push(start)
    const view = new DataView(new ArrayBuffer(8))
    view.setUint32(0, low, true)
    view.setUint32(4, high, true)
    this.read.at(-1)!.samples.push([timestamp, view.getFloat64(0, true)])
  }
  histogram(body: Uint8Array, start: number, end: number): void {
    this.extras.push(['histogram', readHistogram(body, start, end)])
  }
  exemplar(exemplar: Exemplar | undefined): void {
    this.extras.push(['exemplar', exemplar])
  }
  seriesMetadata(ranges: MetadataRanges | undefined): void {
    const text = (at: number, length: number): string => utf8Decode(ranges!.body.subarray(at, at + length))
    this.extras.push([
      'metadata',
      ranges && {
        type: ranges.type,
        help: text(ranges.helpAt, ranges.helpLength),
        unit: text(ranges.unitAt, ranges.unitLength),
      },
    ])
  }
}

function read(body: Uint8Array, max: number = LABEL_BYTES_MAX): Collecting {
  const sink = new Collecting()
  readRequest2(body, sink, max)
  return sink
}

const encode = (message: object): Uint8Array => Request.encode(Request.fromObject(message)).finish()
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { noNullPrototype: true })
const timestamp = fc.oneof(fc.integer({ min: 1.6e12, max: 1.9e12 }), fc.maxSafeInteger(), fc.constant(0))
const request = record({
  symbols: fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }), { minLength: 1, maxLength: 8 }),
  timeseries: fc.array(
    record({
      labelsRefs: fc.array(fc.nat(9), { maxLength: 6 }),
      samples: fc.array(record({ value: fc.double(), timestamp, startTimestamp: timestamp }), { maxLength: 4 }),
      exemplars: fc.array(
        record({ labelsRefs: fc.array(fc.nat(9), { maxLength: 4 }), value: fc.double(), timestamp }),
        {
          maxLength: 2,
        },
      ),
      metadata: record({ type: fc.nat(7), helpRef: fc.nat(9), unitRef: fc.nat(9) }),
    }),
    { maxLength: 6 },
  ),
})

test('readRequest2 reads what protobufjs encodes by the public schema; references that lead nowhere cost their series', () => {
  fc.assert(
    fc.property(request, (message) => {
      const { read: found, extras, starts } = read(encode(message))
      const pairs = (refs: readonly number[]): Label[] | undefined =>
        refs.length % 2 === 0 && refs.every((ref) => ref < message.symbols.length)
          ? refs.flatMap((ref, i) =>
              i % 2 === 0 ? [[message.symbols[ref]!, message.symbols[refs[i + 1]!]!] as const] : [],
            )
          : undefined
      assert.deepEqual(
        found.map(({ labels, samples }) => ({ labels, samples })),
        message.timeseries.map(({ labelsRefs, samples }) => ({
          labels: pairs(labelsRefs),
          samples: samples.map((s) => [s.timestamp, s.value]),
        })),
      )
      assert.deepEqual(
        starts,
        message.timeseries.flatMap((s) => s.samples.map((sample) => sample.startTimestamp)),
      )
      const text = (ref: number): string | undefined => (ref === 0 ? '' : message.symbols[ref])
      assert.deepEqual(
        extras,
        message.timeseries.flatMap(({ exemplars, metadata: { type, helpRef, unitRef } }) => {
          const [help, unit] = [text(helpRef), text(unitRef)]
          return [
            ...exemplars.map(({ labelsRefs, value, timestamp: at }) => {
              const labels = pairs(labelsRefs)
              return ['exemplar', labels && { labels: sortLabels(labels), value, timestamp: at }]
            }),
            ...(type + helpRef + unitRef === 0
              ? []
              : [['metadata', help === undefined || unit === undefined ? undefined : { type, help, unit }]]),
          ]
        }),
      )
    }),
  )
})

test('readRequest2 gives a series the key that 1.0 gives it', () => {
  const series = [
    {
      labels: [
        ['__name__', 'up'],
        ['job', 'a'],
        ['odd', 'ü'.repeat(100)],
      ] as Label[],
      samples: [{ timestamp: 5, value: 2 }],
    },
    {
      labels: [
        ['__name__', 'up'],
        ['job', 'b'],
      ] as Label[],
      samples: [
        { timestamp: -5, value: -0 },
        { timestamp: 6, value: Number.NaN },
      ],
    },
  ]
  const keys: string[] = []
  readWriteRequest(encodeWriteRequest(series), {
    expect: () => 0,
    series: (body, start, end) => keys.push(Buffer.from(body.subarray(start, end)).toString('hex')),
    sample() {},
    retract() {},
    histogram() {},
    exemplarMessage() {},
    metadataMessage() {},
  })
  const { read: found } = read(encodeRequest2(series))
  assert.deepEqual(
    found.map((s) => s.key),
    keys,
  )
  assert.deepEqual(
    found.map((s) => s.samples),
    [
      [[5, 2]],
      [
        [-5, -0],
        [6, Number.NaN],
      ],
    ],
  )
})

test('readRequest2 takes fields in any order, references packed or not, and skips what it does not know', () => {
  const name = [0x22, 8, ...Buffer.from('__name__')]
  const empty = [0x22, 0]
  const value = [0x22, 2, ...Buffer.from('up')]
  const sample = [0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 7]
  const old = [0x30, 9] // created_timestamp of earlier drafts
  for (const refs of [
    [0x0a, 2, 1, 2],
    [0x08, 1, 0x08, 2],
    [0x08, 1, 0x0a, 1, 2],
  ]) {
    const fields = [...sample, ...old, ...refs.slice(0, 2), ...refs.slice(2)]
    const series = [0x2a, fields.length, ...fields]
    for (const body of [
      [...empty, ...name, ...value, ...series],
      [...series, ...empty, ...name, ...value],
    ]) {
      const { read: found } = read(Uint8Array.from(body))
      assert.deepEqual(
        found.map(({ labels, samples }) => ({ labels, samples })),
        [{ labels: [['__name__', 'up']], samples: [[7, 1]] }],
      )
    }
  }
})

test('readRequest2 refuses references that stand for very much text before it writes that out', () => {
  const symbols = ['', 'x'.repeat(10_000)]
  const timeseries = Array.from({ length: 100 }, () => ({ labelsRefs: [1, 1], samples: [] }))
  assert.throws(
    () => read(encode({ symbols, timeseries })),
    (error) => error instanceof WireError && error.code === 'too_large',
  )
  assert.throws(
    () => read(encode({ symbols: ['', 'x'], timeseries: [{ labelsRefs: Array.from({ length: 200_000 }, () => 1) }] })),
    (error) => error instanceof WireError && error.code === 'too_large',
  )
})

test('readRequest2 answers every truncation and mutation with values or a WireError', () => {
  fc.assert(
    fc.property(
      request,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.nat(),
      (message, edits, cut) => {
        const body = encode(message).slice()
        for (const [at, byte] of edits) if (body.length > 0) body[at % body.length] = byte
        const input = edits.length === 0 ? body.subarray(0, cut % (body.length + 1)) : body
        try {
          // Labels are not decoded here: that they are UTF-8 is found when a series is learned.
          readRequest2(
            input,
            { series() {}, unreadableSeries() {}, sample() {}, histogram() {}, exemplar() {}, seriesMetadata() {} },
            LABEL_BYTES_MAX,
          )
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})
