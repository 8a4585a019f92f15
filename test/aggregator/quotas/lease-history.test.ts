/**
 * Slices lent to collectors, whatever happens in whatever order: grants that are lost, reports that come again or late, starts anew, journals
 * lost, doubt, write-offs, and the owner killed at any moment. What was admitted anywhere is counted or set aside, no limit is passed,
 * and what memory says is what the log says. Each control breaks one thing that this rests on, and must be found.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { OwnerRecord } from '../../../aggregator/owner/owner-log.ts'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import { Lease } from '../../../aggregator/quotas/lease.ts'
import type { LeaseBody } from '../../../aggregator/quotas/lease-record.ts'
import { leaseRecord } from '../../../aggregator/quotas/lease-record.ts'
import { Leases } from '../../../aggregator/quotas/leases.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { LEVELS, QuotaIndex, subjectAt } from '../../../aggregator/quotas/quota.ts'
import type { ReserveBody } from '../../../aggregator/quotas/quota-record.ts'
import { quotaRecord } from '../../../aggregator/quotas/quota-record.ts'
import type { QuotasFold } from '../../../aggregator/quotas/quotas-fold.ts'
import { QuotaWorld } from '../../support/quota-world.ts'

const TENANT = 't'
const NOW = Date.parse('2026-10-24T20:00:00.000Z')
const OWNERS = [
  { userId: 'ada', project: 'p', department: '' },
  { userId: 'bob', project: 'p', department: '' },
]
const COLLECTORS = ['one', 'two']
const SAID = { over: [], shadow: [], unknown: [] }

function quota(id: string, level: Quota['level'], limit: number): Quota {
  const all = { tenant: TENANT, subject: null, enforcement: 'hard', shadow: false, thresholds: [] } as const
  const times = { from: 0, to: Number.POSITIVE_INFINITY, whenUnknown: 'closed' } as const
  return { id, level, resource: 'tokens', window: { kind: 'lifetime' }, limit: ExactSum.of(limit), ...all, ...times }
}

const LIMITS = { user: 200, project: 260, tenant: 300 } as const
const QUOTAS = [
  quota('user', 'user', LIMITS.user),
  quota('p', 'project', 260),
  quota('tenant', 'tenant', LIMITS.tenant),
]

interface Admission {
  readonly index: number
  readonly body: ReserveBody
}

/** What a collector knows of a lease, and what its journal has. */
interface Slice {
  readonly n: number
  readonly owner: number
  readonly epoch: number
  granted: number
  used: number
  readonly admissions: Admission[]
  /** It says that it will use nothing more. */
  ended: boolean
}

interface Collector {
  readonly name: string
  epoch: number
  slices: Slice[]
}

class History {
  readonly world = new QuotaWorld(new QuotaIndex(QUOTAS), {
    countersMax: 1000,
    countersKept: 100,
    closedKeptMs: 1e9,
    unmeasuredMax: 1000,
  })
  readonly collectors: Collector[] = COLLECTORS.map((name) => ({ name, epoch: 1, slices: [] }))
  /** Granted by anybody and not released: by id. */
  readonly admitted = new Map<string, { readonly amount: number; readonly owner: number }>()
  readonly #released = new Set<string>()
  /** Decided and not logged. */
  #grants: OwnerRecord[] = []
  #serial = 0
  #sent: OwnerRecord[][] = []

  constructor() {
    this.load()
  }

  get fold(): QuotasFold {
    return this.world.fold
  }

  load(): void {
    for (const owner of OWNERS)
      for (const level of LEVELS) {
        const subject = subjectAt(level, TENANT, owner)
        if (subject === '') continue
        const cold = this.fold.cold({ tenant: TENANT, level, subject }, NOW)
        if (cold.length > 0) this.world.load(cold)
      }
  }

  /** @returns whether it was granted now */
  reserve(owner: number, amount: number, id = `central-${this.#serial++}`): void {
    const body = bodyOf(id, owner, amount)
    const reserved = this.fold.reserve({ tenant: TENANT, ...body }, NOW, 'ask')
    if (reserved.outcome !== 'granted') return
    this.world.append(reserved.record)
    this.#admit(body, owner)
  }

  /** All that is left. */
  reserveRest(owner: number): void {
    const free = this.fold.lending.freeFor(TENANT, OWNERS[owner]!, NOW)?.get('tokens') ?? 0
    if (free > 0) this.reserve(owner, free)
  }

