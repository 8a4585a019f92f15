/** Figures of a window against values worked out by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { figureOf } from '../../../aggregator/tasks/figure.ts'
import type { Points } from '../../../aggregator/tasks/step-function.ts'
import { heldSteps, risingSteps, StepFunction, sumOf } from '../../../aggregator/tasks/step-function.ts'

const points = (...pairs: [second: number, value: number][]): Points => ({
  times: pairs.map(([second]) => second * 1000),
  values: pairs.map(([, value]) => value),
})
const window = (from: number, to: number) => ({ from: from * 1000, to: to * 1000 })
const gauge = (samples: Points, from: number, to: number, hold = 25) =>
  figureOf(heldSteps(samples, hold * 1000), samples, window(from, to))
const counter = (samples: Points, from: number, to: number, gap = 100) =>
  figureOf(risingSteps(samples, gap * 1000), undefined, window(from, to))

test('each sample of a gauge holds until the next; what held before the first counts by its time, not as an extreme', () => {
  const figure = gauge(points([-5, 100], [5, 10], [15, 30]), 0, 20)
  assert.deepEqual(figure, {
    mean: (100 * 5 + 10 * 10 + 30 * 5) / 20,
    min: 10,
    max: 30,
    p95: 100,
    last: 30,
    integral: 100 * 5 + 10 * 10 + 30 * 5,
    samples: 2,
    coverage: 1,
    confidence: 'full',
  })
})

test('a sample holds no longer than the limit, and a figure that less than half stands behind is null', () => {
  const half = gauge(points([0, 4]), 0, 50)
  assert.deepEqual([half.mean, half.integral, half.coverage, half.confidence], [4, 100, 0.5, 'low'])
  const less = gauge(points([0, 4]), 0, 51)
  assert.deepEqual(
    [less.mean, less.max, less.p95, less.last, less.integral, less.samples],
    [null, null, null, null, null, 1],
  )
  assert.deepEqual(gauge(points(), 0, 10).coverage, 0)
})

test('a stale marker ends what held', () => {
  const figure = gauge(points([0, 4], [6, Number.NaN]), 0, 10)
  assert.deepEqual([figure.mean, figure.integral, figure.coverage, figure.samples], [4, 24, 0.6, 1])
})

test('a window between two samples takes the one that holds at its start, and says that it is little', () => {
  const figure = gauge(points([0, 4], [10, 8]), 2, 3)
  assert.deepEqual([figure.mean, figure.max, figure.integral, figure.samples, figure.confidence], [4, 4, 4, 0, 'low'])
  const instant = gauge(points([0, 4]), 2, 2)
  assert.deepEqual([instant.mean, instant.integral, instant.coverage], [4, 0, 1])
})

test('a counter is read between its readings at both ends, and from zero after a reset', () => {
  const figure = counter(points([0, 100], [10, 200], [20, 30], [30, 40]), 5, 25)
  assert.deepEqual([figure.integral, figure.mean, figure.coverage], [50 + 30 + 5, 85 / 20, 1])
})

test('a counter that was silent for long rose at times that nobody knows', () => {
  const figure = counter(points([0, 0], [10, 10], [200, 1000]), 0, 200)
  assert.deepEqual([figure.integral, figure.coverage], [null, 0.05])
})

test('sumOf() is covered where any is, and adds up', () => {
  const sum = sumOf([
    new StepFunction([{ from: 0, to: 10_000, value: 1 }]),
    new StepFunction([{ from: 5000, to: 20_000, value: 2 }]),
    new StepFunction([]),
  ])
  assert.deepEqual(sum.steps, [
    { from: 0, to: 5000, value: 1 },
    { from: 5000, to: 10_000, value: 3 },
    { from: 10_000, to: 20_000, value: 2 },
  ])
})

/** A value for each ms, by the definition. */
function slowly(samples: Points, holdMs: number, from: number, to: number): { covered: number; integral: number } {
  let covered = 0
  let integral = 0
  for (let ms = from; ms < to; ms++) {
    let last = -1
    for (let i = 0; i < samples.times.length; i++) if (samples.times[i]! <= ms) last = i
    if (last < 0 || Number.isNaN(samples.values[last]!) || samples.times[last]! + holdMs <= ms) continue
    covered++
    integral += samples.values[last]! / 1000
  }
  return { covered, integral }
}

test('heldSteps() is what looking at every ms gives, for any samples and window', () => {
  const samples = fc.uniqueArray(
    fc.tuple(fc.integer({ min: 0, max: 300 }), fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constant(Number.NaN))),
    { selector: ([time]) => time, maxLength: 12 },
  )
  fc.assert(
    fc.property(samples, fc.integer({ min: 1, max: 80 }), fc.nat(300), fc.nat(300), (pairs, hold, a, b) => {
      pairs.sort(([x], [y]) => x - y)
      const given = { times: pairs.map(([time]) => time), values: pairs.map(([, value]) => value) }
      const [from, to] = [Math.min(a, b), Math.max(a, b)]
      const steps = heldSteps(given, hold)
      const expected = slowly(given, hold, from, to)
      assert.equal(steps.covered({ from, to }), expected.covered)
      assert.ok(Math.abs(steps.integral({ from, to }) - expected.integral) < 1e-9)
    }),
    { numRuns: 300 },
  )
})
