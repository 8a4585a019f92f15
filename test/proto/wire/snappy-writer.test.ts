import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { SnappyWriter } from '../../../proto/wire/snappy-writer.ts'

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.record({ size: fc.constantFrom(0, 1, 3, 17, 59, 60, 61, 64, 65, 255, 256, 257, 3000) }) },
  { weight: 1, arbitrary: fc.record({ size: fc.constantFrom(65_535, 65_536, 65_537, 140_000) }) },
  {
    weight: 3,
    arbitrary: fc.record({ size: fc.constantFrom(0, 1, 3, 4, 63, 64, 65, 128, 1000), back: fc.nat(70_000) }),
  },
)

test('SnappyWriter: blocks say what was written, one after the other', () => {
  const writer = new SnappyWriter()
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      let said = new Uint8Array(0)
      let next = 0
      for (const one of pieces) {
        // Some of a larger array, as it usually is.
        const bytes = new Uint8Array(one.size + 5)
        if ('back' in one) {
          const offset = Math.min(said.length, one.back)
          const size = Math.min(one.size, offset)
          bytes.set(said.subarray(said.length - offset, said.length - offset + size), 3)
          writer.copy(offset, size, bytes, 3)
          said = Buffer.concat([said, bytes.subarray(3, 3 + size)])
        } else {
          for (let i = 0; i < one.size; i++) bytes[2 + i] = next++ * 31
          writer.literal(bytes, 2, 2 + one.size)
          said = Buffer.concat([said, bytes.subarray(2, 2 + one.size)])
        }
        assert.equal(writer.length, said.length)
      }
      assert.ok(Buffer.from(said).equals(portableSnappy.uncompress(writer.finish(), 1 << 24)))
    }),
    { numRuns: 300 },
  )
})

test('SnappyWriter: elements that were written before, behind other things', () => {
  const writer = new SnappyWriter()
  const prepared = new SnappyWriter()
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i)
  prepared.literal(bytes, 0, 2)
  prepared.copy(12, 10, bytes, 90) // bytes 90 to 100 where ten bytes and these two stand behind them
  const elements = prepared.finishElements().slice()
  writer.literal(bytes, 90, 100)
  writer.elements(elements, 0, elements.length, 12)
  elements[2] = 77 // what is put in before the next thing is written counts
  writer.literal(bytes, 200, 203)
  elements[2] = 78
  assert.equal(writer.length, 25)
  assert.deepEqual(
    [...portableSnappy.uncompress(writer.finish(), 100)],
    [...bytes.slice(90, 100), 0, 77, ...bytes.slice(90, 100), ...bytes.slice(200, 203)],
  )
})
