import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Watermarks } from '../../../aggregator/intake/watermarks.ts'
import type { BatchHeader } from '../../../proto/wire/batch.ts'

const header = (from: number, to: number, now: number, more: Partial<BatchHeader> = {}): BatchHeader => ({
  collector: 'c',
  session: 's',
  shard: 0,
  shards: 1,
  from,
  to,
  cursor: 0,
  now,
  urgent: false,
  ...more,
})

test('Watermarks only move over ranges that join from the cursor, in whatever order they come', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7]), (order) => {
      const marks = new Watermarks()
      const seen = new Set<number>()
      for (const i of order) {
        marks.received(header(i * 10, i * 10 + 10, 1000 + i), 1)
        seen.add(i)
        let joined = 0
        while (seen.has(joined)) joined++
        assert.equal(marks.markOf('c'), joined === 0 ? 0 : 1000 + joined - 1)
      }
    }),
  )
})

test('Watermarks of a collector are the smallest over its shards, and 0 while one is silent', () => {
  const marks = new Watermarks()
  marks.received(header(0, 5, 100, { shards: 2 }), 1)
  assert.equal(marks.markOf('c'), 0)
  marks.received(header(0, 5, 70, { shard: 1, shards: 2 }), 1)
  assert.equal(marks.markOf('c'), 70)
})

test('Watermarks take a new session from its cursor on', () => {
  const marks = new Watermarks()
  marks.received(header(0, 5, 100), 1)
  marks.received(header(50, 60, 200, { session: 't', cursor: 50 }), 1)
  assert.equal(marks.markOf('c'), 200)
})

test('Watermarks rise with a sign of life from an idle shard, and not with a batch of one that is behind', () => {
  const marks = new Watermarks()
  marks.received(header(7, 7, 100, { cursor: 7 }), 1)
  assert.equal(marks.markOf('c'), 100)
  marks.received(header(7, 9, 0, { cursor: 7 }), 1)
  assert.equal(marks.markOf('c'), 100)
})

test('Watermarks do not trust a cursor before it is proven, and then join what came meanwhile', () => {
  const marks = new Watermarks()
  const [first, second] = [header(0, 5, 100), header(5, 9, 200, { cursor: 5 })]
  marks.received(second, 1, false)
  assert.equal(marks.has(first), false)
  assert.equal(marks.has(second), true)
  assert.equal(marks.markOf('c'), 0)
  marks.proven({ ...second, session: 'other' })
  assert.equal(marks.markOf('c'), 0)
  marks.proven(second)
  assert.equal(marks.markOf('c'), 200)
  assert.equal(marks.has(first), true)
  marks.proven({ ...first, collector: 'unknown' })
})
