import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteReader, ByteWriter, ZIGZAG_MAX } from '../../../proto/wire/bytes.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const zigzagRange = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger().map((n) => n % ZIGZAG_MAX),
)

test('ByteReader reads back what ByteWriter wrote', () => {
  fc.assert(
    fc.property(
      fc.array(zigzagRange),
      fc.array(fc.maxSafeInteger().map(Math.abs)),
      fc.string({ unit: 'grapheme' }),
      fc.double(),
      (signed, unsigned, text, double) => {
        const w = new ByteWriter(1)
        for (const n of signed) w.zigzag(n)
        for (const n of unsigned) w.varint(n)
        w.string(text)
        w.f64(double)
        w.u32(0xfffffffe)
        const r = new ByteReader(w.take())
        for (const n of signed) assert.equal(r.zigzag(), n + 0)
        for (const n of unsigned) assert.equal(r.varint(), n)
        assert.equal(r.string(), text)
        assert.ok(Object.is(r.f64(), double))
        assert.equal(r.u32(), 0xfffffffe)
        assert.equal(r.left, 0)
      },
    ),
  )
})

test('ByteReader answers every byte string with a value or a WireError', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.constantFrom('u8', 'u32', 'f64', 'varint', 'zigzag', 'string', 'block'), { minLength: 1 }),
      (data, reads) => {
        const r = new ByteReader(data)
        try {
          for (const read of reads) r[read as 'u8']()
        } catch (error) {
          assert.ok(error instanceof WireError)
        }
        assert.ok(r.pos <= data.length)
      },
    ),
  )
})

test('ByteWriter stores a lone surrogate as U+FFFD', () => {
  const w = new ByteWriter()
  w.string('a\ud800b')
  assert.equal(new ByteReader(w.take()).string(), 'a\ufffdb')
})

test('ByteReader.length() refuses a count over the limit before anyone allocates for it', () => {
  const w = new ByteWriter()
  w.varint(1_000_001)
  assert.throws(() => new ByteReader(w.take()).length(1_000_000, 'count'), { code: 'too_large' })
})
