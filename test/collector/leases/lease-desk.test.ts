/** What a collector decides by its slices, and when it must not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Local, Moment } from '../../../collector/leases/lease-desk.ts'
import { LeaseDesk } from '../../../collector/leases/lease-desk.ts'
import type { HeldSlice, LeaseAnswer, LeaseRound } from '../../../proto/quotas/lease-round.ts'
import type { AskedReservation } from '../../../proto/quotas/request.ts'

const TERM = 5000
const WALL = Date.UTC(2026, 5, 10, 12)
const SAID = { userId: 'ada', project: '', department: '' }

class Desk extends LeaseDesk {
  now: Moment = { wall: WALL, monotonic: 1000 }
  last!: LeaseRound

  constructor() {
    super({ collector: 'c', epoch: '1.aaaaaaaa', boot: 'b' })
  }

  pass(ms: number): void {
    this.now = { wall: this.now.wall + ms, monotonic: this.now.monotonic + ms }
  }

  /** A round that is answered at once. */
  hear(more: Partial<LeaseAnswer> = {}): ReturnType<LeaseDesk['answered']> {
    this.last = this.round(this.now, true)
    return this.answered(this.last, answer(more), this.now)
  }

  ask(id: string, tokens = 1, more: Partial<AskedReservation> = {}): ReturnType<LeaseDesk['reserve']> {
    return this.reserve('t', asked(id, tokens, more), this.now)
  }

  /** Taken, in the journal, granted. */
  grant(id: string, tokens = 1): Local {
    const decided = this.ask(id, tokens)
    assert.equal(decided.kind, 'taken')
    const { local } = decided as { readonly local: Local }
    this.durable(local)
    assert.ok(this.stands(this.now))
    return local
  }
}

function answer(more: Partial<LeaseAnswer> = {}): LeaseAnswer {
  const terms = { termMs: TERM, reservedMaxMs: 3_600_000, rememberedMs: 600_000 }
  return { ...terms, superseded: null, slices: [], closed: [], earlier: [], ...more }
}

function held(granted: number, more: Partial<HeldSlice> = {}): HeldSlice {
  const amounts = [{ resource: 'tokens', amount: granted }]
  return { tenant: 't', lease: 7, said: SAID, owner: SAID, granted: amounts, reported: 0, recalled: false, ...more }
}

function asked(id: string, tokens: number, more: Partial<AskedReservation> = {}): AskedReservation {
  const amounts = [{ resource: 'tokens', amount: tokens }]
  return { said: ['ada', '', ''], amounts, id, task: null, seconds: 60, issuedAt: undefined, hash: 'h', ...more }
}

test('reserve() takes what fits a slice, and no more; of nobody else, nothing of another resource', () => {
  const desk = new Desk()
  assert.equal(desk.ask('before').kind, 'pass')
  desk.hear({ slices: [held(3)] })
  desk.grant('a', 2)
  assert.equal(desk.ask('b', 2).kind, 'pass')
  assert.equal(desk.ask('none', 0).kind, 'pass')
  assert.equal(desk.ask('bob', 1, { said: ['bob', '', ''] }).kind, 'pass')
  assert.equal(desk.ask('gpu', 1, { amounts: [{ resource: 'gpu_seconds', amount: 1 }] }).kind, 'pass')
  desk.grant('c')
  assert.equal(desk.ask('d').kind, 'pass')
})

test('past its term nothing is decided, by either clock, and with one that was set back', () => {
  for (const [wall, monotonic, expected] of [
    [TERM - 1, TERM - 1, true],
    [0, TERM, false], // the clock on the wall stood still
    [TERM, 0, false], // the machine slept
    [-1, 100, false], // set back
  ] as const) {
    const desk = new Desk()
    desk.hear({ slices: [held(3)] })
    desk.now = { wall: desk.now.wall + wall, monotonic: desk.now.monotonic + monotonic }
    assert.equal(desk.stands(desk.now), expected)
    assert.equal(desk.ask('a').kind, expected ? 'taken' : 'pass')
    assert.equal(desk.check('t', asked('b', 1), desk.now), expected)
  }
})