  ask(collector: number, owner: number, wanted: number): void {
    const { name, epoch, slices } = this.collectors[collector]!
    const own = slices.find((one) => one.owner === owner && one.epoch === epoch && !one.ended)
    const lease = own === undefined ? undefined : this.fold.lending.leases.find(TENANT, own.n)
    const at = { from: NOW, said: OWNERS[owner]!, owner: OWNERS[owner]!, termMs: 5000, boot: 'b' }
    const lent = this.fold.lending.lend(
      {
        tenant: TENANT,
        body: { id: `grant-${this.#serial++}`, lease: own?.n ?? null, collector: name, epoch: `${epoch}`, ...at },
        wanted: [{ resource: 'tokens', amount: wanted }],
        least: [{ resource: 'tokens', amount: 1 }],
        has: lease?.isHeld === true ? lease.left : [],
      },
      NOW,
    )
    if (lent.outcome === 'lent') this.#grants.push(lent.record)
  }

  /** @param told whether the collector hears of it at once; it does later otherwise */
  logGrant(logged: boolean, told: boolean): void {
    const record = this.#grants.shift()
    if (record === undefined) return
    const body = JSON.parse(record.body) as LeaseBody
    if (logged) this.world.append(record)
    else this.fold.lending.leases.undo(body.id)
    if (logged && told) this.hear(COLLECTORS.indexOf(body.collector))
  }

  /** A collector hears what it holds. */
  hear(collector: number): void {
    const one = this.collectors[collector]!
    for (const lease of this.fold.lending.leases.heldBy(one.name)) {
      if (lease.holder.epoch !== `${one.epoch}`) continue
      const granted = lease.granted[0]?.amount ?? 0
      const known = one.slices.find(({ n }) => n === lease.n)
      if (known !== undefined) known.granted = granted
      else {
        const owner = OWNERS.findIndex(({ userId }) => userId === lease.body.owner.userId)
        one.slices.push({ n: lease.n, owner, epoch: one.epoch, granted, used: 0, admissions: [], ended: false })
      }
    }
  }

  /** Decided by a collector, in its journal, answered. Its term is its own matter: all that it holds is set aside or charged. */
  admit(collector: number, amount: number, again: boolean): void {
    const { epoch, slices } = this.collectors[collector]!
    const slice = slices.find((one) => one.epoch === epoch && !one.ended && one.granted - one.used >= amount)
    if (slice === undefined) return
    const last = again ? [...this.admitted].at(-1) : undefined
    // A request that somebody else granted already, asked again here.
    const id = last !== undefined && last[1].owner === slice.owner && last[1].amount === amount ? last[0] : undefined
    const body = bodyOf(id ?? `local-${this.#serial++}`, slice.owner, amount)
    slice.used += amount
    const index = (slice.admissions.at(-1)?.index ?? 0) + 1
    slice.admissions.push({ index, body: { ...body, lease: { lease: slice.n, index } } })
    this.#admit(body, slice.owner)
  }

  /** @param last of the collector: it ends this slice, or the one that started after it does */
  report(collector: number, which: number, last: boolean): void {
    const one = this.collectors[collector]!
    const slice = one.slices[which % Math.max(1, one.slices.length)]
    if (slice === undefined) return
    if (last) slice.ended = true
    const records = slice.admissions.map(({ body }) => quotaRecord('quota.reserve', TENANT, body, NOW * 1000))
    if (slice.ended)
      records.push(leaseRecord('quota.lease.return', TENANT, { lease: slice.n, by: `${one.epoch}` }, NOW))
    this.#sent.push(records)
    for (const record of records) this.world.append(record)
  }

