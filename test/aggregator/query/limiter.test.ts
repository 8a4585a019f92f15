import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Limiter } from '../../../aggregator/query/limiter.ts'

test('Limiter lets a burst through, then so many a second, for each credential apart', () => {
  let now = 0
  const limiter = new Limiter({ perSecond: 20, burst: 40, now: () => now })
  const take = (credential: string, n: number) =>
    Array.from({ length: n }, () => limiter.take(credential)).filter((p) => p.allowed).length
  assert.equal(take('a', 60), 40)
  assert.equal(take('b', 60), 40)
  now += 100
  assert.equal(take('a', 60), 2)
  now += 10_000
  assert.equal(take('a', 60), 40)
  assert.deepEqual(limiter.counts, { allowed: 122, rejected: 118 })
  assert.deepEqual(
    limiter.rejectedBy.map((r) => r.credential),
    ['a', 'b'],
  )
})

test('Limiter says how long until one more is allowed', () => {
  const limiter = new Limiter({ perSecond: 20, burst: 1, now: () => 0 })
  limiter.take('a')
  assert.deepEqual(limiter.take('a'), { allowed: false, waitMs: 50 })
})
