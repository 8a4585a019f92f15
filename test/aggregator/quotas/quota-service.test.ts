/** What takes time around decisions: counting first, logging before answering, expiry and thresholds as time passes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { QuotasUnavailable } from '../../../aggregator/quotas/quota-service.ts'
import { NOW, QuotaRig } from '../../support/quota-rig.ts'

/** How many of them came to what. */
async function outcomes(requests: readonly Promise<{ outcome: string }>[]): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (const result of await Promise.allSettled(requests)) {
    const name = result.status === 'rejected' ? result.reason.constructor.name : result.value.outcome
    found[name] = (found[name] ?? 0) + 1
  }
  return found
}

/** counted, held */
async function standing(rig: QuotaRig, subject = 'ada'): Promise<number[]> {
  const [figure] = await rig.service.figures({ tenant: 'a', level: 'user', subject })
  return [figure!.counted!.toNumber(), figure!.held.toNumber()]
}

test('a thousand at once for a subject that is not in memory: one query, and exactly what fits', async (t) => {
  const rig = new QuotaRig(t)
  await rig.define({ limit: 1000 })
  await rig.define({ level: 'tenant', limit: 1_000_000 })
  rig.used = 900
  const all = Array.from({ length: 1000 }, (_, i) => rig.reserve(`r${i}`))
  assert.deepEqual(await outcomes(all), { granted: 100, refused: 900 })
  assert.equal(rig.queries.length, 1)
  assert.equal(rig.queries[0]!.length, 2)
  assert.deepEqual(await standing(rig), [900, 100])
  assert.equal(rig.records.length, 100, 'a refusal is not logged')
})

test('what the log does not take is not set aside, and the same request may come again', async (t) => {
  const rig = new QuotaRig(t)
  await rig.define({ limit: 1 })
  rig.broken = true
  const both = [rig.reserve('r1'), rig.reserve('r1')]
  assert.deepEqual(await outcomes(both), { QuotasUnavailable: 2 })
  rig.broken = false
  assert.deepEqual(await standing(rig), [0, 0])
  assert.deepEqual(await outcomes([rig.reserve('r1')]), { granted: 1 })
})

test('the same request while the first is being logged waits for it, and is the same', async (t) => {
  const rig = new QuotaRig(t)
  await rig.define({ limit: 1 })
  await standing(rig)
  let durable = (): void => {}
  rig.slow = new Promise((resolve) => {
    durable = resolve
  })
  const first = rig.reserve('r1')
  const second = rig.reserve('r1')
  const third = rig.reserve('r1', { hash: 'other' })
  const fourth = rig.reserve('r2')
  await turn()
  assert.deepEqual(rig.records, [])
  durable()
  const [one, two, three, four] = await Promise.all([first, second, third, fourth])
  assert.ok(one.outcome === 'granted' && two.outcome === 'granted')
  assert.deepEqual([one.repeated, two.repeated], [false, true])
  assert.deepEqual(one.reservation, two.reservation)
  assert.deepEqual([three.outcome, four.outcome], ['conflict', 'refused'])
  assert.equal(rig.records.length, 1)
})

test('a definition that was changed holds from the next request on', async (t) => {
  const rig = new QuotaRig(t)
  const id = await rig.define({ limit: 0 })
  assert.deepEqual(await outcomes([rig.reserve('r1')]), { refused: 1 })
  await rig.define({ id, limit: 1 })
  assert.deepEqual(await outcomes([rig.reserve('r1')]), { granted: 1 })
  await rig.define({ id, limit: 1, valid_to: '2026-02-01T00:00:00.000Z' })
  assert.deepEqual(await outcomes([rig.reserve('r2')]), { granted: 1 }, 'none holds any more')
})

test('what cannot be counted in time: closed refuses, open lets pass, and both say so', async (t) => {
  const rig = new QuotaRig(t, { countWithinMs: 20 })
  await rig.define({ limit: 10 })
  const open = await rig.define({ limit: 10, subject: 'bob', when_unknown: 'open' })
  rig.away = true
  const closed = await rig.reserve('r1')
  assert.ok(closed.outcome === 'refused' && closed.by[0]!.counted === undefined)
  const passed = await rig.reserve('r2', { owner: { userId: 'bob', project: '', department: '' } })
  assert.ok(passed.outcome === 'granted')
  assert.deepEqual(passed.reservation.said.unknown, [open])
  assert.equal(rig.service.counts.degraded, 2)
})