test('the term counts from when the round was sent: an answer that lay about is worth nothing', () => {
  const desk = new Desk()
  const sent = desk.now
  const round = desk.round(sent, true)
  desk.pass(TERM) // stopped, with the answer on its way
  desk.answered(round, answer({ slices: [held(3)] }), sent)
  assert.equal(desk.ask('a').kind, 'pass')
})

test('what the journal took too late is void: told to nobody, and what it took stays taken', () => {
  const desk = new Desk()
  desk.hear({ slices: [held(3)] })
  const decided = desk.ask('a', 3)
  assert.ok(decided.kind === 'taken')
  desk.pass(TERM) // stopped while it was written
  desk.durable(decided.local)
  assert.equal(desk.stands(desk.now), false)
  desk.undo(decided.local)
  desk.hear({ slices: [held(3)] })
  assert.deepEqual(desk.last.slices, [])
  assert.equal(desk.ask('b').kind, 'pass')
})

test('decisions are told until they are known, in their order, and only what is in the journal', () => {
  const desk = new Desk()
  desk.hear({ slices: [held(9)] })
  desk.grant('a')
  const writing = desk.ask('b')
  desk.grant('c')
  desk.hear({ slices: [held(9)] })
  const told = (): unknown => desk.last.slices.map(({ admissions, ended }) => [admissions.map(({ id }) => id), ended])
  assert.deepEqual(told(), [[['a'], false]], 'c must not be known before b is')
  assert.ok(writing.kind === 'taken')
  desk.durable(writing.local)
  desk.hear({ slices: [held(9, { reported: 1 })] })
  assert.deepEqual(told(), [[['a', 'b', 'c'], false]])
  desk.hear({ slices: [held(9, { reported: 3 })] })
  assert.deepEqual(told(), [[['b', 'c'], false]])
  desk.hear({ slices: [held(9, { reported: 3 })] })
  assert.deepEqual(told(), [])
  assert.equal(desk.sizes.unreported, 0)
})

test('the same is granted once: here until it is known there, and then there', () => {
  const desk = new Desk()
  desk.hear({ slices: [held(9)] })
  const first = desk.grant('a')
  assert.deepEqual(desk.ask('a'), { kind: 'repeated', local: first })
  assert.deepEqual(desk.ask('a', 1, { hash: 'another' }), { kind: 'pass', after: 'a' })
  desk.hear({ slices: [held(9, { reported: 1 })] })
  assert.deepEqual(desk.ask('a'), { kind: 'pass', after: undefined })
  const task = { taskId: 'x', attempt: 1 }
  assert.equal(desk.ask('t1', 1, { task }).kind, 'taken')
  assert.deepEqual(desk.ask('t2', 1, { task }), { kind: 'pass', after: 't1' })
  assert.equal(desk.ask('t3', 1, { task: { ...task, attempt: 2 } }).kind, 'taken')
  assert.equal(desk.ask('old', 1, { issuedAt: WALL - 700_000 }).kind, 'pass')
})

test('what is asked back, idle, or held no more is ended: nothing is taken from it any more', () => {
  const desk = new Desk()
  desk.hear({ slices: [held(9)] })
  desk.grant('a')
  desk.hear({ slices: [held(9, { recalled: true })] })
  assert.equal(desk.ask('b').kind, 'pass')
  desk.hear({ closed: [{ tenant: 't', lease: 7 }] })
  assert.deepEqual(
    desk.last.slices.map(({ lease, ended }) => [lease, ended]),
    [[7, true]],
  )
  assert.deepEqual(desk.sizes, { slices: 0, unreported: 0 })

  desk.hear({ slices: [held(9, { lease: 8 })] })
  desk.pass(10_001)
  desk.hear({ slices: [held(9, { lease: 8 })] })
  assert.deepEqual(
    desk.last.slices.map(({ lease, ended }) => [lease, ended]),
    [[8, true]],
  )

  desk.hear({ slices: [held(9, { lease: 9 })], closed: [{ tenant: 't', lease: 8 }] })
  desk.grant('c')
  desk.hear() // somebody wrote it off meanwhile
  assert.equal(desk.ask('d').kind, 'pass')
})

