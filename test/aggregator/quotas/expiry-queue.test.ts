import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExpiryQueue } from '../../../aggregator/quotas/expiry-queue.ts'

interface Item {
  readonly id: number
  expires: number
  open: boolean
}

const queueOf = (): ExpiryQueue<Item> => new ExpiryQueue<Item>(({ open }) => open)
const idsOf = (items: readonly Item[]): number[] => items.map(({ id }) => id)

test('ExpiryQueue: what is due comes in the order of its time, at most so many, and stays', () => {
  const queue = queueOf()
  assert.deepEqual([queue.next, queue.due(1e9, 10)], [undefined, []])
  for (const [id, expires] of [30, 10, 20, 40].entries()) queue.add({ id, expires, open: true })
  assert.equal(queue.next, 10)
  assert.deepEqual(idsOf(queue.due(9, 10)), [], 'none before its time')
  assert.deepEqual(idsOf(queue.due(30, 10)), [1, 2, 0], 'one that expires now is due')
  assert.deepEqual(idsOf(queue.due(1e9, 2)), [1, 2])
  assert.deepEqual(idsOf(queue.due(1e9, 0)), [])
  assert.deepEqual(idsOf(queue.due(1e9, 10)), [1, 2, 0, 3], 'they stay')
})

test('ExpiryQueue: what is over is not due, and what is extended is due at its new time, once', () => {
  const queue = queueOf()
  const items = [10, 20, 30].map((expires, id) => ({ id, expires, open: true }))
  for (const item of items) queue.add(item)
  items[0]!.open = false
  assert.equal(queue.next, 20)
  items[1]!.expires = 40
  queue.add(items[1]!)
  assert.deepEqual([queue.next, idsOf(queue.due(35, 9)), idsOf(queue.due(40, 9))], [30, [2], [2, 1]])
  items[2]!.open = false
  items[1]!.open = false
  assert.equal(queue.next, undefined)
})

test('ExpiryQueue: whatever is added, extended and ended, it says what a sorted list says', () => {
  const step = fc.oneof(
    fc.record({ does: fc.constant('add' as const), expires: fc.nat(8) }),
    fc.record({ does: fc.constantFrom('extend' as const, 'end' as const), which: fc.nat(), expires: fc.nat(8) }),
    fc.record({ does: fc.constant('ask' as const), now: fc.nat(9), max: fc.nat(6) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const queue = queueOf()
      const items: Item[] = []
      for (const one of steps) {
        if (one.does === 'add') {
          const item = { id: items.length, expires: one.expires, open: true }
          items.push(item)
          queue.add(item)
        } else if (one.does === 'ask') {
          const due = items.filter(({ open, expires }) => open && expires <= one.now)
          const answer = queue.due(one.now, one.max)
          // Those of one time come in any order, but each once.
          const times = due.map(({ expires }) => expires).sort((a, b) => a - b)
          assert.deepEqual(
            answer.map(({ expires }) => expires),
            times.slice(0, one.max),
          )
          assert.equal(new Set(answer).size, answer.length)
          assert.ok(answer.every((item) => due.includes(item)))
        } else if (items.length > 0) {
          const item = items[one.which % items.length]!
          if (one.does === 'end') item.open = false
          // The same time again, too: it was told twice.
          else if (item.open) queue.add(Object.assign(item, { expires: one.expires }))
        }
        const open = items.filter((item) => item.open).map(({ expires }) => expires)
        assert.equal(queue.next, open.length === 0 ? undefined : Math.min(...open))
      }
    }),
  )
})

test('ExpiryQueue: what is over does not pile up', () => {
  const queue = queueOf()
  const first = { id: 0, expires: 1, open: true }
  queue.add(first)
  for (let id = 1; id <= 100_000; id++) {
    const item = { id, expires: 1000 + (id % 100), open: true }
    queue.add(item)
    item.open = false
  }
  assert.ok(queue.size <= 1024, `${queue.size}`)
  // One that is extended over and over, too.
  for (let expires = 2; expires < 50_000; expires++) queue.add(Object.assign(first, { expires }))
  assert.ok(queue.size <= 1024, `${queue.size}`)
  assert.deepEqual([queue.next, idsOf(queue.due(1e9, 9))], [49_999, [0]])
})

test('ExpiryQueue: many that are open are all kept, and those that are over beside them go', () => {
  const queue = queueOf()
  const items = Array.from({ length: 20_000 }, (_, id) => ({ id, expires: (id * 7919) % 20_011, open: true }))
  for (const item of items) queue.add(item)
  assert.equal(queue.size, 20_000)
  for (const item of items) if (item.id % 100 !== 0) item.open = false
  for (let id = 20_000; id < 60_000; id++) queue.add({ id, expires: 30_000, open: false })
  assert.ok(queue.size <= 1024, `${queue.size}`)
  const left = items.filter(({ open }) => open).map(({ expires }) => expires)
  assert.deepEqual(
    queue.due(1e9, 1000).map(({ expires }) => expires),
    left.sort((a, b) => a - b),
  )
})
