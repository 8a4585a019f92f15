/**
 * Whatever happens in whatever order: what memory says is counted and held is what the log says, and no grant passes a hard limit.
 * Each control breaks one thing that this rests on, and must be found.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { OwnerRecord } from '../../../aggregator/owner/owner-log.ts'
import { Counter } from '../../../aggregator/quotas/counter.ts'
import type { CountRun } from '../../../aggregator/quotas/counts.ts'
import { Counts } from '../../../aggregator/quotas/counts.ts'
import type { ColdCounter, Figure } from '../../../aggregator/quotas/decision.ts'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import { Hold } from '../../../aggregator/quotas/hold.ts'
import type { HoldsSnapshot } from '../../../aggregator/quotas/holds.ts'
import { Holds } from '../../../aggregator/quotas/holds.ts'
import type { Level, Quota } from '../../../aggregator/quotas/quota.ts'
import { LEVELS, QuotaIndex, subjectAt } from '../../../aggregator/quotas/quota.ts'
import type { Amount } from '../../../aggregator/quotas/quota-record.ts'
import { quotaRecord } from '../../../aggregator/quotas/quota-record.ts'
import { Held, Subjects } from '../../../aggregator/quotas/subjects.ts'
import { Tail } from '../../../aggregator/quotas/tail.ts'
import { periodOf } from '../../../aggregator/quotas/window.ts'
import type { UsageOwner } from '../../../aggregator/tasks/usage-out.ts'
import { QuotaModel, TENANT } from '../../support/quota-model.ts'
import { asset, calculation, credit, QuotaWorld } from '../../support/quota-world.ts'

/** Two hours before the night in which clocks are set back in Berlin. */
const START = Date.parse('2026-10-24T20:00:00.000Z')
const SLOT = 900_000
const MINUTE = 60_000
const KEPT = 10 * MINUTE
const MIO = 1_000_000

const OWNERS: readonly UsageOwner[] = [
  { userId: 'u1', project: 'p1', department: 'd' },
  { userId: 'u2', project: 'p1', department: 'd' },
  { userId: 'u2', project: '', department: '' },
  { userId: 'u3', project: 'p2', department: 'd' },
]

function quota(
  id: string,
  level: Level,
  resource: string,
  window: Quota['window'],
  limit: number,
  more: Partial<Quota> = {},
): Quota {
  const all = { tenant: TENANT, subject: null, enforcement: 'hard', shadow: false, thresholds: [] } as const
  const times = { from: 0, to: Number.POSITIVE_INFINITY, whenUnknown: 'closed' } as const
  return { id, level, resource, window, limit: ExactSum.of(limit), ...all, ...times, ...more }
}

const BERLIN = { kind: 'day', zone: 'Europe/Berlin' } as const
const HOUR = { kind: 'rolling', seconds: 3600 } as const
const LIFE = { kind: 'lifetime' } as const
const QUOTAS: readonly Quota[] = [
  quota('user', 'user', 'gpu_seconds', BERLIN, 20),
  quota('named', 'user', 'gpu_seconds', BERLIN, 12, { subject: 'u2' }),
  quota('department', 'department', 'gpu_seconds', HOUR, 30),
  quota('tenant', 'tenant', 'gpu_seconds', { kind: 'month', zone: 'UTC' }, 60),
  quota('tokens', 'project', 'tokens', HOUR, 10, { whenUnknown: 'open' }),
  quota('soft', 'tenant', 'tokens', LIFE, 5, { enforcement: 'soft' }),
  quota('shadow', 'user', 'tokens', LIFE, 5, { shadow: true }),
  quota('credits', 'user', 'credits', BERLIN, 20 * MIO),
  quota('kept', 'user', 'storage_bytes', LIFE, 20),
  quota('moved', 'tenant', 'transfer_bytes', HOUR, 40),
  quota('at once', 'tenant', 'concurrent_tasks', LIFE, 3),
]
/** The same with other limits, windows, and without some. */
const CHANGED: readonly Quota[] = [
  quota('user', 'user', 'gpu_seconds', BERLIN, 15),
  quota('department', 'department', 'gpu_seconds', { kind: 'week', zone: 'UTC' }, 40),
  quota('tenant', 'tenant', 'gpu_seconds', HOUR, 60),
  quota('credits', 'user', 'credits', BERLIN, 30 * MIO),
]

type Step = (history: History) => void

