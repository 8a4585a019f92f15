import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Batch, BatchHeader, SeriesDefinition } from '../../../proto/wire/batch.ts'
import { BatchBuilder, decodeBatch, encodeDefinitions, openBatch, withSection } from '../../../proto/wire/batch.ts'
import { decimalExponent, decimalMantissa, decimalValue, RAW_FLOAT } from '../../../proto/wire/decimal.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'
import { batchOf, cutDefinitions, definition as definitionOf } from '../../support/batches.ts'

interface Point {
  ref: number
  time: number
  arrival: number
  value: number
}

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const point = record<Point>({
  ref: fc.oneof(fc.nat(20), fc.nat(2 ** 31)),
  time: fc.oneof(
    fc.constant(1_761_991_200_000),
    fc.integer({ min: 1.7e12, max: 1.8e12 }),
    fc.constant(-62135596800000),
  ),
  arrival: fc.integer({ min: 1.7e15, max: 1.8e15 }),
  value: fc.oneof(
    fc.double({ noNaN: true }),
    fc.integer(),
    fc.integer().map((n) => n / 100),
  ),
})
const header = record<BatchHeader>({
  collector: fc.string(),
  session: fc.string(),
  shard: fc.nat(1000),
  shards: fc.nat(1000),
  from: fc.maxSafeInteger().map(Math.abs),
  to: fc.maxSafeInteger().map(Math.abs),
  cursor: fc.nat(),
  now: fc.nat(),
  urgent: fc.boolean(),
})
const definition = record<SeriesDefinition>({
  ref: fc.nat(),
  tenant: fc.string({ unit: 'grapheme' }),
  id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  name: fc.string({ unit: 'grapheme' }),
  labels: fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 4 }),
})

const HEADER: BatchHeader = {
  ...{ collector: 'c', session: 's', shard: 0, shards: 1 },
  ...{ from: 0, to: 9, cursor: 0, now: 0, urgent: false },
}

function build(
  points: readonly Point[],
  definitions: readonly SeriesDefinition[],
  head: BatchHeader,
): Uint8Array<ArrayBuffer> {
  const builder = new BatchBuilder()
  for (const d of definitions) builder.define(d)
  for (const p of points) {
    const e = decimalExponent(p.value, 0)
    const bits = new Uint32Array(Float64Array.of(p.value).buffer)
    if (e === RAW_FLOAT) builder.float(p.ref, p.time, p.arrival, bits[0]!, bits[1]!)
    else builder.decimal(p.ref, p.time, p.arrival, e, decimalMantissa(p.value, e))
  }
  assert.equal(builder.count, points.length)
  return builder.finish(head)
}

function pointsOf({ samples }: Batch): Point[] {
  const floats = new Float64Array(samples.words.slice().buffer)
  return Array.from({ length: samples.count }, (_, i) => ({
    ref: samples.refs[i]!,
    time: samples.times[i]!,
    arrival: samples.arrivals[i]!,
    value:
      samples.exponents[i] === RAW_FLOAT
        ? floats[i]!
        : decimalValue((samples.words[2 * i + 1]! | 0) * 2 ** 32 + samples.words[2 * i]!, samples.exponents[i]!),
  }))
}

test('Samples that are put at once are those that are put one by one, byte for byte', () => {
  const values = fc.oneof(
    fc.constantFrom(
      0,
      -0,
      1,
      0.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 28 / 2,
      2 ** 52,
      -(2 ** 52),
      1 / 3,
      1e300,
    ),
    fc.double(),
    fc.integer(),
    fc.integer().map((n) => n / 100),
  )
  const sample = fc.record({ series: fc.oneof(fc.nat(7), fc.nat(40)), time: fc.nat(3), value: values })
  fc.assert(
    fc.property(fc.array(fc.array(sample, { maxLength: 40 }), { maxLength: 5 }), fc.nat(2), (runs, same) => {
      const refs = Uint32Array.from({ length: 41 }, (_, i) => (i < 8 ? i + 1 : i * 1000))
      const [one, other] = [new BatchBuilder(), new BatchBuilder()]
      const [ofOne, ofOther] = [new Uint8Array(41), new Uint8Array(41)]
      for (const [n, run] of runs.entries()) {
        const words = new Uint32Array(Float64Array.from(run, ({ value }) => value).buffer)
        const arrival = 1e15 + Math.max(n, same)
        for (const [i, { series, time, value }] of run.entries()) {
          const exponent = decimalExponent(value, ofOne[series]!)
          if (exponent === RAW_FLOAT) one.float(refs[series]!, time, arrival, words[2 * i]!, words[2 * i + 1]!)
          else {
            ofOne[series] = exponent
            one.decimal(refs[series]!, time, arrival, exponent, decimalMantissa(value, exponent))
          }
        }
        const columns = {
          series: Int32Array.from(run, ({ series }) => series),
          refs,
          exponents: ofOther,
          times: Float64Array.from(run, ({ time }) => time),
          values: new Float64Array(words.buffer),
          words,
        }
        other.samples(columns, 0, run.length, arrival)
      }
      assert.equal(other.count, one.count)
      assert.deepEqual(ofOther, ofOne)
      assert.deepEqual(other.finish(HEADER), one.finish(HEADER))
    }),
    { numRuns: 1000 },
  )
})

