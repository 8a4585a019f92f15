/** Counters that are not in memory: one query for many askers, deadlines, bounds, and an engine that is away. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ColdCounts } from '../../../aggregator/quotas/cold-counts.ts'
import type { ColdCounter } from '../../../aggregator/quotas/decision.ts'
import type { CountedSlots } from '../../../aggregator/quotas/quotas-fold.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'

/** A query that ends when the test says so. */
interface Query {
  readonly counters: readonly ColdCounter[]
  readonly answer: () => void
  readonly fail: () => void
}

class Rig {
  readonly queries: Query[] = []
  readonly finished: (readonly CountedSlots[])[] = []
  abandoned = 0
  loaded = true
  readonly counts: ColdCounts

  constructor(t: TestContext, waitingMax = 10_000) {
    this.counts = new ColdCounts({
      fold: {
        count: () =>
          this.loaded
            ? {
                upTo: 1,
                finish: (counted) => this.finished.push(counted),
                abandon: () => {
                  this.abandoned++
                },
              }
            : undefined,
      },
      sums: {
        of: (counters) =>
          new Promise<CountedSlots[]>((resolve, reject) => {
            const answer = (): void => resolve(counters.map((counter) => ({ counter, slots: [] })))
            this.queries.push({ counters, answer, fail: () => reject(new Error('the engine is away')) })
          }),
      },
      waitingMax,
      monotonic: () => 0,
      log: silentLogger,
    })
    t.after(() => this.counts.stop())
  }
}

function counter(subject: string, more: Partial<ColdCounter> = {}): ColdCounter {
  const window = { kind: 'month', zone: 'UTC' } as const
  return {
    tenant: 'a',
    level: 'user',
    subject,
    resource: 'tokens',
    window,
    period: { from: 0, to: 1 },
    ...more,
  }
}

const LONG = 60_000

test('a thousand that ask for one subject at once make one query', async (t) => {
  const rig = new Rig(t)
  const asked = Array.from({ length: 1000 }, () => rig.counts.wait([counter('ada'), counter('bob')], LONG))
  await turn()
  await turn()
  assert.equal(rig.queries.length, 1)
  // Those that come while it runs wait for the same one.
  const later = rig.counts.wait([counter('bob')], LONG)
  await turn()
  rig.queries[0]!.answer()
  assert.deepEqual(new Set(await Promise.all([...asked, later])), new Set([true]))
  assert.equal(rig.queries.length, 1)
  assert.deepEqual(
    rig.finished[0]!.map(({ counter: one }) => one.subject),
    ['ada', 'bob'],
  )
  assert.equal(rig.counts.waiting, 0)
})

test('windows and periods of one subject are counted apart', async (t) => {
  const rig = new Rig(t)
  const done = rig.counts.wait(
    [
      counter('ada'),
      counter('ada', { window: { kind: 'day', zone: 'UTC' } }),
      counter('ada', { window: { kind: 'month', zone: 'Asia/Tokyo' } }),
      counter('ada', { period: { from: 1, to: 2 } }),
    ],
    LONG,
  )
  await turn()
  assert.equal(rig.queries[0]!.counters.length, 4)
  rig.queries[0]!.answer()
  assert.equal(await done, true)
})

test('who waits is told at the deadline, and the count goes on for the next one', async (t) => {
  const rig = new Rig(t)
  const late = rig.counts.wait([counter('ada')], 1)
  await turn()
  assert.equal(rig.queries.length, 1)
  assert.equal(await late, false)
  const next = rig.counts.wait([counter('ada')], LONG)
  await turn()
  assert.equal(rig.queries.length, 1, 'no second query for the same')
  rig.queries[0]!.answer()
  assert.equal(await next, true)
})

test('a count that fails is told, and the next one asks again', async (t) => {
  const rig = new Rig(t)
  const first = rig.counts.wait([counter('ada')], LONG)
  await turn()
  rig.queries[0]!.fail()
  assert.equal(await first, false)
  assert.deepEqual([rig.abandoned, rig.counts.counts.failures], [1, 1])
  assert.match(rig.counts.problem!, /away/)
  const second = rig.counts.wait([counter('ada')], LONG)
  await turn()
  rig.queries[1]!.answer()
  assert.equal(await second, true)
  assert.equal(rig.counts.problem, undefined)
})

test('two queries at a time; what asks meanwhile goes together into the next one', async (t) => {
  const rig = new Rig(t)
  const all: Promise<boolean>[] = []
  for (const subject of ['a', 'b', 'c', 'd', 'e']) {
    all.push(rig.counts.wait([counter(subject)], LONG))
    await turn()
  }
  assert.equal(rig.queries.length, 2)
  rig.queries[0]!.answer()
  await turn()
  await turn()
  assert.deepEqual(
    rig.queries.map(({ counters }) => counters.length),
    [1, 1, 3],
  )
  for (const query of rig.queries) query.answer()
  assert.deepEqual(await Promise.all(all), [true, true, true, true, true])
})

test('a query asks for no more names, and no more sums, than an engine takes', async (t) => {
  const rig = new Rig(t)
  const long = Array.from({ length: 900 }, (_, i) => counter(`${'x'.repeat(250)}${i}`))
  const rolling = Array.from({ length: 60 }, (_, i) =>
    counter(`r${i}`, { window: { kind: 'rolling', seconds: 35 * 86_400 } }),
  )
  const done = rig.counts.wait([...long, ...rolling], LONG)
  for (let i = 0; i < 20; i++) {
    await turn()
    for (const query of rig.queries) query.answer()
  }
  assert.equal(await done, true)
  for (const { counters } of rig.queries) {
    assert.ok(counters.reduce((sum, { subject }) => sum + subject.length, 0) <= 100_000)
    assert.ok(counters.filter(({ window }) => window.kind === 'rolling').length <= 30)
  }
  assert.equal(rig.queries.flatMap(({ counters }) => counters).length, 960)
})

test('beyond its bound it answers at once', async (t) => {
  const rig = new Rig(t, 2)
  const first = rig.counts.wait([counter('a'), counter('b')], LONG)
  assert.equal(await rig.counts.wait([counter('c')], LONG), false)
  assert.equal(rig.counts.counts.refused, 1)
  await turn()
  rig.queries[0]!.answer()
  assert.equal(await first, true)
  assert.equal(rig.counts.waiting, 0)
})

test('what cannot be counted yet is asked for again until it can', async (t) => {
  const rig = new Rig(t)
  rig.loaded = false
  const done = rig.counts.wait([counter('a')], LONG)
  await turn()
  assert.equal(rig.queries.length, 0)
  rig.loaded = true
  while (rig.queries.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  rig.queries[0]!.answer()
  assert.equal(await done, true)
})

test('at the end nobody is left waiting', async (t) => {
  const rig = new Rig(t)
  rig.loaded = false
  const done = rig.counts.wait([counter('a')], LONG)
  await turn()
  rig.counts.stop()
  assert.equal(await done, false)
  assert.equal(await rig.counts.wait([counter('b')], LONG), false)
})
