import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from '../../../proto/runtime/buffer-pool.ts'

test('what is given back is given out again, once, and only what was taken here', () => {
  const pool = new BufferPool(1024 * 1024)
  const first = pool.take(50_000)
  assert.equal(first.length, 50_000)
  pool.give(first)
  pool.give(first)
  assert.equal(pool.kept, 64 * 1024)
  const again = pool.take(60_000)
  assert.equal(again.buffer, first.buffer)
  assert.notEqual(pool.take(60_000).buffer, first.buffer)
  pool.give(new Uint8Array(64 * 1024))
  pool.give(new BufferPool(1).take(50_000))
  assert.equal(pool.kept, 0)
})

test('no more is kept than may be', () => {
  const pool = new BufferPool(100_000)
  const taken = [pool.take(50_000), pool.take(50_000)]
  for (const one of taken) pool.give(one)
  assert.equal(pool.kept, 64 * 1024)
})
