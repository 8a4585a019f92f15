/** What a shard does with records that it cannot replay: see set-aside.ts. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { IncomingBody } from '../../../collector/shard/reception.ts'
import { Reception } from '../../../collector/shard/reception.ts'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import { ShardCounts, waiting } from '../../../collector/shard/shard-counts.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { StoreModel } from '../../support/store-model.ts'
import type { Point } from '../../support/write-request.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_761_991_200_000

const options = shardOptions()

const bodyOf = (points: readonly Point[]): IncomingBody => ({
  door: 'remote_write',
  tenant: 'default',
  sender: 'test',
  body: remoteWriteBody(points),
})

/** A replay that meets a defect of ours where a body holds this metric, after it has told of some of its samples. */
function withDefect(t: TestContext, metric: string): void {
  const { replay } = Reception.prototype
  Reception.prototype.replay = function (record, visitor) {
    const done = replay.call(this, record, visitor)
    if (Buffer.from(portableSnappy.uncompress(record.body, 1 << 20)).includes(metric)) throw new TypeError('a defect')
    return done
  }
  t.after(() => {
    Reception.prototype.replay = replay
  })
}

test('a record whose replay fails by a defect is set aside and said, and all others are stored', (t) => {
  const files = new MemoryFiles()
  const metrics = ['good', 'bad', 'good', 'bad', 'good']
  const first = new ShardCore(files, options)
  for (const [i, name] of metrics.entries())
    first.take(NOW + i, [bodyOf([{ name, labels: {}, time: NOW + i, value: i }])])
  files.kill()
  withDefect(t, 'bad')
  const said: string[] = []
  const open = (): ShardCore =>
    ShardCore.open(
      files,
      options,
      () => {},
      new ShardCounts(),
      () => {},
      (why) => said.push(why),
    )
  const core = open()
  assert.deepEqual(
    said.map((why) => why.replace(/"[^"]+\//, '"')),
    [1, 3].map(
      (at) =>
        `Cannot replay the record at position ${at} (1 items of remote_write): a defect. Its body is kept as "failed-${at}.bin", and it is passed over from now on`,
    ),
  )
  const counts = core.counts.of('remote_write', 'sample')
  assert.deepEqual([counts.recovered, waiting(counts)], [5, 5])
  const store = new StoreModel()
  const { batches } = core.tick({ now: NOW + 9, stored: [], roomBatches: 9, roomBytes: 1e9, urgent: true })
  for (const { bytes } of batches) store.storeDescribed(bytes, (refs) => core.describe(refs))
  assert.deepEqual([...store.points.values()].map((p) => p.value).sort(), [0, 2, 4])
  core.tick({ now: NOW + 10, stored: batches, roomBatches: 0, roomBytes: 0, urgent: true })
  assert.deepEqual([core.cursor, core.counts.unreadable, waiting(counts)], [5, 2, 0])
  core.close(NOW + 10)
  assert.equal(files.openFiles, 0, 'those of cores that were thrown away too')
  open()
  assert.equal(said.length, 2, 'the next start passes over them')
})

test('where a start fails at many records, it is not the records: no more are set aside', (t) => {
  const files = new MemoryFiles()
  const first = new ShardCore(files, options)
  for (let i = 0; i < 15; i++) first.take(NOW + i, [bodyOf([{ name: 'bad', labels: {}, time: NOW + i, value: i }])])
  files.kill()
  withDefect(t, 'bad')
  const said: string[] = []
  const open = (): ShardCore =>
    ShardCore.open(
      files,
      options,
      () => {},
      new ShardCounts(),
      () => {},
      (why) => said.push(why),
    )
  for (let start = 0; start < 3; start++) {
    assert.throws(open, /position 10 .* 10 records are set aside already.*run the version of before, nothing is lost/)
    assert.equal(said.length, 10)
    files.kill()
  }
  for (const name of [...files.content.keys()]) if (name.includes('failed-')) files.content.delete(name)
  files.nextAppend = 'full'
  assert.throws(open, /position 0 .* It cannot be set aside as "[^"]+failed-0.bin": ENOSPC/)
})

test('a record that was set aside is known by its body: a journal that began anew has others at its place', () => {
  const files = new MemoryFiles()
  files.content.set('/shard/quarantine/failed-0.bin', Uint8Array.of(1, 2, 3))
  const first = new ShardCore(files, options)
  first.take(NOW, [bodyOf([{ name: 'good', labels: {}, time: NOW, value: 1 }])])
  files.kill()
  const core = new ShardCore(files, options)
  const { batches } = core.tick({ now: NOW + 9, stored: [], roomBatches: 9, roomBytes: 1e9, urgent: true })
  const store = new StoreModel()
  for (const { bytes } of batches) store.storeDescribed(bytes, (refs) => core.describe(refs))
  assert.equal(store.points.size, 1)
})
