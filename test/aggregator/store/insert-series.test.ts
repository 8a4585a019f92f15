import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeLabel, encodeLabel } from '../../../aggregator/store/insert-series.ts'

test('decodeLabel gives back what encodeLabel wrote, also with = and backslashes in key and value', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '=', '\\', 'é', ' ') })
  fc.assert(
    fc.property(text, text, (key, value) => {
      assert.deepEqual(decodeLabel(encodeLabel([key, value])), [key, value])
    }),
  )
})

test('encodeLabel keeps labels apart that look alike in one string', () => {
  assert.notEqual(encodeLabel(['a=b', 'c']), encodeLabel(['a', 'b=c']))
})
