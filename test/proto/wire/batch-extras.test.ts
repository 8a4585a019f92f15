/** Extras and starts of a batch: what was put in comes out; every truncation and mutation gives a batch or a WireError. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BatchBuilder, decodeBatch } from '../../../proto/wire/batch.ts'
import type { Extra, StartMark } from '../../../proto/wire/batch-extras.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const header = {
  collector: 'c',
  session: 's',
  shard: 0,
  shards: 1,
  from: 0,
  to: 0,
  cursor: 0,
  now: 0,
  urgent: false,
}
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const time = fc.integer({ min: -1e12, max: 4e12 })
const arrival = fc.integer({ min: 0, max: 4e15 })
const message = fc.uint8Array({ maxLength: 40 })
const extra: fc.Arbitrary<Extra> = fc.oneof(
  record<Extra>({ kind: fc.constantFrom('histogram', 'exemplar'), ref: fc.nat(), time, arrival, message } as never),
  record<Extra>({ kind: fc.constant('metadata'), tenant: fc.string(), arrival, message } as never),
)
const start = record<StartMark>({ ref: fc.nat(), from: time, since: time, arrival })

function encode(extras: readonly Extra[], starts: readonly StartMark[]): Uint8Array {
  const builder = new BatchBuilder()
  for (const one of extras) builder.extras.extra(one)
  for (const one of starts) builder.extras.start(one)
  return builder.finish(header)
}

test('extras and starts come out of a batch as they went in', () => {
  fc.assert(
    fc.property(fc.array(extra), fc.array(start), (extras, starts) => {
      const batch = decodeBatch(encode(extras, starts))
      assert.deepEqual(batch.starts, starts)
      assert.deepEqual(
        batch.extras.map((one) => ({ ...one, message: Uint8Array.from(one.message) })),
        extras,
      )
    }),
  )
})

test('every truncation and mutation of them gives a batch or a WireError', () => {
  fc.assert(
    fc.property(
      fc.array(extra, { minLength: 1 }),
      fc.array(start),
      fc.nat(),
      fc.option(fc.nat(255)),
      (extras, starts, at, byte) => {
        const bytes = encode(extras, starts).slice()
        if (byte !== null) bytes[at % bytes.length] = byte
        try {
          decodeBatch(byte === null ? bytes.subarray(0, at % bytes.length) : bytes)
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 2000 },
  )
})