test('decodeBatch gives back what BatchBuilder took', () => {
  fc.assert(
    fc.property(fc.array(point), fc.array(definition, { maxLength: 3 }), header, (points, definitions, head) => {
      const batch = decodeBatch(build(points, definitions, head))
      assert.deepEqual(batch.header, head)
      assert.deepEqual(batch.definitions, definitions)
      assert.deepEqual(pointsOf(batch), points)
    }),
  )
})

test('BatchBuilder.finish() leaves a builder that starts from nothing', () => {
  fc.assert(
    fc.property(fc.array(point), fc.array(point), header, (first, second, head) => {
      const builder = new BatchBuilder()
      const feed = (points: Point[]) => {
        for (const p of points) builder.float(p.ref, p.time, p.arrival, 1, 2)
        return builder.finish(head)
      }
      feed(first)
      const fresh = new BatchBuilder()
      for (const p of second) fresh.float(p.ref, p.time, p.arrival, 1, 2)
      assert.deepEqual(feed(second), fresh.finish(head))
    }),
  )
})

test('withSection adds definitions and leaves the rest as it was', () => {
  fc.assert(
    fc.property(
      fc.array(point),
      fc.array(definition, { maxLength: 2 }),
      fc.array(definition, { maxLength: 2 }),
      header,
      (points, own, more, head) => {
        const batch = decodeBatch(withSection(build(points, own, head), encodeDefinitions(more)))
        assert.deepEqual(batch.header, head)
        assert.deepEqual(batch.definitions, [...more, ...own])
        assert.deepEqual(pointsOf(batch), points)
      },
    ),
  )
})

test('decodeBatch tells a changed bit from a sound batch', () => {
  fc.assert(
    fc.property(fc.array(point, { maxLength: 20 }), header, fc.nat(), (points, head, at) => {
      const bytes = build(points, [], head)
      const bit = at % (bytes.length * 8)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      assert.throws(() => decodeBatch(bytes), WireError)
    }),
  )
})

test('decodeBatch answers every truncation with a WireError', () => {
  const bytes = build([{ ref: 1, time: 5, arrival: 6, value: 0.5 }], [], {
    collector: 'c',
    session: 's',
    shard: 0,
    shards: 1,
    from: 0,
    to: 1,
    cursor: 0,
    now: 1,
    urgent: false,
  })
  for (let n = 0; n < bytes.length; n++) assert.throws(() => decodeBatch(bytes.subarray(0, n)), WireError)
})

test('openBatch reads definitions as they are asked for', () => {
  fc.assert(
    fc.property(fc.array(definition), fc.array(definition), header, (own, more, head) => {
      const { definitions, samples } = openBatch(withSection(build([], own, head), encodeDefinitions(more)))
      assert.equal(samples.count, 0)
      assert.deepEqual([...definitions], [...more, ...own])
    }),
  )
  const cut = cutDefinitions([definitionOf(1, 'up', { a: '1' })])
  const opened = openBatch(withSection(batchOf([], []), cut))
  assert.throws(() => [...opened.definitions], WireError)
})

test('decodeBatch names a version that it does not know', () => {
  assert.throws(() => decodeBatch(Uint8Array.of(0x46, 0x4d, 0x42, 3)), { code: 'unsupported' })
})

test('a steady scrape takes at most four bytes a sample', () => {
  const builder = new BatchBuilder()
  const n = 240 * 100
  for (let i = 0; i < n; i++) {
    // Per GPU thirty figures: percentages, MiB, watts with two decimals, degrees.
    const value = [37, 81559, 312.45, 64, 0.5, 1980][i % 6]! + (i % 7)
    const e = decimalExponent(value, 0)
    builder.decimal(i + 1, 1_761_991_200_000 + Math.floor(i / 240), 1_761_991_200_500_017, e, decimalMantissa(value, e))
  }
  const bytes = builder.finish({
    collector: 'c',
    session: 's',
    shard: 0,
    shards: 1,
    from: 0,
    to: n,
    cursor: 0,
    now: 1,
    urgent: false,
  }).length
  assert.ok(bytes / n <= 4, `${bytes / n} bytes a sample`)
})
