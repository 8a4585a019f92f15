/** What tasks were counted and what is idle is what a GPU delivered and what nobody measured: to the µs, and to a millionth of the price. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Counted, GpuSlot, GpuTime } from '../../../aggregator/tasks/gpu-time.ts'
import { dividedByGpu, gpuSlots as slotsInTurn, timeBySlot } from '../../../aggregator/tasks/gpu-time.ts'
import type { Delivered, Holder } from '../../../aggregator/tasks/shares.ts'
import { deliveredTime, priced, SLOT_MS, sharesOf } from '../../../aggregator/tasks/shares.ts'
import { clipped, unionOf, without } from '../../../aggregator/tasks/spans.ts'
import type { Span } from '../../../aggregator/tasks/step-function.ts'
import type { ResourcePrices } from '../../../aggregator/tasks/task-prices.ts'

const T0 = Date.parse('2026-01-31T12:00:00.000Z')
const SLOTS = 4
const PERIOD: Span = { from: T0, to: T0 + SLOTS * SLOT_MS }
const gpuSlots = (gpu: GpuTime): GpuSlot[] => [...slotsInTurn(gpu)]
/** Times are whole ticks, so that what is true can be counted tick by tick. */
const TICK_MS = 7001

const span = fc
  .tuple(fc.integer({ min: 0, max: 510 }), fc.integer({ min: 0, max: 510 }))
  .map(([a, b]) => ({ from: T0 + Math.min(a, b) * TICK_MS, to: T0 + Math.max(a, b) * TICK_MS }))

/** A price an hour that changes in the middle of a slot. */
const pricesWith = (before: number, then: number, change: number): ResourcePrices => ({
  changes: [change],
  costOf: (amount, from) => Math.round((amount / 3.6e9) * (from < change ? before : then)),
  held: () => ({ currency: 'EUR', ids: [] }),
})

const story = fc.record({
  there: fc.array(span, { maxLength: 5 }).map(unionOf),
  tasks: fc.array(span, { maxLength: 6 }),
  prices: fc
    .tuple(
      fc.integer({ min: 0, max: 9_999_999 }),
      fc.integer({ min: 0, max: 9_999_999 }),
      fc.integer({ min: 0, max: 510 }),
    )
    .map(([before, then, tick]) => pricesWith(before, then, T0 + tick * TICK_MS)),
})

/** Each of the tasks as it is calculated: by itself, with those that were there. */
function countedOf(tasks: readonly Span[], prices: ResourcePrices): Map<number, Counted> {
  const holders: Holder[] = tasks.map((task, i) => ({ ...task, key: `t${i}` }))
  const out = new Map<number, { amount: number; costs: Map<string, number> }>()
  const add = (
    delivered: Delivered,
    put: (counted: { amount: number; costs: Map<string, number> }, n: number) => void,
  ) => {
    for (const { key, from, to } of holders)
      for (const share of sharesOf(holders, delivered, { from, to }))
        if (share.key === key) {
          const counted = out.get(share.slot) ?? { amount: 0, costs: new Map([['EUR', 0]]) }
          out.set(share.slot, counted)
          put(counted, share.amount)
        }
  }
  add(deliveredTime, (counted, n) => {
    counted.amount += n
  })
  add(priced(deliveredTime, prices.costOf, prices.changes), ({ costs }, n) => costs.set('EUR', costs.get('EUR')! + n))
  return out
}

const sumOf = (slots: readonly GpuSlot[], name: Exclude<keyof GpuSlot, 'currency'>): number =>
  slots.reduce((sum, slot) => sum + slot[name], 0)

/** Ticks of the slots that the first has and, as is wanted, the second has or has not; µs. */
function ticks(spans: readonly Span[], others: readonly Span[], both: boolean): number {
  let count = 0
  const has = (all: readonly Span[], time: number): boolean => all.some(({ from, to }) => from <= time && time < to)
  for (let i = 0; i <= 510; i++) {
    const time = T0 + i * TICK_MS
    if (time < PERIOD.to && has(spans, time) && has(others, time) === both)
      count += Math.min(TICK_MS, PERIOD.to - time) * 1000
  }
  return count
}

