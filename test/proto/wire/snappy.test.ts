import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkBlock, portableSnappy } from '../../../proto/wire/snappy.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const repetitive = fc
  .array(fc.constantFrom('gpu', 'node', '0123456789'.repeat(9), 'x'), { maxLength: 300 })
  .map((parts) => new TextEncoder().encode(parts.join('')))

test('portableSnappy gives back what it compressed', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 3000 }), repetitive), (data) => {
      const block = portableSnappy.compress(data)
      assert.equal(checkBlock(block, data.length), data.length)
      assert.deepEqual(portableSnappy.uncompress(block, data.length), data)
    }),
  )
})

test('portableSnappy answers any mutation with data of the stated length or a WireError, and comes to an end', () => {
  fc.assert(
    fc.property(
      repetitive,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.nat(),
      (data, edits, cut) => {
        const block = portableSnappy.compress(data).slice()
        for (const [at, byte] of edits) if (block.length > 0) block[at % block.length] = byte
        const mutated = edits.length === 0 ? block.subarray(0, cut % (block.length + 1)) : block
        try {
          const out = portableSnappy.uncompress(mutated, 1 << 20)
          assert.equal(out.length, checkBlock(mutated, 1 << 20))
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
})

test('portableSnappy refuses a forged literal length that would turn snappyjs back on itself', () => {
  // 8 bytes stated, then a literal whose 32-bit length is negative as a signed number.
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(8, 0xfc, 0xfa, 0xff, 0xff, 0xff, 1, 2, 3, 4), 100), {
    code: 'truncated',
  })
})

test('portableSnappy refuses a cut-off copy, a copy from before the start and a short block', () => {
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(5, 0, 65, 1), 100), { code: 'truncated' })
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(5, 0, 65, 1, 9), 100), { code: 'malformed' })
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(5, 0, 65), 100), { code: 'truncated' })
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(1, 4, 65, 65), 100), { code: 'malformed' })
})

test('portableSnappy refuses a length over the limit, or over 32 bits, before allocating', () => {
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0), 1 << 25), {
    code: 'too_large',
  })
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x1f, 0), 2 ** 40), {
    code: 'malformed',
  })
  assert.throws(() => portableSnappy.uncompress(Uint8Array.of(0x80), 100), { code: 'truncated' })
  assert.throws(() => portableSnappy.uncompress(new Uint8Array(0), 100), { code: 'truncated' })
})
