/** A shard in its own thread: what holds when the thread is replaced. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { ArrivalClock } from '../../../collector/shard/arrival-clock.ts'
import type { ShardOptions } from '../../../collector/shard/shard-core.ts'
import { ShardThread } from '../../../collector/shard/shard-thread.ts'
import { BufferPool } from '../../../proto/runtime/buffer-pool.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { decodeBatch } from '../../../proto/wire/batch.ts'
import { temporaryDirectory } from '../../support/programs.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const LARGE = 1_000_000
const shard: Omit<ShardOptions, 'directory'> = {
  origin: { collector: 'c', session: 's', shard: 0, shards: 1 },
  writer: 7,
  limits: {
    seriesMax: 1000,
    metadataBytesMax: 10_000,
    seriesPerTenantMax: 1000,
    seriesPerSenderMax: 1000,
    overflowSeriesMax: 1000,
    labelCountMax: 10,
    labelNameBytesMax: 100,
    labelValueBytesMax: 100,
    decodedBytesMax: LARGE,
    samplesPerBodyMax: 1000,
  },
  futureMaxMs: 60_000,
  lateMaxMs: 3_600_000,
  journalBytesMax: LARGE,
  segmentBytes: LARGE,
  syncEveryWrite: false,
  batchBytes: LARGE,
  batchSamples: 100,
  seed: 5,
  rules: { rules: [], keepMs: 60_000, pointsMax: 1000, groupsMax: 10 },
}

test('ShardThread: a new thread, and a shard opened anew, speak of their series under a session that no batch before had', async (t) => {
  const directory = join(temporaryDirectory(), 'journal')
  const thread = new ShardThread({
    name: 'shard-0',
    shard: { ...shard, directory },
    merge: undefined,
    fault: '',
    clock: new ArrivalClock(systemClock),
    buffers: new BufferPool(0),
    log: silentLogger,
  })
  await thread.start()
  t.after(() => thread.stop())
  const body = remoteWriteBody([{ name: 'up', labels: {}, time: Date.now(), value: 1 }])
  const outcomes = await thread.take([{ door: 'remote_write', tenant: 't', sender: 's', body: Uint8Array.from(body) }])
  assert.equal(outcomes.outcomes[0]?.kind, 'ok')
  const tick = { stored: [], roomBatches: 8, roomBytes: LARGE, urgent: false }
  /** Nothing is told to be stored: it is the same range each time. */
  const header = async () => {
    const { batches } = await thread.tick(tick, thread.generation)
    const { session, from, to } = decodeBatch(batches[0]!.bytes).header
    return { session, range: [from, to] }
  }
  const first = await header()
  await assert.rejects(thread.tick({ ...tick, stored: undefined as never }, thread.generation))
  const second = await header()
  await thread.reopen({ shard: { ...shard, directory }, merge: undefined })
  const third = await header()
  assert.deepEqual(
    [first.range, second.range, third.range],
    [
      [0, 1],
      [0, 1],
      [0, 1],
    ],
  )
  assert.equal(new Set([first, second, third].map(({ session }) => session)).size, 3)
})