test('what was decided while an answer was on its way is told in the next round, though the slice is closed', () => {
  const desk = new Desk()
  desk.hear({ slices: [held(9)] })
  desk.grant('a')
  const round = desk.round(desk.now, true)
  desk.grant('b')
  desk.answered(round, answer({ closed: [{ tenant: 't', lease: 7 }] }), desk.now)
  desk.hear({ closed: [{ tenant: 't', lease: 7 }] })
  assert.deepEqual(
    desk.last.slices[0]!.admissions.map(({ id }) => id),
    ['b'],
  )
  assert.deepEqual(desk.sizes, { slices: 0, unreported: 0 })
})

test('a slice is asked for when somebody is asked for again and again, by what the next seconds need', () => {
  const desk = new Desk()
  desk.hear()
  desk.ask('a', 2)
  desk.hear()
  assert.deepEqual(desk.last.asks, [], 'once is no demand')
  for (let i = 0; i < 20; i++) desk.ask(`b${i}`, 2)
  desk.hear()
  const [ask] = desk.round(desk.now, true).asks
  assert.deepEqual([ask!.tenant, ask!.said, ask!.least], ['t', SAID, [{ resource: 'tokens', amount: 2 }]])
  assert.deepEqual(ask!.wanted, [{ resource: 'tokens', amount: 26 }]) // three fifths of what five seconds had
  desk.hear({ slices: [held(26)] })
  desk.hear({ slices: [held(26)] })
  assert.deepEqual(desk.last.asks, [], 'it has it')
  desk.pass(60_000)
  desk.hear()
  assert.deepEqual(desk.last.asks, [], 'nobody asks any more')
})

test('an earlier start is told of and ended where its journal is whole; another start of the same name ends this one', () => {
  const desk = new Desk()
  const { admission } = (() => {
    const other = new Desk()
    other.hear({ slices: [held(9)] })
    return other.grant('a')
  })()
  desk.recover('t', 3, [admission], true)
  desk.recover('t', 4, [admission], false)
  // Asked again, an aggregator decides, when it knows of it.
  assert.deepEqual(desk.ask('a'), { kind: 'pass', after: 'a' })
  assert.notEqual(desk.local('t', 'a'), undefined)
  desk.hear({ earlier: [{ tenant: 't', lease: 3, epoch: '0.a', reported: 0 }] })
  assert.deepEqual(
    desk.last.slices.map(({ lease, ended }) => [lease, ended]),
    [
      [3, true],
      [4, false],
    ],
  )
  assert.notEqual(desk.local('t', 'a'), undefined)
  desk.hear({ earlier: [{ tenant: 't', lease: 3, epoch: '0.a', reported: 1 }] })
  assert.deepEqual([desk.ask('a'), desk.local('t', 'a')], [{ kind: 'pass', after: undefined }, undefined])
  desk.hear({ earlier: [{ tenant: 't', lease: 3, epoch: '0.a', reported: 1 }] })
  assert.deepEqual(desk.last.slices[0], { tenant: 't', lease: 3, admissions: [], ended: true })
  assert.deepEqual(new Desk().hear({ superseded: 5 }), { startsAfter: 5 })
  desk.hear({ slices: [held(9)] })
  desk.grant('last')
  assert.equal(desk.hear({ superseded: 5, slices: [held(9)] }), 'superseded')
  assert.equal(desk.ask('b').kind, 'pass')
  desk.hear({ superseded: 5, slices: [held(9)] })
  const { admissions, ended } = desk.last.slices.find(({ lease }) => lease === 7)!
  assert.deepEqual([admissions.map(({ id }) => id), ended], [['last'], true])
})

test('control: a term that counted from the answer would grant from a slice that may be written off', () => {
  // As if the round had been sent when its answer was read.
  const desk = new Desk()
  const round = desk.round(desk.now, true)
  desk.pass(TERM)
  desk.answered(round, answer({ slices: [held(3)] }), desk.now)
  assert.equal(desk.ask('a').kind, 'taken')
})
