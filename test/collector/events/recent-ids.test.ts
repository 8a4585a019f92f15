import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { RecentIds } from '../../../collector/events/recent-ids.ts'

test('RecentIds knows the newest ids with their positions, by tenant, and no more than its bound', () => {
  const recent = new RecentIds(10_000, 5)
  const ids = Array.from({ length: 30_000 }, () => randomUUID())
  for (const [i, id] of ids.entries()) recent.add(i % 2 === 0 ? 'a' : 'b', id, i)
  assert.ok(recent.count <= 10_000)
  for (let i = 25_000; i < ids.length; i++) {
    assert.equal(recent.position(i % 2 === 0 ? 'a' : 'b', ids[i]!), i)
    assert.equal(recent.position(i % 2 === 0 ? 'b' : 'a', ids[i]!), undefined, 'of another tenant')
  }
  assert.equal(recent.position('a', ids[0]!), undefined)
  assert.equal(recent.position('c', ids.at(-1)!), undefined)
})

test('RecentIds.forget() makes an id unknown, until it is added again', () => {
  const recent = new RecentIds(100, 5)
  const [one, other] = [randomUUID(), randomUUID()]
  recent.add('a', one, 1)
  recent.add('a', other, 2)
  recent.forget('a', one)
  assert.equal(recent.position('a', one), undefined)
  assert.equal(recent.position('a', other), 2)
  recent.add('a', one, 3)
  assert.equal(recent.position('a', one), 3)
})

test('RecentIds: ids that differ in one digit alone are different', () => {
  const recent = new RecentIds(1000, 5)
  const id = '0123abcd-4567-4abc-8def-0123456789ab'
  const others = [...id].flatMap((digit, i) => (digit === '-' ? [] : [`${id.slice(0, i)}f${id.slice(i + 1)}`]))
  recent.add('a', id, 0)
  for (const other of others) if (other !== id) assert.equal(recent.position('a', other), undefined, other)
})
