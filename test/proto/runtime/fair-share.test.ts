import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairShare } from '../../../proto/runtime/fair-share.ts'

/** Takes one at a time until it is not allowed. @returns how much */
function flood(shares: FairShare, holder: string): number {
  let n = 0
  while (n < 1000 && shares.allows(holder, 1)) {
    shares.take(holder, 1)
    n++
  }
  return n
}

test('FairShare: one alone gets half; the next gets a third although the first came before', () => {
  const shares = new FairShare(120, 1)
  assert.equal(flood(shares, 'a'), 60)
  assert.equal(flood(shares, 'b'), 40)
  assert.ok(!shares.allows('a', 1))
  shares.give('b', 40)
  shares.give('a', 10)
  assert.equal(flood(shares, 'a'), 10)
  assert.equal(shares.total, 60)
})

test('FairShare: everybody may have the least, however many there are', () => {
  const shares = new FairShare(100, 5)
  flood(shares, 'a')
  for (let i = 0; i < 50; i++) shares.take(`b${i}`, 1)
  assert.equal(flood(shares, 'new'), 5)
})

test('FairShare: one who holds nothing is never refused for what others hold, and forgets who gave all back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 20 }), fc.boolean())),
      (ops) => {
        const shares = new FairShare(100, 20)
        const held = new Map<string, number>()
        for (const [holder, amount, gives] of ops) {
          const own = held.get(holder) ?? 0
          if (gives) {
            if (own > 0) shares.give(holder, own)
            held.delete(holder)
          } else if (shares.allows(holder, amount)) {
            shares.take(holder, amount)
            held.set(holder, own + amount)
          } else assert.ok(own > 0)
          assert.ok((held.get(holder) ?? 0) <= 50, 'never more than half')
          assert.equal(
            shares.total,
            [...held.values()].reduce((a, b) => a + b, 0),
          )
        }
      },
    ),
  )
})

test('FairShare: who holds nothing is not remembered for ever', () => {
  const shares = new FairShare(1e6, 1)
  for (let i = 0; i < 10_000; i++) {
    shares.take(`sender ${i}`, i % 3)
    shares.give(`sender ${i}`, i % 3)
    shares.give(`nothing ${i}`, 0)
  }
  assert.ok(shares.remembered <= 1002, `${shares.remembered} are remembered`)
  for (let i = 0; i < 5000; i++) shares.take(`holder ${i}`, 1)
  assert.equal(shares.share('one more'), 1e6 / 5002)
  assert.ok(shares.remembered >= 5000 && shares.remembered <= 11_001, `${shares.remembered} are remembered`)
})