  /** What was sent before comes again. */
  resend(back: number): void {
    for (const record of this.#sent.at(-1 - (back % 8)) ?? []) this.world.append(record)
  }

  /** @param lost its journal, too */
  restart(collector: number, lost: boolean): void {
    const one = this.collectors[collector]!
    one.epoch++
    if (lost) one.slices = []
    for (const slice of one.slices) slice.ended = true
  }

  doubt(collector: number, renewed: boolean): void {
    const { name, epoch } = this.collectors[collector]!
    const kind = renewed ? 'quota.lease.renew' : 'quota.lease.doubt'
    for (const of of renewed ? [epoch] : [epoch - 1, epoch])
      this.world.append(leaseRecord(kind, TENANT, { collector: name, epoch: `${of}` }, NOW))
  }

  writeOff(which: number): void {
    const doubted = [...this.fold.lending.leases.held()].filter(({ state }) => state === 'doubted')
    const lease = doubted[which % Math.max(1, doubted.length)]
    if (lease === undefined) return
    this.world.append(leaseRecord('quota.lease.write_off', TENANT, { lease: lease.n, reason: 'r', who: 'w' }, NOW))
  }

  release(which: number): void {
    const ids = [...this.admitted.keys()].filter((id) => this.fold.reservation(TENANT, id)?.state === 'open')
    const id = ids[which % Math.max(1, ids.length)]
    if (id === undefined) return
    this.world.append(this.fold.release(TENANT, id, NOW))
    this.admitted.delete(id)
    this.#released.add(id)
  }

  commit(which: number): void {
    const ids = [...this.admitted.keys()].filter((id) => this.fold.reservation(TENANT, id)?.state === 'open')
    const id = ids[which % Math.max(1, ids.length)]
    if (id === undefined) return
    this.world.append(this.fold.commit(TENANT, id, this.fold.reservation(TENANT, id)!.amounts, NOW))
  }

  crash(which: number): void {
    this.#grants = [] // nobody waits for them any more
    this.world.crash(which)
    this.load()
  }

  look(): void {
    const replayed = this.world.replayed()
    const alone = this.#grants.length === 0
    for (const owner of OWNERS)
      for (const level of ['user', 'project', 'tenant'] as const) {
        const subject = subjectAt(level, TENANT, owner)
        const [figure] = this.fold.figures({ tenant: TENANT, level, subject }, NOW)
        const { counted, held, leased, inDoubt } = figure!
        const all = counted!.toBigInt() + held.toBigInt()
        assert.ok(all <= BigInt(LIMITS[level]), `${level} is within its limit`)
        assert.ok(
          held.toBigInt() >= leased.toBigInt() && leased.toBigInt() >= inDoubt.toBigInt(),
          'parts of what is held',
        )
        assert.ok(inDoubt.sign >= 0, 'nothing is given back twice')
        let admitted = 0
        for (const { amount, owner: of } of this.admitted.values())
          if (subjectAt(level, TENANT, OWNERS[of]!) === subject) admitted += amount
        assert.ok(all >= BigInt(admitted), `what ${level} was granted is counted or set aside: ${all} ≥ ${admitted}`)
        if (!alone) continue
        const [again] = replayed.figures({ tenant: TENANT, level, subject }, NOW)
        assert.deepEqual(
          [held.toBigInt(), leased.toBigInt(), inDoubt.toBigInt()],
          [again!.held.toBigInt(), again!.leased.toBigInt(), again!.inDoubt.toBigInt()],
          'memory says what the log says',
        )
      }
  }

  /** Everybody says all there is to say: nothing is lent, and nothing is set aside but what was granted, or lost with a journal. */
  end(): void {
    while (this.#grants.length > 0) this.logGrant(true, false)
    for (const i of this.collectors.keys()) {
      this.hear(i)
      this.restart(i, false)
      for (const j of this.collectors[i]!.slices.keys()) this.report(i, j, true)
    }
    this.look()
    const told = new Set(this.collectors.flatMap(({ slices }) => slices.map(({ n }) => n)))
    for (const { n } of this.fold.lending.leases.held())
      assert.ok(!told.has(n), 'what its holder returned is lent no more')
  }

  #admit(body: ReserveBody, owner: number): void {
    if (!this.#released.has(body.id)) this.admitted.set(body.id, { amount: body.amounts[0]!.amount, owner })
  }
}

function bodyOf(id: string, owner: number, amount: number): ReserveBody {
  const amounts = [{ resource: 'tokens', amount }]
  return {
    id,
    owner: OWNERS[owner]!,
    amounts,
    task: null,
    from: NOW,
    expires: NOW + 1e9,
    hash: `${amount}`,
    said: SAID,
  }
}

type Step = (history: History) => void
const two = fc.nat({ max: 1 })
const amount = fc.integer({ min: 1, max: 4 })
const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(two, fc.integer({ min: 1, max: 40 })).map((of) => (h: History) => h.reserve(...of)),
  },
  {
    weight: 8,
    arbitrary: fc.tuple(two, two, fc.integer({ min: 1, max: 20 })).map((of) => (h: History) => h.ask(...of)),
  },
  {
    weight: 8,
    arbitrary: fc.tuple(fc.boolean(), fc.boolean()).map((of) => (h: History) => h.logGrant(of[0] || of[1], of[1])),
  },
  { weight: 1, arbitrary: two.map((one) => (h: History) => h.reserveRest(one)) },
  { weight: 2, arbitrary: two.map((one) => (h: History) => h.hear(one)) },
  { weight: 12, arbitrary: fc.tuple(two, amount, fc.boolean()).map((of) => (h: History) => h.admit(...of)) },
  {
    weight: 5,
    arbitrary: fc.tuple(two, fc.nat({ max: 5 }), fc.constant(false)).map((of) => (h: History) => h.report(...of)),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(two, fc.nat({ max: 5 }), fc.constant(true)).map((of) => (h: History) => h.report(...of)),
  },
  { weight: 4, arbitrary: fc.nat({ max: 7 }).map((back) => (h: History) => h.resend(back)) },
  { weight: 2, arbitrary: fc.tuple(two, fc.boolean()).map((of) => (h: History) => h.restart(...of)) },
  { weight: 4, arbitrary: fc.tuple(two, fc.boolean()).map((of) => (h: History) => h.doubt(...of)) },
  { weight: 2, arbitrary: fc.nat({ max: 5 }).map((which) => (h: History) => h.writeOff(which)) },
  { weight: 2, arbitrary: fc.nat({ max: 9 }).map((which) => (h: History) => h.release(which)) },
  { weight: 2, arbitrary: fc.nat({ max: 9 }).map((which) => (h: History) => h.commit(which)) },
  { weight: 1, arbitrary: fc.constant((h: History) => h.world.keep()) },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((which) => (h: History) => h.crash(which)) },
  { weight: 1, arbitrary: fc.constant((h: History) => h.world.insert(3)) },
  { weight: 6, arbitrary: fc.constant((h: History) => h.look()) },
)

