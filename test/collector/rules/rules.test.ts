/**
 * Shards and merger against a model that recomputes everything from the list of points: through any interleaving of late,
 * repeated and replaced points, emissions, and restarts of a shard. And the model with a defect, which must be noticed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NO_MEMBERSHIP } from '../../../collector/rules/memberships.ts'
import { Merger } from '../../../collector/rules/merger.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import { LATE, ShardRules, TAKEN } from '../../../collector/rules/shard-rules.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { STALE_HIGH, STALE_LOW } from '../../../proto/wire/remote-write.ts'
import type { OutputPoint } from '../../support/output-points.ts'
import { outputPoints } from '../../support/output-points.ts'
import type { ModelDefect, RulePoint } from '../../support/rules-model.ts'
import { floatText, histogramText, MODEL_DEFECTS, rulesModel } from '../../support/rules-model.ts'

const { rules, problems } = readRules([
  {
    match: ['a', '{__name__="c", h="1"}'],
    interval: '10s',
    by: ['g'],
    outputs: ['count', 'sum', 'avg', 'min', 'max', 'last', 'histogram', 'quantiles(0, 0.3, 0.5, 1)', 'rate'],
    grace: '0s',
  },
  { match: '{__name__=~"a|c"}', interval: '20s', outputs: ['increase', 'count'], keep_input: false, grace: '1s' },
  { match: 'b', interval: '10s', without: ['h'], outputs: ['increase', 'last', 'sum'], grace: '1s', keep_input: false },
  // Without counters: points are folded as they lie.
  { match: ['a', 'b'], interval: '30s', by: ['g'], outputs: ['count', 'sum', 'avg', 'max', 'last'], grace: '2s' },
])
assert.deepEqual(problems, [])

const BASE = 1_761_991_200_000
const KEEP_MS = 15_000
const SHARDS = 2
const options = { keepMs: KEEP_MS, collector: 'me' }
const series: readonly { name: string; labels: readonly Label[] }[] = [
  { name: 'a', labels: [['g', 'x']] },
  {
    name: 'a',
    labels: [
      ['g', 'x'],
      ['h', '1'],
    ],
  },
  { name: 'a', labels: [['g', 'y']] },
  {
    name: 'b',
    labels: [
      ['g', 'x'],
      ['h', '1'],
    ],
  },
  {
    name: 'b',
    labels: [
      ['g', 'x'],
      ['h', '2'],
    ],
  },
  { name: 'c', labels: [['h', '1']] },
  { name: 'c', labels: [] },
]

type Op =
  | { readonly kind: 'add'; readonly series: number; readonly time: number; readonly value: number | undefined }
  | { readonly kind: 'again'; readonly which: number; readonly sameArrival: boolean }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'emit'; readonly shard: number; readonly urgent: boolean; readonly work: number }
  | { readonly kind: 'forget'; readonly shard: number }
  | { readonly kind: 'restart'; readonly shard: number; readonly all: boolean }

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      series: fc.nat(series.length - 1),
      time: fc.oneof(
        fc.integer({ min: -25, max: 3 }).map((s) => s * 1000),
        fc.constantFrom(-10_001, -9_999, 1, -1, -5),
      ),
      value: fc.constantFrom(0, -0, 1, 2, 3, 5, 0.1, 0.2, -7, 1e16, 1e308, NaN, Infinity, -Infinity, undefined),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('again' as const), which: fc.nat(), sameArrival: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 900, 3000, 10_000) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('emit' as const),
      work: fc.constantFrom(1, 4, Number.POSITIVE_INFINITY),
      shard: fc.nat(SHARDS - 1),
      urgent: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), shard: fc.nat(SHARDS - 1) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restart' as const), shard: fc.nat(SHARDS - 1), all: fc.boolean() }),
  },
)

/** A shard with the memory that its journal is. */
class Shard {
  rules = new ShardRules(rules, { keepMs: KEEP_MS, pointsMax: 1e6, groupsMax: 1000 })
  readonly journal: (RulePoint & { readonly series: number })[] = []

  add(point: RulePoint & { readonly series: number }): void {
    this.journal.push(point)
    this.#put(point)
  }

