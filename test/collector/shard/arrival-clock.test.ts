import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ArrivalClock } from '../../../collector/shard/arrival-clock.ts'

test('ArrivalClock follows the wall clock forward only, and is never before an arrival that a journal has', () => {
  let wall = 1000
  const clock = new ArrivalClock({ now: () => wall, monotonic: () => 7 })
  assert.equal(clock.now(), 1000)
  wall = 500
  assert.equal(clock.now(), 1000)
  clock.reached(3000)
  clock.reached(2000)
  assert.equal(clock.now(), 3000)
  wall = 3001
  assert.equal(clock.now(), 3001)
  assert.equal(clock.monotonic(), 7)
})
