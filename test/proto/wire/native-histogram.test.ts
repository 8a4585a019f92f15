/** Native histograms: against protobufjs and the public schema; the rules of validity, each broken once; every mutation. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import type { NativeHistogram } from '../../../proto/wire/native-histogram.ts'
import { encodeHistogram, readHistogram } from '../../../proto/wire/native-histogram.ts'
import { STALE_HIGH, STALE_LOW } from '../../../proto/wire/remote-write.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const schema = protobuf.parse(
  readFileSync(new URL('../../../proto/schema/prometheus-remote-write-2.proto', import.meta.url), 'utf8'),
)
const Histogram = schema.root.lookupType('io.prometheus.write.v2.Histogram')

const whole: NativeHistogram = {
  timestamp: 1_761_991_200_123,
  startTimestamp: 1_761_991_000_000,
  schema: 3,
  zeroThreshold: 1e-128,
  resetHint: 2,
  sum: 12.5,
  stale: false,
  positiveSpans: [
    { offset: -2, length: 2 },
    { offset: 3, length: 1 },
  ],
  negativeSpans: [{ offset: 0, length: 1 }],
  customValues: [],
  float: false,
  count: 14n,
  zeroCount: 1n,
  positive: [4n, 2n, 5n],
  negative: [2n],
}
const custom: NativeHistogram = {
  ...whole,
  schema: -53,
  zeroThreshold: 0,
  positiveSpans: [{ offset: 1, length: 2 }],
  negativeSpans: [],
  customValues: [-1, 0.5],
  float: true,
  count: 3.5,
  zeroCount: 0,
  positive: [1.5, 2],
  negative: [],
}

const spans = fc.array(fc.record({ offset: fc.nat(5), length: fc.nat(4) }, { noNullPrototype: true }), { maxLength: 3 })
const valid: fc.Arbitrary<NativeHistogram> = fc
  .record({
    timestamp: fc.maxSafeInteger(),
    startTimestamp: fc.maxSafeInteger(),
    schema: fc.integer({ min: -4, max: 8 }),
    zeroThreshold: fc.double({ min: 0, noNaN: true }),
    resetHint: fc.nat(3),
    sum: fc.double(),
    positiveSpans: spans,
    negativeSpans: spans,
    float: fc.boolean(),
    counts: fc.array(fc.bigInt({ min: 0n, max: 2n ** 55n }), { minLength: 30, maxLength: 30 }),
    extra: fc.bigInt({ min: 0n, max: 2n ** 62n }),
  })
  .map(({ counts, float, extra, ...shape }) => {
    const reach = (side: typeof shape.positiveSpans): number => side.reduce((n, s) => n + s.length, 0)
    const positive = counts.slice(0, reach(shape.positiveSpans))
    const negative = counts.slice(15, 15 + reach(shape.negativeSpans))
    const common = { ...shape, stale: false, customValues: [] }
    if (float)
      return {
        ...common,
        float: true,
        count: Number(extra) / 3,
        zeroCount: Number(extra) / 7,
        positive: positive.map((n) => Number(n) / 3),
        negative: negative.map((n) => Number(n) / 3),
      }
    const total = [...positive, ...negative].reduce((a, b) => a + b, extra)
    return { ...common, float: false, count: total, zeroCount: extra, positive, negative }
  })

test('a histogram is the same after encoding and reading, to the last bit', () => {
  fc.assert(
    fc.property(valid, (histogram) => {
      assert.deepEqual(readHistogram(encodeHistogram(histogram)), histogram)
    }),
  )
  for (const histogram of [whole, custom]) assert.deepEqual(readHistogram(encodeHistogram(histogram)), histogram)
})

test('protobufjs reads by the public schema what we encode, packed or not, and we read what it encodes', () => {
  const message = Histogram.decode(encodeHistogram(whole))
  assert.deepEqual(Histogram.toObject(message, { longs: Number, enums: Number }), {
    countInt: 14,
    sum: 12.5,
    schema: 3,
    zeroThreshold: 1e-128,
    zeroCountInt: 1,
    negativeSpans: [{ length: 1 }],
    negativeDeltas: [2],
    positiveSpans: [
      { offset: -2, length: 2 },
      { offset: 3, length: 1 },
    ],
    positiveDeltas: [4, -2, 3],
    resetHint: 2,
    timestamp: 1_761_991_200_123,
    startTimestamp: 1_761_991_000_000,
  })
  assert.deepEqual(readHistogram(Histogram.encode(message).finish()), whole)
  const unpacked = Uint8Array.of(0x12 - 1, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x5a, 2, 0x10, 1, 0x69, 0, 0, 0, 0, 0, 0, 0, 0x40)
  const read = readHistogram(unpacked)
  assert.ok(!('problem' in read) && read.float)
  assert.deepEqual([read.count, read.positive], [2, [2]])
})

test('a stale marker keeps its bits, whatever else the histogram says', () => {
  const bytes = encodeHistogram({ ...whole, stale: true, count: 999n, sum: 0 })
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const at = bytes.indexOf(0x19) + 1
  assert.deepEqual([view.getUint32(at, true), view.getUint32(at + 4, true)], [STALE_LOW, STALE_HIGH])
  const read = readHistogram(bytes)
  assert.ok(!('problem' in read))
  assert.equal(read.stale, true)
})

for (const [what, broken, expected] of [
  ['count', { ...whole, count: 99n }, /count 14 observations, count is 99/],
  ['a negative bucket', { ...whole, positive: [4n, -2n, 9n] }, /a bucket counts -2/],
  ['NaN sum, buckets above count', { ...whole, sum: Number.NaN, count: 13n }, /count is 13/],
  ['spans', { ...whole, negativeSpans: [] }, /negative spans have 0 buckets, there are counts for 1/],
  [
    'offset',
    {
      ...whole,
      positiveSpans: [
        { offset: 0, length: 2 },
        { offset: -1, length: 1 },
      ],
    },
    /span 1 has offset -1/,
  ],
  ['schema', { ...whole, schema: -5 }, /schema -5/],
  ['schema', { ...whole, schema: 53 }, /schema 53/],
  ['hint', { ...whole, resetHint: 4 }, /reset_hint 4/],
  ['threshold', { ...whole, zeroThreshold: -1 }, /zero_threshold -1/],
  ['bounds without the schema', { ...whole, customValues: [1] }, /custom_values with schema 3/],
  ['bounds', { ...custom, customValues: [1, 1] }, /custom_values\[1\] is not above/],
  ['bounds', { ...custom, customValues: [1, Number.POSITIVE_INFINITY] }, /custom_values\[1\] is Infinity/],
  ['reach', { ...custom, positiveSpans: [{ offset: 2, length: 2 }] }, /reach to 4, custom_values give 3/],
  ['negative side', { ...custom, negativeSpans: [{ offset: 0, length: 1 }], negative: [1] }, /negative buckets/],
  ['zero bucket', { ...custom, zeroCount: 1 }, /a zero bucket/],
  ['negative float', { ...custom, positive: [1.5, -2] }, /a count is -2/],
] as [string, NativeHistogram, RegExp][]) {
  test(`refused for its ${what}: ${expected.source}`, () => {
    const read = readHistogram(encodeHistogram(broken))
    assert.ok('problem' in read, 'it was taken')
    assert.match(read.problem, expected)
  })
}

test('whole and float counts must not be mixed; a NaN sum may leave observations out of the buckets', () => {
  const mixed = Histogram.encode(Histogram.fromObject({ countInt: 1, zeroCountFloat: 1 })).finish()
  assert.match((readHistogram(mixed) as { problem: string }).problem, /mixed/)
  assert.ok(
    !('problem' in readHistogram(encodeHistogram({ ...whole, sum: Number.NaN, count: 20n } as NativeHistogram))),
  )
  assert.ok(!('problem' in readHistogram(new Uint8Array(0))), 'no buckets at all are a histogram')
})

test('more buckets than any real histogram has are refused before they are kept', () => {
  const body = new Uint8Array(4 + 1_000_000)
  body.set([0x62, 0xc0, 0x84, 0x3d]) // positive_deltas of 1,000,000 bytes
  assert.match((readHistogram(body) as { problem: string }).problem, /more than 2000/)
})

test('every truncation and mutation gives a histogram, a problem or a WireError', () => {
  fc.assert(
    fc.property(
      valid,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.nat(),
      (histogram, edits, cut) => {
        const body = encodeHistogram(histogram).slice()
        for (const [at, byte] of edits) body[at % body.length] = byte
        try {
          readHistogram(edits.length === 0 ? body.subarray(0, cut % (body.length + 1)) : body)
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})
