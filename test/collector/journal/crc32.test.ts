import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32 } from '../../../collector/journal/crc32.ts'
import { crcBitwise } from '../../support/crc.ts'

const POLYNOMIAL_REVERSED = 0xedb88320
const bitwise = (data: Uint8Array): number => crcBitwise(data, POLYNOMIAL_REVERSED)

test('crc32 gives the check value of the polynomial, natively and not', () => {
  const nine = new TextEncoder().encode('123456789')
  assert.equal(crc32(nine), 0xcbf43926)
  assert.equal(crc32(new Uint8Array(0)), 0)
  // Long enough for the runtime's own.
  assert.equal(crc32(new Uint8Array(1024)), bitwise(new Uint8Array(1024)))
})

test('crc32 is that of the polynomial, wherever the bytes lie, and of pieces seeded one with the other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (data, at) => {
      const cut = Math.min(at, data.length)
      assert.equal(crc32(data, cut), bitwise(data.subarray(cut)))
      assert.equal(crc32(data, cut, data.length, crc32(data, 0, cut)), bitwise(data))
    }),
  )
})
