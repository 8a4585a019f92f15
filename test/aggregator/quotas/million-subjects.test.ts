/** A million subjects that ask once each: memory stays at its bound, and what is said afterwards is right. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { OwnerRecord } from '../../../aggregator/owner/owner-log.ts'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { QuotaIndex } from '../../../aggregator/quotas/quota.ts'

import { QuotasFold } from '../../../aggregator/quotas/quotas-fold.ts'

const SUBJECTS = 1_000_000
/** Every so many of them reserve, and adjust, too. */
const EVERY = 10_000
const COUNTERS_MAX = 20_000
const CLOSED_KEPT_MS = 60_000
const NOW = Date.parse('2026-06-10T12:00:00.000Z')
const LIMIT = 100
/** What the table has of everybody. */
const USED = 90
const MIB = 1 << 20

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heap(): number {
  collect()
  return process.memoryUsage().heapUsed
}

function quota(level: Quota['level'], limit: number): Quota {
  const how = { enforcement: 'hard', shadow: false, thresholds: [50], whenUnknown: 'closed' } as const
  const window = { kind: 'month', zone: 'UTC' } as const
  const always = { from: 0, to: Number.POSITIVE_INFINITY }
  return {
    id: level,
    tenant: 't',
    level,
    subject: null,
    resource: 'tokens',
    window,
    limit: ExactSum.of(limit),
    ...how,
    ...always,
  }
}

class Books {
  readonly fold: QuotasFold
  #n = 0
  now = NOW

  constructor() {
    this.fold = new QuotasFold({
      tasks: { deltasOf: () => undefined, ledger: { account: () => undefined } },
      countersMax: COUNTERS_MAX,
      countersKept: 1000,
      closedKeptMs: CLOSED_KEPT_MS,
      storedUpTo: () => this.#n,
      unmeasuredMax: 1000,
    })
    this.fold.use(new QuotaIndex([quota('user', LIMIT), quota('tenant', 2 ** 40)]))
  }

  /** Asks, as the service does: what is cold is counted first. */
  asks(user: string, amount: number): string {
    const demand = { tenant: 't', owner: owner(user), amounts: [{ resource: 'tokens', amount }] }
    const first = this.fold.check(demand, this.now, 'ask')
    if (first.outcome !== 'cold') return first.outcome
    const run = this.fold.count()!
    run.finish(
      first.counters.map((counter) => ({ counter, slots: [[counter.period.from, ExactSum.of(USED)] as const] })),
    )
    return this.fold.check(demand, this.now, 'ask').outcome
  }

  reserve(user: string, amount: number): void {
    const request = { tenant: 't', id: user, owner: owner(user), amounts: [{ resource: 'tokens', amount }], task: null }
    const times = { from: this.now, expires: this.now + 3_600_000 }
    const reserved = this.fold.reserve({ ...request, ...times, hash: '' }, this.now, 'ask')
    assert.equal(reserved.outcome, 'granted')
    if (reserved.outcome === 'granted') this.log(reserved.record)
  }

  log(record: OwnerRecord): void {
    this.fold.apply({ ...record, n: ++this.#n, value: JSON.parse(record.body) as unknown })
    this.fold.stored(this.#n)
  }
}

const owner = (userId: string): { userId: string; project: string; department: string } => ({
  userId,
  project: '',
  department: '',
})
const name = (i: number): string => `user-${i}@example.org`

test('a million subjects: memory stays at its bound, what is held is kept, answers are right afterwards', () => {
  const books = new Books()
  for (let i = 0; i < COUNTERS_MAX; i++) books.asks(`warm-${i}@example.org`, 1)
  const full = heap()
  const { counters, subjects } = books.fold.sizes
  assert.ok(counters + subjects <= COUNTERS_MAX && counters + subjects > COUNTERS_MAX - 4, `${counters} + ${subjects}`)

  for (let i = 0; i < SUBJECTS; i++) {
    if (books.asks(name(i), 10) !== 'granted') assert.fail(`${name(i)} has room for 10`)
    if (i % EVERY === 0) books.reserve(name(i), 7)
    books.now++
  }

  const grown = heap() - full
  // 200,000 that were not forgotten are over 200 MiB.
  assert.ok(grown < 24 * MIB, `${(grown / MIB).toFixed(1)} MiB more than when the bound was reached first`)
  const { counters: now, subjects: of, open } = books.fold.sizes
  assert.ok(now + of <= COUNTERS_MAX, `${now} + ${of}`)
  assert.equal(open, SUBJECTS / EVERY)

  for (const i of [0, EVERY, SUBJECTS - EVERY]) {
    assert.equal(books.asks(name(i), 4), 'refused', `${USED} used, 7 held`)
    assert.equal(books.asks(name(i), 3), 'granted')
    books.log(books.fold.commit('t', name(i), [{ resource: 'tokens', amount: 5 }], books.now))
    assert.deepEqual(
      [books.asks(name(i), 6), books.asks(name(i), 5)],
      ['refused', 'granted'],
      'what was committed counts',
    )
  }
  for (const i of [1, SUBJECTS / 2 + 1, SUBJECTS - 1])
    assert.deepEqual([books.asks(name(i), 11), books.asks(name(i), 10)], ['refused', 'granted'])
})
