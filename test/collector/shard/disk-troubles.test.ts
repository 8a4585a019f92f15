/** A disk that takes nothing for a while: what is said, what senders are told, and that it is over without anybody's help. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import { decodeBatch } from '../../../proto/wire/batch.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_700_000_000_000
const options = shardOptions({ segmentBytes: 600, batchBytes: 1000, batchSamples: 10 })
const tick = { stored: [], roomBatches: 10, roomBytes: 1 << 24, urgent: false }

/** A shard that is sent numbered samples; a tick says that every batch before it is stored. */
class Driven {
  readonly files = new MemoryFiles()
  core = new ShardCore(this.files, options)
  now = NOW
  acknowledged: number[] = []
  stored: number[] = []
  #next = 0
  #ranges: { from: number; to: number }[] = []

  send(): string {
    this.now += 10
    const body = remoteWriteBody([{ name: 'n', labels: {}, time: this.now, value: this.#next }])
    const [outcome] = this.core.take(this.now, [{ door: 'remote_write', tenant: '', sender: 's', body }])
    if (outcome!.kind === 'ok') this.acknowledged.push(this.#next)
    this.#next++
    return outcome!.kind
  }

  tick(afterMs = 1000): void {
    this.now += afterMs
    const { batches } = this.core.tick({ ...tick, now: this.now, stored: this.#ranges })
    this.#ranges = batches.map(({ from, to }) => ({ from, to }))
    for (const { bytes } of batches) {
      const { samples } = decodeBatch(bytes)
      for (let i = 0; i < samples.count; i++) this.stored.push(samples.words[2 * i]!)
    }
  }

  restart(): void {
    this.files.kill()
    this.core = new ShardCore(this.files, options)
    this.#ranges = []
  }
}

for (const [fault, remedy] of [
  ['EROFS', /mount it read-write\. No restart is needed$/],
  ['EMFILE', /raise its limit of open files/],
] as const) {
  test(`${fault}: refused with "retry", named with place and remedy, over by itself, nothing lost and nothing twice`, () => {
    const shard = new Driven()
    for (let i = 0; i < 20; i++) assert.equal(shard.send(), 'ok')
    shard.tick()
    for (let i = 0; i < 5; i++) shard.send()
    shard.files.fault = fault
    const outcomes = Array.from({ length: 30 }, () => shard.send())
    assert.ok(outcomes.includes('retry'))
    assert.match(shard.core.state!, new RegExp(`^Cannot .* in "/shard": ${fault}`))
    assert.match(shard.core.state!, remedy)
    for (let i = 0; i < 5; i++) shard.tick()
    assert.notEqual(shard.core.state, undefined, 'still so')
    assert.equal(shard.send(), 'retry')
    shard.files.fault = undefined
    // Nobody sends: a balancer would not send to what is not ready.
    shard.tick()
    assert.equal(shard.core.state, undefined)
    assert.ok(!shard.files.list('/shard').includes('probe'))
    assert.equal(shard.send(), 'ok')
    for (let i = 0; i < 10; i++) shard.tick()
    assert.deepEqual(shard.stored, shard.acknowledged)
    assert.equal(shard.core.journal.segments, 1, 'what is stored is removed after all')
    shard.restart()
    assert.deepEqual({ ...shard.core.journal.recovery }, { lost: 0, quarantined: 0, torn: 0 })
    assert.equal(shard.core.journal.end, shard.acknowledged.length)
  })
}

test('a full disk is not called healed by the cursor, which has its room already', () => {
  const shard = new Driven()
  for (let i = 0; i < 5; i++) shard.send()
  shard.tick()
  shard.files.fault = 'EROFS'
  assert.equal(shard.send(), 'retry')
  shard.files.fault = undefined
  shard.files.nextOverwrite = undefined
  const overwrite = shard.files.overwrite.bind(shard.files)
  shard.files.overwrite = (path, at, content) => {
    if (path.endsWith('probe')) shard.files.nextOverwrite = 'full'
    overwrite(path, at, content)
  }
  shard.tick()
  shard.tick()
  assert.match(shard.core.state!, /^Cannot write to the journal in "\/shard": ENOSPC.*free space/)
  shard.files.overwrite = overwrite
  shard.tick()
  assert.equal(shard.core.state, undefined)
})

test('a journal that cannot be read for a while: the thread goes on, and so does what waits, later', () => {
  const shard = new Driven()
  for (let i = 0; i < 30; i++) shard.send()
  shard.restart() // so that everything is read from the journal
  shard.files.fault = 'EMFILE'
  shard.tick()
  assert.match(shard.core.state!, /^Cannot read segment "\/shard\/.*EMFILE/)
  shard.files.fault = undefined
  for (let i = 0; i < 10; i++) shard.tick()
  assert.equal(shard.core.state, undefined)
  assert.deepEqual(shard.stored, shard.acknowledged)
})

test('a segment whose beginning is cut short and cannot be removed is begun again at its start', () => {
  const shard = new Driven()
  shard.files.nextAppend = 'short and stuck' // of the head
  const remove = shard.files.remove
  shard.files.remove = () => {
    throw Object.assign(new Error('EROFS: on purpose'), { code: 'EROFS' })
  }
  assert.equal(shard.send(), 'retry')
  shard.files.remove = remove
  shard.files.kill() // what was stuck is not any more
  for (let i = 0; i < 3; i++) assert.equal(shard.send(), 'ok')
  shard.restart()
  assert.deepEqual({ ...shard.core.journal.recovery }, { lost: 0, quarantined: 0, torn: 0 })
  assert.equal(shard.core.journal.end, 3)
})