const HISTORIES = fc.property(fc.array(STEP, { minLength: 20, maxLength: 80, size: 'max' }), (steps) => {
  const history = new History()
  for (const step of steps) step(history)
  history.end()
})

const RUNS = 400
const SEED = 20261024

test('what collectors admit is set aside or charged, and no limit is passed', () => {
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
  'time alone frees a slice': () =>
    broken(
      Leases.prototype,
      'doubt',
      () =>
        function (this: Leases, tenant, holder) {
          for (const { n, holder: of } of this.heldBy(holder.collector))
            if (of.epoch === holder.epoch) this.end(tenant, n, 'returned', NOW)
        },
    ),
  'a report is added instead of the largest': () =>
    broken(
      Lease.prototype,
      'take',
      (whole) =>
        function (this: Lease, _, amounts) {
          return whole.call(this, this.reported + 1, amounts)
        },
    ),
  'a return of an old epoch is honoured twice': () =>
    broken(
      Leases.prototype,
      'end',
      (whole) =>
        function (this: Leases, tenant, n, state, now) {
          const lease = this.find(tenant, n)
          if (lease?.isHeld === false && state === 'returned') {
            const amounts = lease.granted.map(({ resource, amount: of }) => ({ resource, amount: -of }))
            this.begin(tenant, { ...lease.body, id: `again ${n}`, amounts })
          }
          return whole.call(this, tenant, n, state, now)
        },
    ),
  'a slice that is written off is not charged': () =>
    broken(
      Lease.prototype,
      'end',
      (whole) =>
        function (this: Lease, state, now) {
          whole.call(this, state, now)
          return []
        },
    ),
  'what is being lent is not set aside': () => broken(Leases.prototype, 'begin', () => () => {}),
  'leases are not in snapshots': () => broken(Leases.prototype, 'restore', () => () => {}),
}

for (const [name, control] of Object.entries(CONTROLS))
  test(`control: ${name}`, () => {
    const undo = control()
    try {
      const { failed, counterexamplePath } = fc.check(HISTORIES, { numRuns: RUNS, seed: SEED, endOnFailure: true })
      assert.ok(failed, 'it must be found')
      assert.ok(counterexamplePath !== null)
    } finally {
      undo()
    }
  })
