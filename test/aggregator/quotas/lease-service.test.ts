/** Rounds of collectors about slices of quotas. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { LeaseServiceOptions } from '../../../aggregator/quotas/lease-service.ts'
import { LeaseService } from '../../../aggregator/quotas/lease-service.ts'
import { QuotasUnavailable } from '../../../aggregator/quotas/quota-service.ts'
import type { Admission, LeaseAnswer, LeaseRound, ToldSlice } from '../../../proto/quotas/lease-round.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { NOW, QuotaRig } from '../../support/quota-rig.ts'

const TERM = 5000
const ADA = { userId: 'ada', project: '', department: '' }
const tokens = (amount: number) => [{ resource: 'tokens', amount }]

class Rig extends QuotaRig {
  leases: LeaseService
  confirmed = 0
  readonly #more: Partial<LeaseServiceOptions>

  constructor(t: TestContext, more: Partial<LeaseServiceOptions> = {}) {
    super(t)
    this.#more = more
    this.leases = this.again()
  }

  /** Another process: it knows what the log says. */
  again(): LeaseService {
    this.leases = new LeaseService({
      fold: this.fold,
      define: () => this.service.define(),
      count: (cold) => void this.service.figures(cold[0]!),
      directory: () => this.directory,
      append: (records) => this.append(records),
      confirm: async () => {
        this.confirmed++
      },
      hasRoom: () => true,
      lends: true,
      termMs: TERM,
      reservedMaxMs: 3_600_000,
      rememberedMs: 600_000,
      clock: this.clock,
      log: silentLogger,
      ...this.#more,
    })
    void this.leases.start().then(() => this.leases.stop()) // the test looks itself
    return this.leases
  }

  round(epoch: string, more: Partial<LeaseRound> = {}): Promise<LeaseAnswer> {
    return this.leases.round({ version: 1, collector: 'c', epoch, boot: 'b', slices: [], asks: [], ...more })
  }

  /** @returns the number of the lease */
  async lend(epoch: string, amount: number): Promise<number> {
    const asks = [{ tenant: 'a', said: ADA, wanted: tokens(amount), least: tokens(1) }]
    await this.round(epoch, { asks }) // what was used is to be counted
    await this.standing()
    const { slices } = await this.round(epoch, { asks })
    return slices[0]!.lease
  }

  async standing(): Promise<readonly [held: number, leased: number, inDoubt: number]> {
    const [figure] = await this.service.figures({ tenant: 'a', level: 'user', subject: 'ada' })
    return [figure!.held.toNumber(), figure!.leased.toNumber(), figure!.inDoubt.toNumber()]
  }
}

function told(lease: number, ids: readonly string[], ended = false): ToldSlice {
  const admissions = ids.map(
    (id, i): Admission => ({
      index: i + 1,
      id,
      amounts: tokens(1),
      task: null,
      from: NOW,
      expires: NOW + 60_000,
      hash: 'h',
    }),
  )
  return { tenant: 'a', lease, admissions, ended }
}

test('round() lends a sixteenth of what is left, takes reports once, and takes back what is ended', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  assert.deepEqual(await rig.standing(), [10, 10, 0])
  const told2 = told(lease, ['r1', 'r2'])
  const reported = await rig.round('1.aaaaaaaa', { slices: [told2] })
  assert.equal(reported.slices[0]!.reported, 2)
  const records = rig.records.length
  const { confirmed } = rig
  await rig.round('1.aaaaaaaa', { slices: [told2] }) // the answer was lost
  assert.deepEqual([rig.records.length, rig.confirmed], [records, confirmed + 1])
  assert.deepEqual(await rig.standing(), [10, 8, 0])
  assert.equal((await rig.service.reservation('a', 'r2'))?.state, 'open')
  assert.equal((await rig.service.release('a', 'r1')).outcome, 'done')
  const ended = await rig.round('1.aaaaaaaa', { slices: [told(lease, [], true)] })
  assert.deepEqual([ended.slices, ended.closed], [[], [{ tenant: 'a', lease }]])
  assert.deepEqual(await rig.standing(), [1, 0, 0])
})

test('round() asks back what is too much of what is left, or of somebody who is another now', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  await rig.lend('1.aaaaaaaa', 50)
  assert.equal((await rig.round('1.aaaaaaaa')).slices[0]!.recalled, false)
  await rig.reserve('much', { amounts: tokens(130) })
  assert.equal((await rig.round('1.aaaaaaaa')).slices[0]!.recalled, true)
})

test('a silent holder is in doubt, which frees nothing; heard of again it is not', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  rig.now += TERM
  await rig.leases.doubt()
  assert.deepEqual(await rig.standing(), [10, 10, 0])
  rig.now += TERM
  await rig.leases.doubt()
  assert.deepEqual(await rig.standing(), [10, 10, 10])
  assert.equal(await rig.leases.end('quota.lease.release', 'a', lease + 1, { reason: 'r', who: 'w' }), 'unknown')
  await rig.round('1.aaaaaaaa')
  assert.deepEqual(await rig.standing(), [10, 10, 0])
  assert.equal(await rig.leases.end('quota.lease.release', 'a', lease, { reason: 'r', who: 'w' }), 'conflict')
})

