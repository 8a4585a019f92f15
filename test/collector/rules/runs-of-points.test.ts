/** Points that are put and decided many at a time, against the same points one by one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PointRun } from '../../../collector/rules/lane.ts'
import { NO_MEMBERSHIP } from '../../../collector/rules/memberships.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import { ShardRules, TAKEN } from '../../../collector/rules/shard-rules.ts'

const BASE = 1_761_991_200_000
const SOURCES = [0, 1, 255]
const { rules, problems } = readRules([
  { match: ['a', 'd'], interval: '10s', by: ['g'], outputs: ['sum', 'last'], grace: '0s', keep_input: false },
  { match: ['b', 'd'], interval: '20s', outputs: ['increase'], grace: '1s', keep_input: false },
  { match: 'c', interval: '10s', outputs: ['max'], grace: '0s' },
])
assert.deepEqual(problems, [])

const point = fc.record({
  name: fc.constantFrom('a', 'a', 'a', 'b', 'c', 'd', 'none'),
  ref: fc.nat(2),
  time: fc.integer({ min: -25, max: 12 }).map((s) => s * 1000),
  value: fc.constantFrom(0, 1, 0.1, 1e16, Number.NaN),
})
const write = fc.record({
  points: fc.array(point, { maxLength: 12 }),
  source: fc.constantFrom(0, 1),
  passMs: fc.constantFrom(0, 900, 4000, 11_000),
  emit: fc.boolean(),
  forget: fc.boolean(),
})
const newShard = (pointsMax: number) => new ShardRules(rules, { keepMs: 15_000, pointsMax, groupsMax: 3 })

test('ShardRules.addAll() and decideAll() do what add() and decide() do, whatever lies beside what', () => {
  fc.assert(
    fc.property(
      fc.array(write, { maxLength: 12, size: 'max' }),
      fc.constantFrom(1e6, 15),
      fc.constantFrom(undefined, -12_000),
      (writes, pointsMax, floor) => {
        const one = newShard(pointsMax)
        const many = newShard(pointsMax)
        if (floor !== undefined) for (const shard of [one, many]) shard.raiseFloor(BASE + floor)
        let now = BASE
        for (const [w, { points, source, passMs, emit, forget }] of writes.entries()) {
          now += passMs
          const at = now * 1000 + w
          const members = (shard: ShardRules) =>
            points.map(({ name, ref }) => shard.join('t', name, [['g', String(ref)]]))
          const run: PointRun = {
            start: 0,
            end: points.length,
            membership: Int32Array.from(members(many)),
            series: Int32Array.from(points, (_, i) => i),
            refs: Uint32Array.from(points, ({ name, ref }) => 3 * name.charCodeAt(0) + ref),
            times: Float64Array.from(points, ({ time }) => now + time),
            words: new Uint32Array(Float64Array.from(points, ({ value }) => value).buffer),
            drops: undefined,
            at,
            source,
          }
          const drops = new Uint8Array(points.length).fill(7)
          const count = many.decideAll(run, drops)
          const wanted = members(one).map((m, i) =>
            m !== NO_MEMBERSHIP && one.drops(m) && one.hasRoomFor(m) && one.decide(m, run.times[i]!, at) === TAKEN
              ? 1
              : 0,
          )
          assert.deepEqual([...drops], wanted)
          assert.equal(
            count,
            wanted.reduce((n: number, drop) => n + drop, 0),
          )
          const told = many.addAll({ ...run, drops })
          let toldBy = 0
          for (const [i, m] of members(one).entries()) {
            if (m === NO_MEMBERSHIP) continue
            const { refs, times, words } = run
            one.add(m, refs[i]!, times[i]!, words[2 * i]!, words[2 * i + 1]!, at, drops[i] === 1 ? source : 255)
            if (drops[i] === 1) toldBy = Math.max(toldBy, one.toldBy(m, times[i]!, at))
          }
          assert.equal(told.count, count)
          if (count > 0) assert.equal(told.toldBy, toldBy)
          assert.equal(many.points, one.points)
          assert.deepEqual(many.counts, one.counts)
          if (emit) assert.deepEqual(plain(many.emit(now, true)), plain(one.emit(now, true)))
          if (forget) for (const shard of [one, many]) shard.forget(now)
        }
        now += 3_600_000
        for (let n = 0; n < 2; n++) assert.deepEqual(plain(many.emit(now)), plain(one.emit(now)))
      },
    ),
    { numRuns: 2000 },
  )
})

/** What is given out; of what is counted as not stored, the sources that somebody reads. */
function plain(emission: ReturnType<ShardRules['emit']>): unknown {
  return {
    ...emission,
    windows: emission!.windows.map(({ dropped, ...window }) => ({
      ...window,
      dropped: SOURCES.slice(0, 2).map((source) => dropped?.[source] ?? 0),
    })),
  }
}
