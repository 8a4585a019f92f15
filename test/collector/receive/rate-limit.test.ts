import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RateLimit } from '../../../collector/receive/rate-limit.ts'

const BODY_MAX = 500

test('RateLimit lets the burst through, then goes into debt by a body, and says to the ms when that is paid', () => {
  let now = 1e6
  const limit = new RateLimit({ perSecond: 100, burstSeconds: 2, now: () => now, bucketsMax: 10 })
  limit.charge('a', 200)
  assert.equal(limit.wait('a'), 0, 'the burst is used up, and nobody is in debt')
  limit.charge('a', 50)
  assert.deepEqual([limit.wait('a'), limit.wait('b')], [500, 0])
  now += 499
  assert.equal(limit.wait('a'), 1)
  now += 1
  assert.equal(limit.wait('a'), 0)
  now += 1e9
  limit.charge('a', 201)
  assert.equal(limit.wait('a'), 10, 'a long pause saves up no more than the burst')
})

/** A schedule: pauses in ms, and bodies of one of two senders that are in flight for some steps before they are charged. */
const schedule = fc.array(
  fc.record({
    pause: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5000 })),
    sender: fc.constantFrom('a', 'b'),
    samples: fc.integer({ min: 1, max: BODY_MAX }),
  }),
  { maxLength: 60 },
)

/** Accepted samples of each sender never pass the line, at any moment. @param inFlight bodies charged that many later */
function check(steps: readonly { pause: number; sender: string; samples: number }[], inFlight: number, forget = false) {
  const perSecond = 100
  const burstSeconds = 3
  let now = 0
  let limit = new RateLimit({ perSecond, burstSeconds, now: () => now, bucketsMax: 100 })
  const accepted = new Map<string, number>()
  const uncharged: [string, number][] = []
  for (const { pause, sender, samples } of steps) {
    now += pause
    if (forget) limit = new RateLimit({ perSecond, burstSeconds, now: () => now, bucketsMax: 100 })
    if (limit.wait(sender) === 0) {
      accepted.set(sender, (accepted.get(sender) ?? 0) + samples)
      uncharged.push([sender, samples])
    }
    while (uncharged.length > inFlight) limit.charge(...uncharged.shift()!)
    for (const sum of accepted.values())
      assert.ok(sum <= perSecond * (now / 1000 + burstSeconds) + (inFlight + 1) * BODY_MAX + 1e-6)
  }
}

test('RateLimit: over any schedule, accepted ≤ rate × time + burst + one body, and one for each in flight', () => {
  fc.assert(fc.property(schedule, (steps) => check(steps, 0)))
  fc.assert(fc.property(schedule, fc.integer({ min: 1, max: 5 }), (steps, inFlight) => check(steps, inFlight)))
})

test('control: a limit that forgets its debtors breaks that', () => {
  assert.throws(() => fc.assert(fc.property(schedule, (steps) => check(steps, 0, true))), /Property failed/)
})

test('RateLimit: who waits as long as it was told is let in, and who does not pause is never let in for free', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: BODY_MAX }), { minLength: 20, maxLength: 50 }), (bodies) => {
      let now = 0
      const limit = new RateLimit({ perSecond: 10, burstSeconds: 1, now: () => now, bucketsMax: 10 })
      for (const samples of bodies) {
        now += limit.wait('a')
        assert.ok(limit.wait('a') < 1e-6)
        limit.charge('a', samples)
      }
      const sum = bodies.reduce((a, b) => a + b, 0)
      assert.ok(now / 1000 >= (sum - bodies.at(-1)!) / 10 - 1 - 1e-6, 'the time that all but the last are worth')
    }),
  )
})

test('RateLimit keeps a bounded number of buckets: full ones go, debtors stay, and who finds no room shares one', () => {
  let now = 0
  const limit = new RateLimit({ perSecond: 1, burstSeconds: 5, now: () => now, bucketsMax: 100 })
  limit.charge('debtor', 1000)
  for (let i = 0; i < 10_000; i++) limit.charge(`flood-${i}`, 1)
  assert.ok(limit.size <= 101)
  assert.ok(limit.wait('debtor') > 0)
  assert.ok(limit.wait('one more') > 0, 'the others are over what one may send')
  now += 20_000
  assert.equal(limit.wait('one more'), 0, 'there is room again, and it never sent anything')
  limit.charge('one more', 1)
  assert.ok(limit.size <= 3)
  assert.ok(limit.wait('debtor') > 0, 'still')
})
