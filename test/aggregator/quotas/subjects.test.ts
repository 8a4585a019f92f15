import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Counter } from '../../../aggregator/quotas/counter.ts'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { QuotaIndex } from '../../../aggregator/quotas/quota.ts'
import { Subjects } from '../../../aggregator/quotas/subjects.ts'
import type { QuotaWindow } from '../../../aggregator/quotas/window.ts'
import { periodOf } from '../../../aggregator/quotas/window.ts'

const LIFETIME: QuotaWindow = { kind: 'lifetime' }

function take(subjects: Subjects, subject: string, resources: number): void {
  for (let i = 0; i < resources; i++)
    subjects.take('t', 'user', subject, `resource_${i}`, new Counter(LIFETIME, periodOf(LIFETIME, 0)))
}

test('Subjects: what is in memory is counted, counters that come later too, and bounded', () => {
  const subjects = new Subjects(20)
  take(subjects, 'ada', 5)
  assert.deepEqual([subjects.size, subjects.weight], [1, 6])
  for (let i = 0; i < 50; i++) take(subjects, `user-${i}`, 5)
  assert.ok(subjects.weight <= 20, `${subjects.weight}`)
  assert.equal(subjects.size, 3)
  assert.equal(subjects.peek('t', 'user', 'ada'), undefined, 'those asked for longest ago went')
})

/** A counter of each, and what it costs. */
const WINDOWS: readonly (readonly [window: QuotaWindow, cost: number])[] = [
  [LIFETIME, 1],
  [{ kind: 'day', zone: 'UTC' }, 1],
  [{ kind: 'rolling', seconds: 3600 }, 2],
]

function quotaOf(window: QuotaWindow): Quota {
  const of = { id: window.kind, tenant: '*', level: 'user', subject: null, resource: 'tokens' } as const
  const how = { enforcement: 'hard', shadow: false, thresholds: [], whenUnknown: 'closed' } as const
  return { ...of, ...how, window, limit: ExactSum.of(1), from: 0, to: Number.POSITIVE_INFINITY }
}

test('Subjects: the one used longest ago goes first, all in one millisecond too', () => {
  const bound = 9
  const who = fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom('ada', 'ben', 'cleo', 'dan'))
  const taken = fc.option(fc.constantFrom(...WINDOWS), { nil: undefined })
  fc.assert(
    fc.property(fc.array(fc.tuple(who, taken), { maxLength: 60 }), (uses) => {
      const subjects = new Subjects(bound)
      subjects.use(new QuotaIndex(WINDOWS.map(([window]) => quotaOf(window))))
      // Whose counters they are, those used last at the end.
      const model = new Map<string, Map<QuotaWindow, number>>()
      const weight = (): number => [...model.values()].flatMap((own) => [1, ...own.values()]).reduce((a, b) => a + b, 0)
      for (const [[tenant, user], counter] of uses) {
        const name = `${tenant}/${user}`
        const own = model.get(name) ?? new Map<QuotaWindow, number>()
        if (counter === undefined) subjects.at(tenant, 'user', user, 0)
        else subjects.take(tenant, 'user', user, 'tokens', new Counter(counter[0], periodOf(counter[0], 0)))
        if (counter !== undefined) own.set(...counter)
        model.delete(name)
        model.set(name, own)
        for (const oldest of model.keys()) if (weight() > bound) model.delete(oldest)

        const known = Array.from(subjects.newest(), ({ tenant: of, subject }) => `${of}/${subject}`)
        assert.deepEqual(known, [...model.keys()].reverse())
        assert.deepEqual([subjects.size, subjects.weight], [model.size, weight()])
        assert.equal(subjects.peek(tenant, 'user', user)?.counters.length, model.get(name)?.size)
      }
    }),
  )
})

test("Subjects: one that alone is more than the bound is nobody's, and the others stay", () => {
  const subjects = new Subjects(4)
  const day: QuotaWindow = { kind: 'rolling', seconds: 86_400 }
  take(subjects, 'ada', 1)
  take(subjects, 'ben', 1)
  subjects.take('t', 'user', 'ada', 'tokens', new Counter(day, periodOf(day, 0)))
  assert.deepEqual(
    Array.from(subjects.newest(), ({ subject }) => subject),
    ['ben'],
  )
  assert.equal(subjects.weight, 2)
})
