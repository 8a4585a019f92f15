import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoisonGuard } from '../../../aggregator/consume/poison-guard.ts'

const bad = (n: number): boolean[] => new Array(n).fill(true)
const good = (n: number): boolean[] => new Array(n).fill(false)

test('some bad messages among many are taken', () => {
  const guard = new PoisonGuard(50)
  for (let i = 0; i < 20; i++) assert.equal(guard.look([...good(15), ...bad(5)]), undefined)
})

test('a few are taken whatever they are', () => {
  assert.equal(new PoisonGuard(50).look(bad(49)), undefined)
})

test('too many are left where they are, as often as they are looked at, and good ones go on behind them', () => {
  const guard = new PoisonGuard(50)
  assert.equal(guard.look(good(40)), undefined)
  for (let i = 0; i < 3; i++) assert.equal(Math.round(guard.look(bad(60))!), 60)
  assert.equal(guard.look([...bad(10), ...good(50)]), undefined)
})

test('a large piece is judged by itself', () => {
  const guard = new PoisonGuard(50)
  assert.equal(guard.look(good(200)), undefined)
  assert.equal(guard.look(bad(500)), 100)
})

test('100: whatever comes is taken', () => {
  assert.equal(new PoisonGuard(100).look(bad(1000)), undefined)
})
