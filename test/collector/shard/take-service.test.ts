/** The mailbox of a shard whose thread is busy: one sender's flood leaves room for the others. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { Pace } from '../../../collector/shard/pace.ts'
import type { IncomingBody, Taken } from '../../../collector/shard/reception.ts'
import type { WaitingBounds } from '../../../collector/shard/take-service.ts'
import { TakeService } from '../../../collector/shard/take-service.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { Outcome } from '../../../proto/runtime/outcome.ts'
import { ok } from '../../../proto/runtime/outcome.ts'
import { Supervisor } from '../../../proto/runtime/supervisor.ts'

const TAKEN: Taken = {
  items: { sample: 1, histogram: 0, exemplar: 0, metadata: 0 },
  accepted: 1,
  duplicate: 0,
  replaced: 0,
  refused: [],
  overflow: [],
  badPoints: [],
}

const body = (sender: string, bytes = 10): IncomingBody => ({
  door: 'remote_write',
  tenant: 'default',
  sender,
  body: new Uint8Array(bytes),
})

/** A service whose thread answers when it is let. */
async function blocked(
  t: TestContext,
  bounds: Omit<WaitingBounds, 'ms'>,
): Promise<{ take: TakeService; release: () => void }> {
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const thread = {
    name: 'shard-0',
    take: async (bodies: readonly IncomingBody[]) => {
      await gate
      return { outcomes: bodies.map(() => ok(TAKEN)), due: false, state: undefined, ms: 1 }
    },
  }
  const take = new TakeService(thread, { ms: 60_000, ...bounds }, systemClock, () => {})
  const supervisor = new Supervisor([take], { log: silentLogger, stopDeadlineMs: 1000 })
  await supervisor.start()
  t.after(async () => {
    release()
    await supervisor.stop()
  })
  // The thread is busy with one body: what comes now waits.
  void take.take(body('first'))
  while (take.mailbox.size > 0) await new Promise(setImmediate)
  return { take, release }
}

/** A service whose thread takes a millisecond of its clock for each 100 bytes; after a slow first body, full writes are done. */
async function paced(
  t: TestContext,
  full = 3,
): Promise<{ take: TakeService; clock: { ms: number }; release: () => void; turn: () => Promise<void> }> {
  const clock = { ms: 0 }
  const gates: (() => void)[] = []
  const thread = {
    name: 'shard-0',
    take: async (bodies: readonly IncomingBody[]) => {
      await new Promise<void>((resolve) => gates.push(resolve))
      const ms = bodies.reduce((n, b) => n + b.body.length, 0) / 100
      clock.ms += ms
      return { outcomes: bodies.map(() => ok(TAKEN)), due: false, state: undefined, ms }
    },
  }
  const bounds = { bodies: 1e6, bytes: 1e9, bodyBytes: 1e6, ms: 1000 }
  const take = new TakeService(thread, bounds, { now: () => clock.ms, monotonic: () => clock.ms }, () => {})
  const supervisor = new Supervisor([take], { log: silentLogger, stopDeadlineMs: 1000 })
  await supervisor.start()
  const release = (): void => gates.shift()?.()
  t.after(async () => {
    const letGo = setInterval(release, 1)
    await supervisor.stop()
    clearInterval(letGo)
  })
  // A first one that is slow, and says nothing: nobody waits behind it.
  void take.take(body('first', 1000))
  const turn = async (): Promise<void> => {
    while (gates.length === 0) await new Promise(setImmediate)
  }
  await turn()
  clock.ms += 500
  for (let i = 0; i < full; i++) void take.take(body(`full ${i}`, 1_000_000)) // more than a write holds
  for (let write = 0; write < full; write++) {
    release()
    await turn()
  }
  return { take, clock, release, turn }
}

async function refused(outcomes: readonly Promise<Outcome<Taken>>[]): Promise<number> {
  const settled = await Promise.all(
    outcomes.map((outcome) =>
      Promise.race([outcome, new Promise<undefined>((resolve) => setImmediate(resolve, undefined))]),
    ),
  )
  return settled.filter((outcome) => outcome?.kind === 'retry').length
}

test('TakeService: little that waits waits for more, much does not', async (t) => {
  const { take, clock, release, turn } = await paced(t, 0)
  clock.ms = 10_000
  release()
  void take.take(body('a', 100))
  await turn() // its write begins now
  void take.take(body('a', 100))
  assert.equal(take.pauseMs(), 4)
  clock.ms += 3
  assert.equal(take.pauseMs(), 1)
  void take.take(body('b', 64 * 1024))
  assert.ok(take.pauseMs() <= 0)
  clock.ms -= 3
  assert.equal(take.pauseMs(), 1) // arrivals are a millisecond apart
})