const clippedStory = (
  tasks: readonly Span[],
  there: readonly Span[],
  period: Span,
): Pick<GpuTime, 'there' | 'held'> => ({
  there: clipped(there, period),
  held: clipped(tasks, period),
})

const conserves = (core: typeof gpuSlots): fc.IProperty<unknown> =>
  fc.property(story, ({ there, tasks, prices }) => {
    const counted = countedOf(clipped(tasks, PERIOD), prices)
    const slots = core({ ...clippedStory(tasks, there, PERIOD), counted, prices })
    for (const { delivered, attributed, idle, unmeasured } of slots) {
      assert.equal(attributed + idle, delivered + unmeasured)
      assert.ok([delivered, attributed, idle, unmeasured].every((n) => Number.isSafeInteger(n) && n >= 0))
    }
    assert.equal(sumOf(slots, 'delivered'), ticks(there, [], false))
    assert.equal(sumOf(slots, 'idle'), ticks(there, tasks, false))
    assert.equal(sumOf(slots, 'unmeasured'), ticks(tasks, there, false))
    // Money: what was held and not measured is the only difference.
    const unmeasured = sharesOf(
      without(unionOf(tasks), there).map((one, i) => ({ ...one, key: `${i}` })),
      priced(deliveredTime, prices.costOf, prices.changes),
      PERIOD,
    )
    const cost = unmeasured.filter(({ key }) => key !== undefined).reduce((sum, { amount }) => sum + amount, 0)
    const ofPriced = slots.filter(({ currency }) => currency === 'EUR')
    assert.equal(sumOf(slots, 'attributedCost') + sumOf(ofPriced, 'idleCost'), sumOf(ofPriced, 'deliveredCost') + cost)
  })

test('attributed + idle = delivered + unmeasured, each what it is tick by tick, and so are the costs', () => {
  fc.assert(conserves(gpuSlots), { numRuns: 300 })
})

const broken: readonly (readonly [name: string, core: typeof gpuSlots])[] = [
  [
    'idle is taken as a difference of sums, and gaps in samples pay for it',
    (gpu) =>
      gpuSlots(gpu).map((slot) => ({
        ...slot,
        idle: Math.max(0, slot.delivered - slot.attributed),
        unmeasured: Math.max(0, slot.attributed - slot.delivered),
      })),
  ],
  ['what no sample measured is left out', (gpu) => gpuSlots(gpu).map((slot) => ({ ...slot, unmeasured: 0 }))],
  ['one of the tasks is not looked at', (gpu) => gpuSlots({ ...gpu, held: gpu.held.slice(1) })],
  [
    'costs are rounded by themselves',
    (gpu) =>
      gpuSlots(gpu).map((slot) => ({
        ...slot,
        idleCost: gpu.prices!.costOf(slot.idle, slot.slot, slot.slot + SLOT_MS),
      })),
  ],
]
for (const [name, core] of broken)
  test(`control: it is found out where ${name}`, () => {
    assert.equal(fc.check(conserves(core), { numRuns: 300, endOnFailure: true, seed: 7 }).failed, true)
  })

test('two halves of a period are the whole', () => {
  fc.assert(
    fc.property(story, fc.integer({ min: 1, max: SLOTS - 1 }), ({ there, tasks, prices }, slot) => {
      const counted = countedOf(clipped(tasks, PERIOD), prices)
      const middle = T0 + slot * SLOT_MS
      const of = (period: Span): GpuSlot[] =>
        gpuSlots({
          ...clippedStory(tasks, there, period),
          counted: new Map([...counted].filter(([at]) => at >= period.from && at < period.to)),
          prices,
        })
      const halves = [...of({ from: T0, to: middle }), ...of({ from: middle, to: PERIOD.to })]
      assert.deepEqual(halves, of(PERIOD))
    }),
    { numRuns: 200 },
  )
})