interface Pending {
  readonly id: string
  readonly record: OwnerRecord
  readonly amounts: readonly Amount[]
  readonly owner: UsageOwner
}

class History {
  readonly world = new QuotaWorld(new QuotaIndex(QUOTAS), {
    countersMax: 18,
    countersKept: 6,
    closedKeptMs: KEPT,
    unmeasuredMax: 1000,
  })
  quotas = QUOTAS
  now = START
  /** Decided and not logged, in the order of their appends. */
  pending: Pending[] = []
  #run:
    | { run: CountRun; counters: readonly ColdCounter[]; rows: ReturnType<QuotaWorld['query']> | undefined }
    | undefined
  readonly #versions = new Map<string, number>()

  model(): QuotaModel {
    return new QuotaModel(this.world.log, KEPT)
  }

  append(record: OwnerRecord): void {
    this.world.append(record)
  }

  reserve(
    id: string,
    owner: UsageOwner,
    amounts: readonly Amount[],
    task: number,
    minutes: number,
    load: boolean,
  ): void {
    const request = {
      tenant: TENANT,
      id,
      owner,
      amounts,
      task: task === 0 ? null : { taskId: `task${task >> 1}`, attempt: (task & 1) + 1 },
      from: this.now,
      expires: this.now + minutes * MINUTE,
      hash: JSON.stringify([owner, amounts, task]),
    }
    const before = this.model()
    if (load) this.load(owner)
    const reserved = this.world.fold.reserve(request, this.now, load ? 'ask' : 'as_defined')
    if (reserved.outcome === 'granted') {
      const { unknown } = reserved.decision
      assert.deepEqual(this.#passed(before, owner, amounts, unknown), [], 'no hard limit is passed')
      this.pending.push({ id, record: reserved.record, amounts, owner })
    } else if (reserved.outcome === 'refused') {
      const passed = new Set(this.#passed(before, owner, amounts, []))
      for (const { quota: by, counted } of reserved.by)
        assert.ok(counted === undefined || passed.has(by.id), 'what is refused would not fit')
    } else if (reserved.outcome === 'cold') assert.equal(load, false)
  }

  /** The oldest append comes to an end. */
  settle(logged: boolean): void {
    const pending = this.pending.shift()
    if (pending === undefined) return
    if (logged) this.append(pending.record)
    else this.world.fold.undo(TENANT, pending.id)
  }

  load(owner: UsageOwner): void {
    for (const level of LEVELS) {
      const subject = subjectAt(level, TENANT, owner)
      if (subject !== '') this.world.load(this.world.fold.cold({ tenant: TENANT, level, subject }, this.now))
    }
  }

  /** A count begins, is answered, or comes back: one step of it. */
  count(owner: UsageOwner): void {
    if (this.#run === undefined) {
      const counters = LEVELS.flatMap((level) => {
        const subject = subjectAt(level, TENANT, owner)
        return subject === '' ? [] : this.world.fold.cold({ tenant: TENANT, level, subject }, this.now)
      })
      if (counters.length > 0) this.#run = { run: this.world.fold.count()!, counters, rows: undefined }
    } else if (this.#run.rows === undefined) {
      this.#run.rows = this.world.query(this.#run.counters, this.#run.run.upTo)
    } else {
      this.#run.run.finish(this.#run.rows)
      this.#run = undefined
    }
  }

  calculate(
    task: number,
    owner: UsageOwner,
    amounts: readonly (readonly [resource: string, slot: number, amount: number])[],
  ): void {
    const key = { tenant: TENANT, taskId: `task${task >> 1}`, attempt: (task & 1) + 1 }
    const name = `${key.taskId}/${key.attempt}`
    const version = (this.#versions.get(name) ?? 0) + 1
    this.#versions.set(name, version)
    const sums = new Map<string, number>()
    for (const [resource, slot, amount] of amounts) sums.set(`${resource} ${slot}`, amount)
    const stated = Array.from(sums, ([of, amount]) => {
      const [resource, slot] = of.split(' ') as ['gpu_seconds' | 'tokens', string]
      return { resource, slot: Math.floor(this.now / SLOT) * SLOT + Number(slot) * SLOT, amount }
    })
    this.append(calculation(key, version, stated, owner, this.now))
  }

  crash(which: number): void {
    this.pending = []
    this.#run = undefined
    this.world.crash(which)
  }

  /** What memory says of somebody is what the log says. */
  look(owner: UsageOwner): void {
    this.load(owner)
    const model = this.model()
    for (const level of LEVELS) {
      const subject = subjectAt(level, TENANT, owner)
      if (subject === '') continue
      for (const figure of this.world.fold.figures({ tenant: TENANT, level, subject }, this.now))
        this.#compare(model, level, subject, figure)
    }
    assert.equal(this.world.fold.sizes.open, model.holds.filter(({ state }) => state === 'open').length)
  }

  end(): void {
    for (const owner of OWNERS) this.look(owner)
    const replayed = this.world.replayed().snapshot() as { holds: HoldsSnapshot }
    assert.deepEqual(
      holdsOf(this.world.fold.snapshot() as { holds: HoldsSnapshot }),
      holdsOf(replayed),
      'a replay ends in the same state',
    )
  }

  #compare(
    model: QuotaModel,
    level: Level,
    subject: string,
    { quota: { resource, window }, period, counted, held }: Figure,
  ): void {
    const what = `${resource} of ${level} ${subject}`
    const expected = periodOf(window, this.now)
    assert.deepEqual(period, expected, `period of ${what}`)
    assert.equal(counted?.toBigInt(), model.counted(level, subject, resource, expected), `counted ${what}`)
    assert.equal(
      held.toBigInt(),
      model.held(level, subject, resource) + this.#pendingOf(level, subject, resource),
      `held ${what}`,
    )
  }

  /** Ids of hard quotas that would be passed, by the model. */
  #passed(model: QuotaModel, owner: UsageOwner, amounts: readonly Amount[], unknown: readonly Figure[]): string[] {
    return this.quotas.flatMap((quota) => {
      const { id, level, resource, window, limit } = quota
      const subject = subjectAt(level, TENANT, owner)
      const asked = amounts.find((amount) => amount.resource === resource)?.amount
      if (asked === undefined || subject === '' || quota.enforcement === 'soft' || quota.shadow) return []
      const named = this.quotas.some((other) => other.subject === subject && other.level === level)
      if (quota.subject === null ? named && resource === 'gpu_seconds' : quota.subject !== subject) return []
      if (unknown.some((figure) => figure.quota.id === id)) return []
      const counted = model.counted(level, subject, resource, periodOf(window, this.now))
      const held = model.held(level, subject, resource) + this.#pendingOf(level, subject, resource)
      return counted + held + BigInt(asked) > limit.toBigInt() ? [id] : []
    })
  }

  #pendingOf(level: Level, subject: string, resource: string): bigint {
    let sum = 0
    for (const { owner, amounts } of this.pending)
      if (subjectAt(level, TENANT, owner) === subject)
        for (const amount of amounts) if (amount.resource === resource) sum += amount.amount
    return BigInt(sum)
  }
}

