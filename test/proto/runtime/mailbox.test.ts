import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Mailbox } from '../../../proto/runtime/mailbox.ts'

test('Mailbox.offer() returns false at capacity, and counts it', async () => {
  const mailbox = new Mailbox<number>(2)
  assert.deepEqual([mailbox.offer(1), mailbox.offer(2), mailbox.offer(3)], [true, true, false])
  assert.deepEqual(await mailbox.take(10), [1, 2])
  assert.deepEqual(mailbox.counts, { pushed: 2, popped: 2, refused: 1 })
})

test('Mailbox.offer() returns false over the weight, but an empty mailbox takes one of any weight', () => {
  const mailbox = new Mailbox<number>(100, 10)
  assert.ok(mailbox.offer(1, 1000))
  assert.ok(!mailbox.offer(2, 1))
})

test('Mailbox.take() waits while empty, takes in order up to its bounds, and at least one', async () => {
  const mailbox = new Mailbox<string>(10, 100)
  const first = mailbox.take(3, 5)
  mailbox.offer('a', 4)
  mailbox.offer('b', 4)
  assert.deepEqual(await first, ['a'])
  mailbox.offer('c', 90)
  assert.deepEqual(await mailbox.take(3, 5), ['b'])
  assert.deepEqual(await mailbox.take(3, 5), ['c'])
  assert.equal(mailbox.weight, 0)
})

test('Mailbox closed: nothing comes in, what is inside goes out, then an empty list', async () => {
  const mailbox = new Mailbox<number>(10)
  mailbox.offer(1)
  mailbox.close()
  assert.ok(!mailbox.offer(2))
  assert.deepEqual(await mailbox.take(), [1])
  assert.deepEqual(await mailbox.take(), [])
  const waiting = new Mailbox<number>(1)
  const end = waiting.take()
  waiting.close()
  assert.deepEqual(await end, [])
})

test('Mailbox hands out what came in, once and in order, however it is taken', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(fc.constant('offer' as const), fc.integer({ min: 1, max: 5 }))), async (ops) => {
      const mailbox = new Mailbox<number>(8)
      const taken: number[] = []
      let next = 0
      for (const op of ops) {
        if (op === 'offer') {
          if (mailbox.offer(next)) next++
        } else if (mailbox.size > 0) taken.push(...(await mailbox.take(op)))
      }
      mailbox.close()
      for (let rest = await mailbox.take(3); rest.length > 0; rest = await mailbox.take(3)) taken.push(...rest)
      assert.deepEqual(
        taken,
        Array.from({ length: next }, (_, i) => i),
      )
    }),
  )
})
