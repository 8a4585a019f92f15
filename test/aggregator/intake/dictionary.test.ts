import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Dictionary } from '../../../aggregator/intake/dictionary.ts'

test('Dictionary translates what was set and names each unknown reference once', () => {
  const dictionary = new Dictionary()
  dictionary.set(1, 10, 0)
  dictionary.set(5000, 20, 0)
  const slots = new Int32Array(5)
  assert.deepEqual(dictionary.translate(Uint32Array.of(1, 5000, 2, 2, 4_000_000_000), slots, 0), [2, 4_000_000_000])
  assert.deepEqual([...slots], [10, 20, -1, -1, -1])
})

test('Dictionary.sweep() forgets pages that nobody used and marks what the others refer to', () => {
  const dictionary = new Dictionary()
  dictionary.set(1, 3, 0)
  dictionary.set(5000, 4, 0)
  dictionary.translate(Uint32Array.of(5000), new Int32Array(1), 900)
  const used = new Uint8Array(10)
  dictionary.sweep(500, used)
  assert.deepEqual([used[3], used[4]], [0, 1])
  assert.deepEqual(dictionary.translate(Uint32Array.of(1, 5000), new Int32Array(2), 1000), [1])
})