test('counted less than held is idle, counted more is unmeasured', () => {
  const minute = { from: T0, to: T0 + 60_000 }
  const slot = (amount: number): GpuSlot =>
    gpuSlots({
      there: [{ from: T0, to: T0 + 100_000 }],
      held: [minute],
      counted: new Map([[T0, { amount, costs: new Map() }]]),
      prices: undefined,
    })[0]!
  const plain = ({ delivered, attributed, idle, unmeasured }: GpuSlot): number[] => [
    delivered,
    attributed,
    idle,
    unmeasured,
  ]
  assert.deepEqual(plain(slot(60e6)), [100e6, 60e6, 40e6, 0])
  assert.deepEqual(plain(slot(45e6)), [100e6, 45e6, 55e6, 0])
  // Two tenants at once.
  assert.deepEqual(plain(slot(120e6)), [100e6, 120e6, 40e6, 60e6])
})

test('a slot that no price holds for has no cost; tasks that paid in another currency are a line of their own', () => {
  const there = [{ from: T0, to: T0 + 60_000 }]
  const prices: ResourcePrices = {
    changes: [],
    costOf: () => 5,
    held: () => ({ reason: 'no_price_then', detail: '' }),
  }
  const counted = new Map([[T0, { amount: 1e6, costs: new Map([['USD', 3]]) }]])
  const slots = gpuSlots({ there, held: [{ from: T0, to: T0 + 1000 }], counted, prices })
  assert.deepEqual(
    slots.map(({ currency, idle, idleCost, attributed, attributedCost }) => [
      currency,
      idle,
      idleCost,
      attributed,
      attributedCost,
    ]),
    [
      ['', 59e6, 0, 1e6, 0],
      ['USD', 0, 0, 0, 3],
    ],
  )
})

test('dividedByGpu() gives each GPU what tasks had on it, and all of what was counted', () => {
  const onGpus = fc.array(fc.tuple(span, fc.subarray([0, 1, 2], { minLength: 1 })), { maxLength: 6 })
  fc.assert(
    fc.property(onGpus, fc.integer({ min: -1000, max: 1000 }), (tasks, more) => {
      const held = [0, 1, 2].map((gpu) =>
        timeBySlot(unionOf(tasks.flatMap(([task, on]) => (on.includes(gpu) ? [task] : [])))),
      )
      const counted = new Map<number, Counted>()
      for (const one of held)
        for (const [slot, time] of one)
          counted.set(slot, { amount: (counted.get(slot)?.amount ?? 0) + time, costs: new Map([['EUR', 1001]]) })
      const parts = dividedByGpu(counted, held)
      const times = parts.map((part) => new Map([...part].map(([slot, { amount }]) => [slot, amount])))
      assert.deepEqual(times, held)
      // Of what was calculated before a neighbour came all is divided, too.
      const other = new Map([...counted].map(([slot, { amount, costs }]) => [slot, { amount: amount + more, costs }]))
      for (const [slot, { amount }] of other)
        assert.equal(
          dividedByGpu(other, held).reduce((sum, part) => sum + (part.get(slot)?.amount ?? 0), 0),
          amount,
        )
      for (const slot of counted.keys())
        assert.equal(
          parts.reduce((sum, part) => sum + (part.get(slot)?.costs.get('EUR') ?? 0), 0),
          1001,
        )
    }),
    { numRuns: 200 },
  )
})

test('dividedByGpu() keeps what was paid for nothing, or for less than there are GPUs', () => {
  const held = [new Map([[T0, 5]]), new Map([[T0, 5]])]
  for (const amount of [0, 1]) {
    const parts = dividedByGpu(new Map([[T0, { amount, costs: new Map([['IDR', 16]]) }]]), held)
    assert.equal(
      parts.reduce((sum, part) => sum + (part.get(T0)?.costs.get('IDR') ?? 0), 0),
      16,
    )
  }
})
