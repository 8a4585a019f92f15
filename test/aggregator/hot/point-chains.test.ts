import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BLOCK_BYTES, PointChains } from '../../../aggregator/hot/point-chains.ts'

type Op = readonly [kind: 'add' | 'next' | 'read' | 'drop', slot: number, time: number, x: number]

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(fc.constant('add' as const), fc.nat(2), fc.nat(60), fc.nat(1000)) },
  // Nearly in order, as they usually are.
  {
    weight: 20,
    arbitrary: fc.tuple(fc.constant('next' as const), fc.nat(2), fc.integer({ min: -9, max: 4 }), fc.nat(1000)),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('read' as const), fc.nat(2), fc.nat(60), fc.nat(60)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('drop' as const), fc.nat(2), fc.nat(60), fc.constant(0)) },
)

/** Of a point by its arrival; some are stale markers. */
function valueAt(arrival: number): number {
  return arrival % 3 === 0 ? Number.NaN : arrival
}

test('PointChains keep, for each instant from the floor on, the value with the larger arrival, in order of time, and find the newest', () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 250, size: 'max' }), (ops) => {
      const chains = new PointChains()
      const model = [0, 1, 2].map(() => new Map<number, number>())
      const floor = [0, 0, 0]
      const last = [0, 0, 0]
      for (const [kind, slot, given, x] of ops) {
        const time = kind === 'next' ? Math.max(0, last[slot]! + given) : given
        if (kind === 'add' || kind === 'next') {
          last[slot] = Math.max(last[slot]!, time)
          // A larger arrival replaces.
          chains.add(slot, time, valueAt(x), x)
          model[slot]!.set(time, Math.max(x, model[slot]!.get(time) ?? -1))
        } else if (kind === 'drop') {
          chains.dropBefore(slot, time)
          floor[slot] = Math.max(floor[slot]!, time)
        } else {
          const got: [number, number][] = []
          const from = Math.max(time, floor[slot]!)
          const inRange = [...model[slot]!]
            .filter(([t]) => t >= from && t <= time + x)
            .sort((a, b) => a[0] - b[0])
            .map(([t, arrival]): [number, number] => [t, valueAt(arrival)])
          const newest = inRange.findLast(([, value]) => Number.isFinite(value))?.[0]
          assert.equal(chains.latest(slot, from, time + x), newest ?? Number.NEGATIVE_INFINITY)
          chains.read(slot, from, time + x, (t, value) => got.push([t, value]))
          assert.deepEqual(got, inRange)
        }
      }
    }),
    { numRuns: 1000 },
  )
})

test('PointChains give memory back before a time whatever order the points came in', () => {
  const chains = new PointChains()
  // Every third comes forty late: beyond the block that is being filled.
  for (let i = 0; i < 1600; i++) chains.add(0, i % 3 === 0 ? i - 40 : i, i, i)
  const all = chains.bytes
  chains.dropBefore(0, 800)
  assert.ok(chains.bytes < 0.6 * all, `${chains.bytes} of ${all}`)
  const times: number[] = []
  chains.read(0, 800, 2000, (time) => times.push(time))
  assert.deepEqual(
    times,
    [...new Set(Array.from({ length: 1600 }, (_, i) => (i % 3 === 0 ? i - 40 : i)))]
      .filter((t) => t >= 800)
      .sort((a, b) => a - b),
  )
  chains.dropBefore(0, 2000)
  assert.equal(chains.bytes, 0)
})

test('PointChains give memory back with the points', () => {
  const chains = new PointChains()
  for (let i = 0; i < 10_000; i++) chains.add(i % 10, i, i, i)
  assert.ok(chains.bytes >= (10_000 / 16) * BLOCK_BYTES)
  for (let slot = 0; slot < 10; slot++) chains.dropBefore(slot, 1e9)
  assert.equal(chains.bytes, 0)
  assert.ok(chains.isEmpty(3))
})

test('PointChains tell an empty series from one that was never there', () => {
  const chains = new PointChains()
  assert.ok(chains.isEmpty(5_000_000))
  chains.read(5_000_000, 0, 1, () => assert.fail())
})
