import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HotSeries } from '../../../aggregator/hot/hot-series.ts'
import { BLOCK_BYTES } from '../../../aggregator/hot/point-chains.ts'

const bounds = { ageMs: 1000, bytesMax: 1e9 }

function times(hot: HotSeries, slot: number): number[] {
  const out: number[] = []
  hot.read(slot, 0, 1e15, (time) => out.push(time))
  return out
}

test('HotSeries gives up points by age only once they are stored', () => {
  const hot = new HotSeries(bounds, 0)
  const first = hot.begin()
  hot.add(first, 0, 100, 1, 1)
  const second = hot.begin()
  hot.add(second, 0, 2000, 1, 2)
  hot.stored(second)
  hot.evict(5000, 1)
  assert.equal(hot.floor, 100, 'the first batch is not stored: memory still reaches back to it')
  assert.deepEqual(times(hot, 0), [100, 2000])
  hot.stored(first)
  hot.evict(5000, 1)
  assert.equal(hot.floor, 4000)
  assert.deepEqual(times(hot, 0), [])
})

test('HotSeries keeps a late point aside until it is stored', () => {
  const hot = new HotSeries(bounds, 4000)
  const batch = hot.begin()
  hot.add(batch, 3, 1000, 7, 1)
  assert.deepEqual(hot.late(0, 3999), [{ slot: 3, time: 1000, value: 7, arrival: 1 }])
  assert.deepEqual(hot.late(1001, 3999), [])
  hot.evict(5000, 10)
  assert.equal(hot.late(0, 3999).length, 1)
  hot.stored(batch)
  assert.deepEqual(hot.late(0, 3999), [])
})

test('HotSeries over its byte bound reaches back less far, and says so where that hides what is not stored', () => {
  const hot = new HotSeries({ ageMs: 1e6, bytesMax: 20 * BLOCK_BYTES }, 0)
  const batch = hot.begin()
  for (let i = 0; i < 1000; i++) hot.add(batch, 0, i * 1000, i, i)
  hot.evict(1_000_000, 1)
  assert.ok(hot.bytes <= 20 * BLOCK_BYTES)
  assert.ok(hot.floor > 0)
  assert.ok(hot.unseenBefore > 0)
  assert.ok(times(hot, 0).every((time) => time >= hot.floor))
  hot.stored(batch)
  assert.equal(hot.unseenBefore, Number.NEGATIVE_INFINITY)
})

test('HotSeries over its byte bound begins at a whole ms: ClickHouse is asked for everything up to the one before', () => {
  const hot = new HotSeries({ ageMs: 1e9, bytesMax: 20 * BLOCK_BYTES }, 0)
  const batch = hot.begin()
  for (let i = 0; i < 1000; i++) hot.add(batch, 0, i * 977, i, i)
  hot.stored(batch)
  hot.evict(1_000_003, 1)
  assert.ok(hot.floor > 0 && Number.isInteger(hot.floor), `floor ${hot.floor}`)
})

test('HotSeries over its byte bound gives up also what a query reads, and the query can see that', () => {
  const hot = new HotSeries({ ageMs: 1e9, bytesMax: 20 * BLOCK_BYTES }, 0)
  const batch = hot.begin()
  for (let i = 0; i < 1000; i++) hot.add(batch, 0, i * 1000, i, i)
  hot.stored(batch)
  const unpin = hot.pin()
  const { generation } = hot
  hot.evict(1_000_000, 1)
  assert.ok(hot.bytes <= 20 * BLOCK_BYTES)
  assert.notEqual(hot.generation, generation)
  unpin()
})

test('HotSeries gives up nothing for its age while a query reads', () => {
  const hot = new HotSeries(bounds, 0)
  const batch = hot.begin()
  hot.add(batch, 0, 100, 1, 1)
  hot.stored(batch)
  const unpin = hot.pin()
  hot.evict(9000, 1)
  assert.deepEqual(times(hot, 0), [100])
  unpin()
  hot.evict(9000, 1)
  assert.deepEqual(times(hot, 0), [])
})

test('HotSeries lets the larger arrival win, in either order and across batches', () => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    const hot = new HotSeries(bounds, 0)
    for (const arrival of order) hot.add(hot.begin(), 0, 50, arrival * 10, arrival)
    const values: number[] = []
    hot.read(0, 0, 100, (_, value) => values.push(value))
    assert.deepEqual(values, [20])
  }
})
