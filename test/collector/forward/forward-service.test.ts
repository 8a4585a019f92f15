/** What a forward asks of its shard, and when: the shard and the link are stand-ins. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ForwardService } from '../../../collector/forward/forward-service.ts'
import type { Link } from '../../../collector/forward/link.ts'
import type { Tick } from '../../../collector/shard/shard-core.ts'
import type { ShardThread } from '../../../collector/shard/shard-thread.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually } from '../../support/programs.ts'

/** Its one batch is under way on a link that never answers; its windows take ten steps. */
function forwardOf(batchesMax: number, emits: boolean) {
  const ticks: Partial<Tick>[] = []
  const batch = { from: 0, to: 1, samples: 1, bytes: new Uint8Array(1) }
  const thread = {
    name: 'shard-0',
    generation: 0,
    tick: async (tick: Partial<Tick>) => {
      ticks.push(tick)
      const snapshot = { due: false, emitting: ticks.length < 10 }
      return { batches: ticks.length === 1 ? [batch] : [], emission: undefined, snapshot, generation: 0 }
    },
  }
  const link = { send: () => new Promise(() => {}) }
  const forward = new ForwardService(thread as unknown as ShardThread, link as unknown as Link, {
    intervalMs: 3_600_000,
    batchesMax,
    bytesMax: 1000,
    emitted: async () => 0,
    emits: () => emits,
    faults: () => {},
    log: silentLogger,
  })
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