test('a reservation is settled once, whoever tries', async (t) => {
  const rig = new QuotaRig(t)
  await rig.define({ limit: 100 })
  await standing(rig)
  const five = [{ resource: 'tokens', amount: 5 }]
  for (const id of ['r1', 'r2', 'r3']) await rig.reserve(id, { amounts: five })
  const { service } = rig
  const three = [{ resource: 'tokens', amount: 3 }]
  const racing = [service.commit('a', 'r1', three), service.commit('a', 'r1', undefined), service.release('a', 'r1')]
  assert.deepEqual(
    (await Promise.all(racing)).map(({ outcome }) => outcome),
    ['done', 'conflict', 'conflict'],
  )
  assert.deepEqual(await standing(rig), [3, 10])
  assert.equal((await service.commit('a', 'r1', [...three, { resource: 'credits', amount: 0 }])).outcome, 'done')
  assert.equal((await service.release('a', 'r2')).outcome, 'done')
  assert.equal((await service.release('a', 'r2')).outcome, 'done')
  assert.equal((await service.commit('a', 'r2', three)).outcome, 'conflict')
  assert.equal((await service.extend('a', 'r2', NOW + 90_000)).outcome, 'conflict')
  assert.equal((await service.extend('a', 'r3', NOW + 90_000)).outcome, 'done')
  assert.equal(rig.fold.reservation('a', 'r3')!.expires, NOW + 90_000)
  assert.equal((await service.commit('a', 'nobody', undefined)).outcome, 'unknown')
  assert.equal((await service.commit('b', 'r3', undefined)).outcome, 'unknown', "another tenant's")
  assert.deepEqual(await standing(rig), [3, 5])
})

test('beyond what may be open, and without room for rows, nothing is reserved', async (t) => {
  const rig = new QuotaRig(t, { openMax: 2 })
  assert.deepEqual(await outcomes([rig.reserve('r1'), rig.reserve('r2')]), { granted: 2 })
  await assert.rejects(rig.reserve('r3'), QuotasUnavailable)
  assert.deepEqual(await outcomes([rig.reserve('r1')]), { granted: 1 }, 'a retry needs no room')
  const full = new QuotaRig(t, { hasRoom: () => false })
  await full.define({ limit: 1 })
  await assert.rejects(full.reserve('r1'), QuotasUnavailable)
  assert.deepEqual(await standing(full), [0, 0])
})

test("an adjustment is done once, and its id is no other one's", async (t) => {
  const rig = new QuotaRig(t)
  await rig.define({ limit: 100 })
  const owner = { userId: 'ada', project: '', department: '' }
  const adjustment = { id: 'x', owner, resource: 'tokens', slot: NOW, amount: 7, reason: 'r', who: 'w', hash: 'h' }
  const other = { ...adjustment, amount: 8, hash: 'another' }
  const adjust = (body: typeof adjustment): Promise<unknown> => rig.service.adjust('a', body)
  const done = (repeated: boolean): object => ({ outcome: 'done', adjustment, repeated })
  // What comes while it is logged waits for it.
  assert.deepEqual(await Promise.all([adjustment, adjustment, other].map(adjust)), [
    done(false),
    done(true),
    { outcome: 'conflict' },
  ])
  rig.used = 7
  assert.deepEqual(await adjust({ ...adjustment, slot: NOW + 900_000 }), done(true), 'as it was counted')
  assert.deepEqual(await adjust(other), { outcome: 'conflict' })
  assert.equal(rig.records.length, 1)
  rig.fold.restore(JSON.parse(JSON.stringify(rig.fold.snapshot())))
  assert.deepEqual(await adjust(other), { outcome: 'conflict' })
  rig.broken = true
  const failed = await Promise.allSettled(['y', 'y'].map((id) => adjust({ ...adjustment, id })))
  assert.deepEqual(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
})

test('time expires reservations and tells thresholds, each once; neither waits for a count', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const rig = new QuotaRig(t, { countWithinMs: 20 })
  await rig.define({ limit: 10, thresholds: [50, 100] })
  await rig.service.start()
  const pass = async (ms: number): Promise<void> => {
    rig.now += ms
    t.mock.timers.tick(ms)
    for (let i = 0; i < 10; i++) await turn()
  }
  await rig.reserve('r1', { amounts: [{ resource: 'tokens', amount: 6 }] })
  await rig.reserve('r2', { expires: NOW + 300 })
  await pass(299)
  assert.equal(rig.fold.reservation('a', 'r2')!.state, 'open')
  await pass(1)
  assert.equal(rig.fold.reservation('a', 'r2')!.state, 'expired')
  await rig.service.commit('a', 'r1', undefined)
  await pass(1000)
  await pass(1000)
  const told = rig.records.filter(({ kind }) => kind === 'quota.threshold')
  assert.deepEqual(
    told.map(({ body }) => (JSON.parse(body) as { threshold: number }).threshold),
    [50],
  )
  // A log that takes nothing for a while: then it is done.
  rig.broken = true
  await assert.rejects(rig.reserve('r3', { expires: rig.now + 100 }), QuotasUnavailable)
  rig.broken = false
  await rig.reserve('r4', { expires: rig.now + 100 })
  rig.broken = true
  await pass(1000)
  assert.equal(rig.fold.reservation('a', 'r4')!.state, 'open')
  rig.broken = false
  rig.away = true
  const waiting = rig.reserve('r5', { owner: { userId: 'bob', project: '', department: '' } })
  await pass(1000)
  assert.equal(rig.fold.reservation('a', 'r4')!.state, 'expired')
  assert.equal((await waiting).outcome, 'refused')
})