test('TakeService: a flood fills half of the mailbox; another sender still gets in, and all of it is taken in the end', async (t) => {
  const { take, release } = await blocked(t, { bodies: 100, bytes: 1e9, bodyBytes: 10 })
  const flood = Array.from({ length: 500 }, () => take.take(body('flood')))
  assert.equal(await refused(flood), 450)
  const other = Array.from({ length: 30 }, () => take.take(body('other')))
  assert.equal(await refused(other), 0)
  assert.equal(take.overShare, 450)
  const full = take.take(body('flood'))
  assert.deepEqual(await full, {
    kind: 'retry',
    code: 'busy',
    reason: 'More of this sender is waiting than its share, and others wait too: send this again',
  })
  release()
  assert.ok((await Promise.all(other)).every((outcome) => outcome.kind === 'ok'))
  assert.equal((await Promise.all(flood)).filter((outcome) => outcome.kind === 'ok').length, 50)
  assert.equal((await take.take(body('flood'))).kind, 'ok', 'what went out is given back')
})

test('TakeService: the share is one of bytes too, and every sender may have one body of the largest size', async (t) => {
  const { take } = await blocked(t, { bodies: 1000, bytes: 1000, bodyBytes: 300 })
  assert.equal(await refused([take.take(body('a', 300)), take.take(body('a', 200)), take.take(body('a', 10))]), 1)
  assert.equal(await refused([take.take(body('b', 300)), take.take(body('b', 100))]), 1)
  assert.equal(await refused([take.take(body('c', 200)), take.take(body('d', 1))]), 1, 'and then it is full')
})

test('TakeService: what would wait longer than it may is refused, before its body is read; the half of that is for others', async (t) => {
  const { take } = await paced(t)
  // 100 bytes a millisecond, for 1,000 ms: 100,000 bytes may wait, half of it of one sender.
  const flood = Array.from({ length: 100 }, () => take.take(body('flood', 1000)))
  assert.equal(await refused(flood), 50)
  assert.equal(take.tooLate, 50)
  assert.match(String((take.refuses('flood', 1000) as { reason: string }).reason), /would wait for over 1000 ms/)
  assert.equal(take.refuses('other', 1000), undefined)
  assert.equal(take.refuses('large', 900_000), undefined, 'whoever has nothing there may send a body of any size')
  const others = Array.from({ length: 100 }, (_, i) => take.take(body(`sender ${i}`, 1000)))
  const late = await refused(others)
  assert.ok(late >= 48 && late <= 50, `${late} of a hundred others came too late`)
})

test('Pace: a write that tells nothing counts only where it is faster than what is known', () => {
  const pace = new Pace()
  pace.worked(1000, 100, false)
  assert.equal(pace.bytesIn(1), Number.POSITIVE_INFINITY)
  pace.worked(1000, 1, true)
  pace.worked(10, 1, false)
  assert.equal(pace.bytesIn(1), 1000)
  pace.worked(2000, 1, false)
  assert.equal(pace.bytesIn(1), 1200)
  pace.worked(200, 1, true)
  assert.equal(pace.bytesIn(1), 1000)
})

test('TakeService: a write of several bodies that took long tells what others cost, though it was not full', async (t) => {
  const { take, clock, release, turn } = await paced(t, 0)
  for (let i = 0; i < 8; i++) void take.take(body(`sender ${i}`, 10_000))
  assert.equal(take.refuses('one more', 1_000_000), undefined)
  release()
  await turn() // the eight: 800 ms
  release()
  await new Promise(setImmediate)
  assert.equal(clock.ms, 500 + 10 + 800)
  void take.take(body('waits', 90_000))
  assert.match(String((take.refuses('waits', 20_000) as { reason: string }).reason), /would wait for over 1000 ms/)
})

test('TakeService: while the oldest waits for too long, nobody adds to what he has waiting; others still may', async (t) => {
  const { take, clock, release } = await paced(t)
  const waits = take.take(body('a'))
  clock.ms += 1001
  assert.equal(await refused([take.take(body('a')), take.take(body('b'))]), 1)
  release()
  await new Promise(setImmediate)
  const letGo = setInterval(release, 1)
  assert.equal((await waits).kind, 'ok')
  assert.equal((await take.take(body('a'))).kind, 'ok')
  clearInterval(letGo)
})