test('a slice whose holder comes back is not released, however close both come', async (t) => {
  const by = { reason: 'r', who: 'w' }
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  rig.now += 2 * TERM
  await rig.leases.doubt()
  // Both are on their way into the log at once: what the holder was told stands.
  const round = rig.round('1.aaaaaaaa')
  await Promise.resolve()
  await Promise.resolve()
  const released = rig.leases.end('quota.lease.release', 'a', lease, by)
  assert.deepEqual([(await round).slices.length, await released], [1, 'conflict'])
  assert.deepEqual(await rig.standing(), [10, 10, 0])
  // Put in doubt in the moment in which its holder was answered.
  rig.now += 2 * TERM
  await Promise.all([rig.leases.doubt(), rig.round('1.aaaaaaaa')])
  assert.deepEqual(await rig.standing(), [10, 10, 10])
  assert.equal(await rig.leases.end('quota.lease.release', 'a', lease, by), 'conflict')
  rig.now += TERM
  assert.equal(await rig.leases.end('quota.lease.release', 'a', lease, by), 'done')
  assert.deepEqual(await rig.standing(), [0, 0, 0])
})

test('another process does not know when a holder was answered last: nobody ends its slice for a term', async (t) => {
  const by = { reason: 'r', who: 'w' }
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  rig.now += 2 * TERM
  await rig.leases.doubt()
  rig.again()
  assert.equal(await rig.leases.end('quota.lease.write_off', 'a', lease, by), 'conflict')
  rig.now += TERM
  assert.equal(await rig.leases.end('quota.lease.write_off', 'a', lease, by), 'done')
})

test('the one that starts next returns what is left: a term after its holder was heard of, by any process', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  rig.now += 4000
  await rig.round('1.aaaaaaaa') // a live twin: it may decide until five seconds from now
  rig.now += 2000
  const first = await rig.round('2.bbbbbbbb', { slices: [told(lease, ['r1'], true)] })
  assert.deepEqual(first.earlier, [{ tenant: 'a', lease, epoch: '1.aaaaaaaa', reported: 1 }])
  assert.deepEqual(await rig.standing(), [10, 9, 0])
  // It gets no second slice for the same meanwhile, and the first one nothing any more.
  const asks = [{ tenant: 'a', said: ADA, wanted: tokens(5), least: tokens(1) }]
  assert.deepEqual((await rig.round('2.bbbbbbbb', { asks })).slices, [])
  assert.equal((await rig.round('1.aaaaaaaa', { asks })).superseded, 2)
  // Another process does not know when the twin was heard of: it might have been just now.
  rig.now += 2000
  rig.again()
  await rig.round('2.bbbbbbbb', { slices: [told(lease, ['r1'], true)] })
  assert.deepEqual(await rig.standing(), [10, 9, 0])
  rig.now += TERM + 300
  const last = await rig.round('2.bbbbbbbb', { slices: [told(lease, ['r1'], true)] })
  assert.deepEqual([last.earlier, last.closed], [[], [{ tenant: 'a', lease }]])
  assert.deepEqual(await rig.standing(), [1, 0, 0])
})

test('of a machine that was started anew, and written off, what is left is charged; reports are taken off that', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const used = async (): Promise<unknown> =>
    (await rig.service.figures({ tenant: 'a', level: 'user', subject: 'ada' }))[0]!.counted?.toNumber()
  const lease = await rig.lend('1.aaaaaaaa', 50)
  rig.now += 2 * TERM
  await rig.round('2.bbbbbbbb', { boot: 'another', slices: [told(lease, ['r1'], true)] })
  assert.deepEqual([await used(), await rig.standing()], [9, [1, 0, 0]])
  const second = await rig.lend('2.bbbbbbbb', 5)
  rig.now += 2 * TERM
  await rig.leases.doubt()
  assert.equal(await rig.leases.end('quota.lease.write_off', 'a', second, { reason: 'r', who: 'w' }), 'done')
  assert.deepEqual([await used(), await rig.standing()], [14, [1, 0, 0]])
  await rig.round('2.bbbbbbbb', { slices: [told(second, ['r2', 'r3'])] })
  assert.deepEqual([await used(), await rig.standing()], [12, [3, 0, 0]])
})

test('what cannot be logged is not lent, and is no answer', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  await rig.lend('1.aaaaaaaa', 5)
  rig.broken = true
  const asks = [{ tenant: 'a', said: ADA, wanted: tokens(9), least: tokens(1) }]
  await assert.rejects(rig.round('1.aaaaaaaa', { asks }), QuotasUnavailable)
  assert.deepEqual(await rig.standing(), [5, 5, 0])
})

test('one that is over says what it decided all the same, and ends what it holds; its round renews nothing', async (t) => {
  const rig = new Rig(t)
  await rig.define({ limit: 160 })
  const lease = await rig.lend('1.aaaaaaaa', 50)
  await rig.round('2.bbbbbbbb', { slices: [told(lease, ['r1'], true)] }) // a copy of its directory, somewhat older
  rig.now += TERM
  const over = await rig.round('1.aaaaaaaa', { slices: [told(lease, ['r1', 'r2', 'r3'])] })
  assert.deepEqual([over.superseded, over.slices.map(({ reported }) => reported)], [2, [3]])
  assert.deepEqual(await rig.standing(), [10, 7, 0])
  rig.now += 300
  await rig.round('2.bbbbbbbb', { slices: [told(lease, ['r1'], true)] })
  assert.deepEqual(await rig.standing(), [3, 0, 0])
  const second = await rig.lend('2.bbbbbbbb', 5)
  await rig.round('3.cccccccc')
  const ended = await rig.round('2.bbbbbbbb', { slices: [told(second, ['r4'], true)] })
  assert.deepEqual([ended.superseded, ended.closed], [3, [{ tenant: 'a', lease: second }]])
  assert.deepEqual(await rig.standing(), [4, 0, 0])
})
