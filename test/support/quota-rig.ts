/** Quotas for tests: the real fold and service, a log that the test may hold back or break, and a table that says so much was used. */
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { EntryIds } from '../../aggregator/directory/entry-ids.ts'
import type { Quota } from '../../aggregator/directory/quota.ts'
import { DirectorySnapshot } from '../../aggregator/directory/snapshot.ts'
import type { OwnerRecord } from '../../aggregator/owner/owner-log.ts'
import { ColdCounts } from '../../aggregator/quotas/cold-counts.ts'
import type { ColdCounter } from '../../aggregator/quotas/decision.ts'
import { ExactSum } from '../../aggregator/quotas/exact-sum.ts'
import type { QuotaServiceOptions } from '../../aggregator/quotas/quota-service.ts'
import { QuotaService } from '../../aggregator/quotas/quota-service.ts'
import type { CountedSlots, ReserveRequest } from '../../aggregator/quotas/quotas-fold.ts'
import { QuotasFold } from '../../aggregator/quotas/quotas-fold.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { silentLogger } from '../../proto/runtime/log.ts'

export const NOW: number = Date.UTC(2026, 5, 10, 12)
const ids = new EntryIds()

export class QuotaRig {
  readonly service: QuotaService
  readonly fold: QuotasFold
  readonly clock: Clock
  readonly records: OwnerRecord[] = []
  readonly queries: (readonly ColdCounter[])[] = []
  directory: DirectorySnapshot = new DirectorySnapshot()
  /** In the table, of whomever and whatever. */
  used = 0
  /** Of the log: to be waited for before a record is durable. */
  slow: Promise<void> | undefined
  broken = false
  /** The engine does not answer. */
  away = false
  now: number = NOW

  constructor(t: TestContext, more: Partial<QuotaServiceOptions> = {}) {
    this.clock = { now: () => this.now, monotonic: () => this.now }
    this.fold = new QuotasFold({
      tasks: { deltasOf: () => undefined, ledger: { account: () => undefined } },
      countersMax: 1000,
      countersKept: 100,
      closedKeptMs: 600_000,
      storedUpTo: () => this.records.length,
      unmeasuredMax: 100,
    })
    const counts = new ColdCounts({
      fold: this.fold,
      sums: { of: (counters) => this.#sums(counters) },
      waitingMax: 10_000,
      monotonic: () => this.now,
      log: silentLogger,
    })
    this.service = new QuotaService({
      fold: this.fold,
      counts,
      definitions: () => this.directory.quotas,
      append: (records) => this.append(records),
      hasRoom: () => true,
      openMax: 1000,
      countWithinMs: 60_000,
      clock: this.clock,
      log: silentLogger,
      ...more,
    })
    t.after(() => this.service.stop())
  }

  async define(more: Partial<Quota>): Promise<string> {
    const record: Quota = {
      id: ids.next(NOW),
      version: 1,
      tenant: 'a',
      valid_from: '2026-01-01T00:00:00.000Z',
      valid_to: null,
      changed_at: '2026-01-01T00:00:00.000Z',
      level: 'user',
      subject: null,
      resource: 'tokens',
      window: 'month',
      zone: 'UTC',
      seconds: null,
      limit: 100,
      enforcement: 'hard',
      shadow: false,
      thresholds: [],
      when_unknown: 'closed',
      ...more,
    }
    this.directory = await this.directory.with(this.directory.version + 1, [{ kind: 'quota', record }])
    return record.id
  }

  /** Of `tokens`, 1 for ada, unless it says otherwise. */
  reserve(id: string, more: Partial<ReserveRequest> = {}): ReturnType<QuotaService['reserve']> {
    return this.service.reserve({
      tenant: 'a',
      id,
      owner: { userId: 'ada', project: '', department: '' },
      amounts: [{ resource: 'tokens', amount: 1 }],
      task: null,
      from: NOW,
      expires: NOW + 60_000,
      hash: 'h',
      ...more,
    })
  }

  async #sums(counters: readonly ColdCounter[]): Promise<CountedSlots[]> {
    this.queries.push(counters)
    await turn()
    if (this.away) return new Promise(() => {})
    return counters.map((counter) => ({ counter, slots: [[counter.period.from, ExactSum.of(this.used)]] }))
  }

  async append(records: readonly OwnerRecord[]): Promise<number> {
    const { broken } = this
    await (this.slow ?? turn())
    if (broken) throw new FleetmeterError('FM_OWNER_LOG', 'the disk is full')
    const first = this.records.length + 1
    for (const record of records) {
      this.records.push(record)
      const n = this.records.length
      this.fold.apply({ ...record, n, value: JSON.parse(record.body) as unknown })
    }
    return first
  }
}