  /** Everything in memory goes. @param all of the journal is kept; else only what is said to be needed */
  restart(all: boolean, now: number): void {
    const oldest = this.rules.oldestStart(now)
    this.rules = new ShardRules(rules, { keepMs: KEEP_MS, pointsMax: 1e6, groupsMax: 1000 })
    if (!all) this.rules.raiseFloor(oldest)
    for (const point of this.journal) if (all || point.time > oldest) this.#put(point)
  }

  #put({ series: s, name, labels, time, value, at }: RulePoint & { readonly series: number }): void {
    const membership = this.rules.join('t', name, labels)
    assert.notEqual(membership, NO_MEMBERSHIP)
    const [low, high] = wordsOf(value)
    this.rules.add(membership, 7 + s, time, low, high, at, 0)
  }
}

function wordsOf(value: number | undefined): [low: number, high: number] {
  if (value === undefined) return [STALE_LOW, STALE_HIGH]
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  return [view.getUint32(4), view.getUint32(0)]
}

const textOf = ({ output }: OutputPoint) =>
  output.kind === 'float'
    ? floatText(output.value)
    : output.kind === 'histogram'
      ? histogramText(output.histogram)
      : undefined

/** Runs the operations to their end. @returns what was given out last, and all points */
function run(ops: readonly Op[]): { given: Map<string, string>; points: RulePoint[] } {
  const shards = Array.from({ length: SHARDS }, () => new Shard())
  const merger = new Merger(rules, SHARDS, options)
  const given = new Map<string, string>()
  let now = BASE
  let at = 0
  const give = (): void => {
    for (const point of outputPoints(merger)) {
      const key = `${point.rule} ${JSON.stringify(point.labels)} ${point.time}`
      const text = textOf(point)
      assert.notEqual(text, given.get(key), 'given out again, though it is the same')
      if (text === undefined) given.delete(key)
      else given.set(key, text)
    }
  }
  const arrival = (): number => {
    at = Math.max(at + 1, now * 1000)
    return at
  }
  const perform = (o: Op): void => {
    switch (o.kind) {
      case 'add': {
        const { name, labels } = series[o.series]!
        // Times in whole seconds of the day, so that edges of windows are met.
        const time =
          o.time % 1000 === 0 ? Math.floor(now / 1000) * 1000 + o.time : Math.floor(now / 10_000) * 10_000 + o.time
        shards[o.series % SHARDS]!.add({ series: o.series, name, labels, time, value: o.value, at: arrival() })
        return
      }
      case 'again': {
        const { journal } = shards[o.which % SHARDS]!
        const point = journal[o.which % Math.max(1, journal.length)]
        if (point !== undefined) shards[o.which % SHARDS]!.add(o.sameArrival ? point : { ...point, at: arrival() })
        return
      }
      case 'pass':
        now += o.ms
        return
      case 'emit': {
        const emission = shards[o.shard]!.rules.emit(now, o.urgent, o.work)
        if (emission === undefined) return
        merger.take(o.shard, structuredClone(emission))
        give()
        return
      }
      case 'forget':
        shards[o.shard]!.rules.forget(now)
        return
      case 'restart':
        shards[o.shard]!.restart(o.all, now)
        return
      default:
        o satisfies never
    }
  }
  for (const o of ops) perform(o)
  now += 3_600_000
  // Twice: one may have been under way.
  for (let n = 0; n < 2 * SHARDS; n++)
    perform({ kind: 'emit', shard: n % SHARDS, urgent: false, work: Number.POSITIVE_INFINITY })
  return { given, points: shards.flatMap((shard) => shard.journal) }
}

const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
const ops = fc.array(op, { maxLength: 80, size: 'max' })

test('Shards and merger end with what the model says, bit for bit, and give nothing out twice', () => {
  fc.assert(
    fc.property(ops, (all) => {
      const { given, points } = run(all)
      assert.deepEqual(sorted(given), sorted(rulesModel(rules, points, options)))
    }),
    { numRuns: 600 },
  )
})

test('What was given out stays when a restart has its points in part only, and late ones come while it is given out anew', () => {
  const all: Op[] = [
    { kind: 'add', series: 0, time: -10_001, value: 0 },
    { kind: 'pass', ms: 29_000 },
    { kind: 'emit', shard: 0, urgent: false, work: Number.POSITIVE_INFINITY },
    { kind: 'pass', ms: 20_000 },
    { kind: 'forget', shard: 0 },
    { kind: 'restart', shard: 0, all: false },
    { kind: 'emit', shard: 0, urgent: true, work: 1 },
    { kind: 'again', which: 0, sameArrival: true },
  ]
  const { given, points } = run(all)
  assert.deepEqual(sorted(given), sorted(rulesModel(rules, points, options)))
})

