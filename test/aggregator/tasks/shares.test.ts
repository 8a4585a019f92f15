/** What tasks are given and what is idle add up to what was delivered, to the unit, and so do their costs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Delivered, Holder, Share } from '../../../aggregator/tasks/shares.ts'
import {
  apportion,
  deliveredBy,
  deliveredTime,
  priced,
  SLOT_MS,
  sharesOf,
  slotOf,
} from '../../../aggregator/tasks/shares.ts'
import { heldSteps, StepFunction } from '../../../aggregator/tasks/step-function.ts'

const T0 = Date.parse('2026-01-31T12:00:00.000Z')
const HOUR_MS = 3_600_000

const amountOf = (shares: readonly Share[], key: string | undefined): number =>
  shares.filter((share) => share.key === key).reduce((sum, { amount }) => sum + amount, 0)

test('a GPU that nobody shares is held by the task while it is there, and idle besides', () => {
  const shares = sharesOf([{ key: 'a', from: T0 + 1000, to: T0 + 4000 }], deliveredTime, { from: T0, to: T0 + 10_000 })
  assert.deepEqual(shares, [
    { key: undefined, slot: T0, amount: 7_000_000, division: 'alone' },
    { key: 'a', slot: T0, amount: 3_000_000, division: 'alone' },
  ])
})

test('overlapping moments are divided equally, or by what each used where all say so', () => {
  const holder = (key: string, from: number, watts?: number): Holder => ({
    key,
    from: T0 + from,
    to: T0 + 9000,
    ...(watts === undefined ? {} : { weight: new StepFunction([{ from: T0, to: T0 + 9000, value: watts }]) }),
  })
  const span = { from: T0, to: T0 + 9000 }
  const equal = sharesOf([holder('a', 0), holder('b', 3000, 5)], deliveredTime, span)
  assert.deepEqual([amountOf(equal, 'a'), amountOf(equal, 'b'), equal[0]?.division], [6_000_000, 3_000_000, 'equal'])
  const weighed = sharesOf([holder('a', 0, 1), holder('b', 3000, 2)], deliveredTime, span)
  assert.deepEqual(
    [amountOf(weighed, 'a'), amountOf(weighed, 'b'), weighed[1]?.division],
    [5_000_000, 4_000_000, 'by_weight'],
  )
})

test('apportion() adds up for any weights', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 50 }),
      fc.array(fc.double({ min: 0, max: 1e12, noNaN: true }), { minLength: 1, maxLength: 9 }),
      (amount, weights) => {
        const parts = apportion(amount, weights)
        assert.equal(
          parts.reduce((a, b) => a + b, 0),
          amount,
        )
        assert.ok(parts.every((part) => Number.isInteger(part) && part >= 0))
      },
    ),
  )
})

const moment = fc.integer({ min: 0, max: 2 * HOUR_MS }).map((ms) => T0 + ms)
const spanOf = fc.tuple(moment, moment).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))
const stepsOf = (max: number): fc.Arbitrary<StepFunction> =>
  fc
    .uniqueArray(fc.tuple(moment, fc.double({ min: 0, max, noNaN: true })), {
      maxLength: 20,
      selector: ([time]) => time,
    })
    .map((samples) => {
      const sorted = samples.sort(([a], [b]) => a - b)
      return heldSteps({ times: sorted.map(([time]) => time), values: sorted.map(([, value]) => value) }, HOUR_MS / 4)
    })

/** Tasks, each on some of the GPUs, with or without a weight on them. */
const node = fc.integer({ min: 1, max: 4 }).chain((gpus) =>
  fc.record({
    gpus: fc.array(stepsOf(1), { minLength: gpus, maxLength: gpus }),
    tasks: fc.array(
      fc.record({
        span: spanOf,
        on: fc.subarray([...Array(gpus).keys()]),
        weight: fc.option(stepsOf(100), { nil: undefined }),
      }),
      { maxLength: 6 },
    ),
    prices: fc.array(fc.integer({ min: 0, max: 5_000_000_000 }), { minLength: 9, maxLength: 9 }),
  }),
)

interface Node {
  readonly gpus: readonly StepFunction[]
  readonly tasks: readonly {
    readonly span: { from: number; to: number }
    readonly on: readonly number[]
    readonly weight: StepFunction | undefined
  }[]
  readonly prices: readonly number[]
}

const period = { from: T0, to: T0 + 2 * HOUR_MS }
const slots = Array.from({ length: 8 }, (_, i) => T0 + i * SLOT_MS)

const holdersOn = ({ tasks }: Node, gpu: number): Holder[] =>
  tasks.flatMap(({ span, on, weight }, i) =>
    on.includes(gpu) ? [{ key: `t${i}`, ...span, ...(weight === undefined ? {} : { weight }) }] : [],
  )

/** Millionths of the currency for GPU-µs, at a price an hour that changes with the slot. */
const costWith = ({ prices }: Node): ((quantity: number, slot: number) => number) => {
  return (quantity, slot) => Math.round((quantity / 3_600_000_000) * prices[(slot - T0) / SLOT_MS]!)
}

const deliveries = (one: Node, gpu: number): Delivered[] => {
  const busy = deliveredBy(one.gpus[gpu]!, 1_000_000)
  return [deliveredTime, busy, priced(deliveredTime, costWith(one)), priced(busy, costWith(one))]
}

/** In each slot, and of each GPU, all shares together are what was delivered. */
const conserves = (divide: typeof sharesOf): fc.IProperty<unknown> =>
  fc.property(node, (one) => {
    for (const gpu of one.gpus.keys())
      for (const delivered of deliveries(one, gpu)) {
        const shares = divide(holdersOn(one, gpu), delivered, period)
        for (const slot of slots) {
          const given = shares.filter((s) => s.slot === slot).reduce((sum, { amount }) => sum + amount, 0)
          assert.equal(given, delivered(slot, slot + SLOT_MS))
        }
        assert.ok(shares.every(({ amount }) => Number.isSafeInteger(amount) && amount >= 0))
      }
  })

test('what tasks are given and what is idle is what the GPU delivered, in time, work and money', () => {
  fc.assert(conserves(sharesOf), { numRuns: 300 })
})

test('control: shares that are rounded one by one are found out', () => {
  const rounded: typeof sharesOf = (holders, delivered, span) =>
    sharesOf(holders, (slot, until) => delivered(slot, until) * 1000, span).map((share) => ({
      ...share,
      amount: Math.round(share.amount / 1000),
    }))
  assert.equal(fc.check(conserves(rounded), { numRuns: 300, endOnFailure: true }).failed, true)
})

test('a task’s share follows from those alone that were there with it', () => {
  fc.assert(
    fc.property(node, (one) => {
      for (const gpu of one.gpus.keys())
        for (const delivered of deliveries(one, gpu)) {
          const holders = holdersOn(one, gpu)
          const all = sharesOf(holders, delivered, period)
          for (const { key, from, to } of holders) {
            const near = holders.filter((other) => other.key === key || (other.from < to && other.to > from))
            const own = sharesOf(near, delivered, { from, to })
            for (const slot of slots)
              assert.equal(
                amountOf(
                  own.filter((s) => s.slot === slot),
                  key,
                ),
                amountOf(
                  all.filter((s) => s.slot === slot),
                  key,
                ),
              )
          }
        }
    }),
    { numRuns: 200 },
  )
})

test('slots begin on quarters of an hour, also before the epoch', () => {
  assert.deepEqual([slotOf(T0 + 1), slotOf(T0), slotOf(-1)], [T0, T0, -SLOT_MS])
})
