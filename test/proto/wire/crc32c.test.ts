import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32c } from '../../../proto/wire/crc32c.ts'
import { crcBitwise } from '../../support/crc.ts'

const POLYNOMIAL_REVERSED = 0x82f63b78
const bitwise = (data: Uint8Array): number => crcBitwise(data, POLYNOMIAL_REVERSED)

const bytes = (text: string) => new TextEncoder().encode(text)

test('crc32c gives the vectors of RFC 3720 and of the check value', () => {
  assert.equal(crc32c(bytes('123456789')), 0xe3069283)
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e)
  assert.equal(crc32c(new Uint8Array(0)), 0)
})

test('crc32c of pieces, seeded one with the other, is that of the whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (data, at) => {
      const cut = Math.min(at, data.length)
      assert.equal(crc32c(data, cut, data.length, crc32c(data, 0, cut)), crc32c(data))
    }),
  )
})

test('crc32c changes with every single bit', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), (data, at) => {
      const bit = at % (data.length * 8)
      const flipped = data.slice()
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      assert.notEqual(crc32c(flipped), crc32c(data))
    }),
  )
})

test('crc32c is that of the polynomial, wherever the bytes lie and however many they are', () => {
  const memory = Uint8Array.from({ length: 400 }, (_, i) => (i * 167 + 13) & 255)
  for (let start = 0; start < 20; start++) {
    for (let length = 0; length <= 200; length += length < 90 ? 1 : 13) {
      const data = memory.subarray(start, start + length)
      assert.equal(crc32c(data), bitwise(data), `${length} bytes from ${start} on`)
      assert.equal(crc32c(memory, start, start + length), bitwise(data))
    }
  }
})