for (const defect of MODEL_DEFECTS) {
  test(`The property notices this defect: ${defect}`, () => {
    const agrees = (all: readonly Op[], wrong?: ModelDefect): boolean => {
      const { given, points } = run(all)
      return JSON.stringify(sorted(given)) === JSON.stringify(sorted(rulesModel(rules, points, options, wrong)))
    }
    const result = fc.check(
      fc.property(ops, (all) => agrees(all, defect)),
      { numRuns: 5000, endOnFailure: true },
    )
    assert.ok(result.failed)
    assert.ok(agrees(result.counterexample![0]))
  })
}

test('The order of arrival at a shard, repeats, and the division into shards change no bit', () => {
  const point = fc.record({
    series: fc.nat(series.length - 1),
    time: fc.integer({ min: -4, max: 20 }).map((s) => BASE + s * 1000),
    value: fc.oneof(fc.double(), fc.constantFrom(undefined, 0, -0, 0.1, 3, 1e308)),
  })
  const points = fc.array(point, { maxLength: 40, size: 'max' }).map((all) =>
    // The instant of a series has an arrival, whichever way the point comes.
    all.map((p, i) => ({ ...p, at: BASE * 1000 + i })),
  )
  const outcome = (all: readonly (RulePoint & { series: number })[], shardOf: (series: number) => number): string => {
    const shards = Array.from({ length: SHARDS }, () => new Shard())
    for (const p of all) shards[shardOf(p.series)]!.add(p)
    const merger = new Merger(rules, SHARDS, options)
    for (const [i, shard] of shards.entries()) merger.take(i, shard.rules.emit(BASE + 3_600_000)!)
    return JSON.stringify(
      sorted(
        new Map(
          outputPoints(merger).map((p) => [`${p.rule} ${JSON.stringify(p.labels)} ${p.time}`, String(textOf(p))]),
        ),
      ),
    )
  }
  fc.assert(
    fc.property(
      points.chain((all) =>
        fc.record({
          all: fc.constant(all),
          repeats: fc.subarray(all),
          shuffled: fc.shuffledSubarray(all, { minLength: all.length }),
        }),
      ),
      ({ all, repeats, shuffled }) => {
        const complete = (ps: typeof all) => ps.map((p) => ({ ...p, ...series[p.series]! }))
        const expected = outcome(complete(all), (s) => s % SHARDS)
        assert.equal(
          outcome(complete([...repeats, ...shuffled, ...repeats]), () => 0),
          expected,
        )
        assert.equal(
          outcome(complete(shuffled), (s) => (s >> 1) % SHARDS),
          expected,
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('What is TAKEN of a rule that drops its input is reported once, by source', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(op, op, op), { maxLength: 60, size: 'max' }), (all) => {
      const shard = new ShardRules(rules, { keepMs: KEEP_MS, pointsMax: 1e6, groupsMax: 1000 })
      const taken = [0, 0, 0]
      const reported = [0, 0, 0]
      let now = BASE
      const emit = (): void => {
        for (const { dropped } of shard.emit(now, true)!.windows)
          for (const s of [0, 1, 2]) reported[s]! += dropped?.[s] ?? 0
      }
      for (const [i, o] of all.entries()) {
        if (o.kind === 'pass') now += o.ms
        else if (o.kind === 'emit') emit()
        else if (o.kind === 'add') {
          const { name, labels } = series[o.series]!
          const membership = shard.join('t', name, labels)
          const decided = shard.decide(membership, now + o.time, now * 1000 + i)
          const took = shard.add(membership, o.series, now + o.time, ...wordsOf(o.value), now * 1000 + i, i % 3)
          assert.equal(took, decided)
          if (took === TAKEN && shard.drops(membership)) taken[i % 3]!++
          else assert.ok(took === LATE || !shard.drops(membership))
        }
      }
      now += 3_600_000
      emit()
      emit()
      assert.deepEqual(reported, taken)
    }),
  )
})