/** Pending ones are not the log's, and when the others are forgotten by their ids is nobody's state. */
function holdsOf({ holds }: { readonly holds: HoldsSnapshot }): unknown {
  return holds.byId.map((i) => holds.holds[i]!).sort((a, b) => a.n - b.n)
}

const owner = fc.constantFrom(...OWNERS)
const id = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const task = fc.integer({ min: 0, max: 5 })
const small = fc.integer({ min: 0, max: 12 })
const asked = fc
  .record(
    {
      gpu_seconds: small,
      tokens: small,
      credits: fc.constantFrom(3 * MIO, 9 * MIO),
      concurrent_tasks: fc.constant(1),
      storage_bytes: small,
    },
    { requiredKeys: ['gpu_seconds'] },
  )
  .map((of) => Object.entries(of).map(([resource, amount]) => ({ resource, amount: amount! })))
const slot = fc.integer({ min: -6, max: 3 })
const bound = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max })

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(id, owner, asked, task, bound(1, 40), fc.boolean())
      .map((of) => (h: History) => h.reserve(...of)),
  },
  { weight: 8, arbitrary: bound(0, 9).map((of) => (h: History) => h.settle(of > 1)) },
  {
    weight: 3,
    arbitrary: fc.tuple(id, asked).map(
      ([one, amounts]) =>
        (h: History) =>
          h.append(h.world.fold.commit(TENANT, one, amounts, h.now)),
    ),
  },
  { weight: 1, arbitrary: id.map((one) => (h: History) => h.append(h.world.fold.release(TENANT, one, h.now))) },
  {
    weight: 2,
    arbitrary: fc.tuple(id, bound(1, 60)).map(
      ([one, minutes]) =>
        (h: History) =>
          h.append(h.world.fold.extend(TENANT, { id: one, expires: h.now + minutes * MINUTE }, h.now)),
    ),
  },
  {
    weight: 3,
    // What is due is found before something is extended, and logged after it.
    arbitrary: fc.tuple(id, fc.boolean()).map(([one, extended]) => (h: History) => {
      const due = h.world.fold.expired(h.now, 2)
      if (extended) h.append(h.world.fold.extend(TENANT, { id: one, expires: h.now + 30 * MINUTE }, h.now))
      for (const record of due) h.append(record)
    }),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        bound(2, 5),
        owner,
        fc.array(fc.tuple(fc.constantFrom('gpu_seconds', 'tokens'), slot, small), { maxLength: 4 }),
      )
      .map((of) => (h: History) => h.calculate(...of)),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom('upload', 'download', 'delete'), owner, bound(1, 9)).map(
      ([type, { userId }, size]) =>
        (h: History) =>
          h.append(asset(TENANT, type, size, { user_id: userId, nonce: h.world.log.length }, h.now)),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(bound(1, 2), owner, bound(-2, 6)).map(
      ([one, { userId }, amount]) =>
        (h: History) =>
          h.append(
            credit(TENANT, amount + 0.5, { user_id: userId, task_id: `task${one}`, nonce: h.world.log.length }, h.now),
          ),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(id, owner, slot, bound(-4, 8)).map(([one, of, when, amount]) => (h: History) => {
      const body = {
        id: one,
        owner: of,
        resource: 'gpu_seconds',
        slot: Math.floor(h.now / SLOT) * SLOT + when * SLOT,
        amount,
      }
      h.append(quotaRecord('quota.adjust', TENANT, { ...body, reason: '', who: '', hash: '' }, h.now * 1000))
    }),
  },
  {
    weight: 3, // delivered again
    arbitrary: fc.nat().map((back) => (h: History) => {
      const record = h.world.log.at(-1 - (back % 6))
      if (record === undefined || record.kind === 'event' || record.at / 1000 + KEPT < h.now) return
      const { kind, tenant, key, at, body } = record
      h.append({ kind, tenant, key, at, body })
    }),
  },
  {
    weight: 4,
    arbitrary: fc.oneof(bound(0, 20), fc.constantFrom(60, 120, 300, 26 * 60)).map((minutes) => (h: History) => {
      h.now += minutes * MINUTE
    }),
  },
  { weight: 4, arbitrary: bound(1, 6).map((records) => (h: History) => h.world.insert(records)) },
  { weight: 3, arbitrary: fc.constant((h: History) => h.world.told()) },
  { weight: 2, arbitrary: fc.constant((h: History) => h.world.keep()) },
  { weight: 2, arbitrary: fc.nat({ max: 3 }).map((which) => (h: History) => h.crash(which)) },
  { weight: 6, arbitrary: owner.map((of) => (h: History) => h.count(of)) },
  { weight: 4, arbitrary: owner.map((of) => (h: History) => h.look(of)) },
  {
    weight: 1,
    arbitrary: fc.boolean().map((changed) => (h: History) => {
      h.quotas = changed ? CHANGED : QUOTAS
      h.world.use(new QuotaIndex(h.quotas))
    }),
  },
)

