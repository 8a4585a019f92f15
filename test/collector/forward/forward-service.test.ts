/** What a forward asks of its shard, and when: the shard and the link are stand-ins. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ForwardOptions } from '../../../collector/forward/forward-service.ts'
import { ForwardService } from '../../../collector/forward/forward-service.ts'
import type { Link } from '../../../collector/forward/link.ts'
import type { Tick } from '../../../collector/shard/shard-core.ts'
import type { ShardThread } from '../../../collector/shard/shard-thread.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually } from '../../support/programs.ts'

/** By a timer that does not run out, with room for one batch. */
function forwarding(thread: object, link: object, options: Partial<ForwardOptions> = {}): ForwardService {
  const usual = { intervalMs: 3_600_000, batchesMax: 1, bytesMax: 1000, faults: () => {}, log: silentLogger }
  return new ForwardService(thread as unknown as ShardThread, link as unknown as Link, { ...usual, ...options })
}

/** Its one batch is under way on a link that never answers; its windows take ten steps. */
function forwardOf(batchesMax: number, emits: boolean) {
  const ticks: Partial<Tick>[] = []
  const batch = { from: 0, to: 1, samples: 1, bytes: new Uint8Array(1) }
  const thread = {
    name: 'shard-0',
    generation: 0,
    news: 0,
    snapshot: undefined,
    tick: async (tick: Partial<Tick>) => {
      ticks.push(tick)
      const snapshot = { due: false, emitting: ticks.length < 10 }
      return { batches: ticks.length === 1 ? [batch] : [], emission: undefined, snapshot, generation: 0 }
    },
  }
  const link = { send: () => new Promise(() => {}) }
  const forward = forwarding(thread, link, { batchesMax, emitted: async () => 0, emits: () => emits })
  return { forward, ticks }
}

test('windows are given out to the end while there is no room for batches', async () => {
  const { forward, ticks } = forwardOf(1, true)
  forward.poke()
  await eventually('all steps are asked for', async () => ticks.length === 10)
  assert.deepEqual(ticks.at(-1)?.roomBatches, 0)
})

test('a shard whose windows are not wanted at the moment is not asked again and again', async () => {
  const { forward, ticks } = forwardOf(2, false)
  forward.poke()
  for (let turn = 0; turn < 1000; turn++) await Promise.resolve()
  assert.equal(ticks.length, 1)
})

test('a full lane is ticked by its timer, not by all that comes; one that answers is asked to store, one that does not is not', async (t) => {
  for (const [problem, asked] of [
    [undefined, 5],
    ['connect ECONNREFUSED', 0],
  ] as const) {
    let [ticks, flushes] = [0, 0]
    const batch = { from: 0, to: 1, samples: 1, bytes: new Uint8Array(1) }
    const snapshot = { due: true, cursor: 0, end: 7 }
    const thread = {
      name: 'shard-0',
      generation: 0,
      news: 0,
      snapshot,
      tick: async () => ({ batches: ++ticks === 1 ? [batch] : [], emission: undefined, snapshot, generation: 0 }),
    }
    const link = { send: () => new Promise(() => {}), flush: async () => void flushes++, problem }
    const forward = forwarding(thread, link)
    t.after(() => forward.stop(AbortSignal.abort()))
    forward.due()
    await eventually('its one batch is under way', async () => ticks === 1)
    for (let body = 0; body < 100; body++) {
      forward.due()
      await Promise.resolve()
    }
    assert.equal(ticks, 1)
    for (let beat = 0; beat < 4; beat++) {
      forward.poke()
      await new Promise(setImmediate)
    }
    assert.deepEqual([ticks, flushes], [5, asked])
  }
})

test('a lane that has nothing to do is looked at seldom, and at once when it was asked something', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const snapshot = { due: false, cursor: 7, end: 7 }
  let ticks = 0
  const thread = {
    name: 'shard-0',
    generation: 0,
    news: 0,
    snapshot,
    tick: async () => {
      ticks++
      return { batches: [], emission: undefined, snapshot, generation: 0 }
    },
  }
  const link = { flush: async () => {}, problem: undefined }
  const forward = forwarding(thread, link, { intervalMs: 10 })
  await forward.start()
  t.after(() => forward.stop(AbortSignal.abort()))
  const beats = async (count: number): Promise<number> => {
    const before = ticks
    for (let beat = 0; beat < count; beat++) {
      t.mock.timers.tick(10)
      for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    }
    return ticks - before
  }
  assert.equal(await beats(50), 1, 'the first beat, and no other') // all of it takes less than a second
  thread.news++
  assert.equal(await beats(50), 1)
  snapshot.end = 8
  assert.equal(await beats(50), 50, 'something is not stored yet')
})