const HISTORIES = fc.property(fc.array(STEP, { minLength: 20, maxLength: 70, size: 'max' }), (steps) => {
  const history = new History()
  for (const step of steps) step(history)
  history.end()
})

const RUNS = 300
const SEED = 20261024

test('memory says what the log says, and no grant passes a hard limit', () => {
  fc.assert(HISTORIES, { numRuns: 1000, includeErrorInReport: true })
})

/** @returns what undoes it */
function broken<T extends object, K extends keyof T>(target: T, name: K, by: (whole: T[K]) => T[K]): () => void {
  const whole = target[name]
  target[name] = by(whole)
  return () => {
    target[name] = whole
  }
}

const CONTROLS: Readonly<Record<string, () => () => void>> = {
  'what is being logged is not set aside': () => broken(Holds.prototype, 'begin', () => () => {}),
  'what could not be logged stays set aside': () => broken(Holds.prototype, 'undo', () => () => {}),
  'an id that was closed is not known after a crash': () =>
    broken(
      Holds.prototype,
      'restore',
      (whole) =>
        function (this: Holds, snapshot) {
          const byId = snapshot.byId.filter((i) => snapshot.holds[i]!.state === 'open')
          return whole.call(this, { ...snapshot, byId, closed: [] })
        },
    ),
  'commit and measurement are added': () =>
    broken(
      Hold.prototype,
      'measure',
      (whole) =>
        function (this: Hold, measured) {
          whole.call(this, measured)
          return []
        },
    ),
  'a running task and its reservation are added': () =>
    broken(
      Hold.prototype,
      'measure',
      (whole) =>
        function (this: Hold, measured) {
          return this.state === 'open' ? [] : whole.call(this, measured)
        },
    ),
  'a commit after the expiry is not charged': () =>
    broken(
      Holds.prototype,
      'commit',
      (whole) =>
        function (this: Holds, tenant, body, now) {
          return this.find(tenant, body.id)?.state === 'expired' ? [] : whole.call(this, tenant, body, now)
        },
    ),
  'an expiry ends what was extended meanwhile': () =>
    broken(
      Holds.prototype,
      'expire',
      (whole) =>
        function (this: Holds, tenant, body, now) {
          whole.call(this, tenant, { ...body, expires: Number.POSITIVE_INFINITY }, now)
        },
    ),
  'what is held goes with the period': () => {
    const everyHeld = new Set<Held>()
    const mendHold = broken(
      Subjects.prototype,
      'hold',
      (whole) =>
        function (this: Subjects, ...of) {
          const held = whole.apply(this, of)
          everyHeld.add(held)
          return held
        },
    )
    const mend = broken(
      Counter.prototype,
      'advance',
      (whole) =>
        function (this: Counter, at) {
          const passes = at >= this.endsAt && this.window.kind === 'day'
          whole.call(this, at)
          if (passes) for (const held of everyHeld) held.of('gpu_seconds').clear()
        },
    )
    return () => {
      mend()
      mendHold()
    }
  },
  'what is held goes with the subject that is evicted': () =>
    broken(
      Subjects.prototype,
      'hold',
      () =>
        function (this: Subjects, tenant, level, subject) {
          return this.peek(tenant, level, subject)?.held ?? new Held()
        },
    ),
  'what came before its period is forgotten': () =>
    broken(
      Counter.prototype,
      'add',
      (whole) =>
        function (this: Counter, slotOfIt, amount, at) {
          if (slotOfIt < this.period.to) whole.call(this, slotOfIt, amount, at)
        },
    ),
  'what belongs to a closed period is added to the open one': () =>
    broken(
      Counter.prototype,
      'add',
      (whole) =>
        function (this: Counter, slotOfIt, amount, at) {
          whole.call(this, Math.max(slotOfIt, this.period.from), amount, at)
        },
    ),
  'a rolling window never gives back': () =>
    broken(
      Counter.prototype,
      'advance',
      (whole) =>
        function (this: Counter, at) {
          if (this.window.kind !== 'rolling') whole.call(this, at)
        },
    ),
  'a cold count without what came after U': () => broken(Tail.prototype, 'after', () => function* () {}),
  'a cold count of everything in the table, and the tail': () =>
    broken(
      QuotaWorld.prototype,
      'query',
      (whole) =>
        function (this: QuotaWorld, counters) {
          return whole.call(this, counters, Number.POSITIVE_INFINITY)
        },
    ),
  'the tail goes while it is counted': () => broken(Tail.prototype, 'pin', () => () => {}),
  'the tail is not in the snapshot': () => broken(Tail.prototype, 'restore', () => () => {}),
  'of a record with several amounts one is not counted': () =>
    broken(
      Counts.prototype,
      'add',
      (whole) =>
        function (this: Counts, position, deltas, rows) {
          whole.call(this, position, deltas.length > 2 ? deltas.slice(1) : deltas, rows)
        },
    ),
}

for (const [what, breakIt] of Object.entries(CONTROLS))
  test(`it is found that ${what}`, () => {
    const mend = breakIt()
    try {
      const found = fc.check(HISTORIES, { numRuns: RUNS, seed: SEED, endOnFailure: true })
      assert.ok(found.failed, `${RUNS} histories found nothing`)
      assert.ok(found.errorInstance instanceof assert.AssertionError, String(found.errorInstance))
    } finally {
      mend()
    }
  })
