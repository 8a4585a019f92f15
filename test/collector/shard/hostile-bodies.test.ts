/** Bodies that are legal and unkind, disks that are full, hints that are wrong: what they cost, and that nothing is lost by it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Door } from '../../../collector/journal/record.ts'
import type { IncomingBody } from '../../../collector/shard/reception.ts'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import { decodeBatch } from '../../../proto/wire/batch.ts'
import type { SeriesToWrite } from '../../../proto/wire/remote-write.ts'
import { encodeWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { fullRequest1, fullRequest2 } from '../../support/full-requests.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_700_000_000_000
const options = shardOptions({
  limits: { seriesMax: 100, decodedBytesMax: 1 << 24 },
  batchBytes: 1 << 20,
  batchSamples: 1500,
})

const write = (series: Iterable<SeriesToWrite>) => ({
  door: 'remote_write' as const,
  tenant: 'default',
  sender: 'test',
  body: Uint8Array.from(portableSnappy.compress(encodeWriteRequest(series))),
})
const one = (name: string, time = NOW) => ({
  door: 'remote_write' as const,
  tenant: 'default',
  sender: 'test',
  body: remoteWriteBody([{ name, labels: {}, time, value: 1 }]),
})
const tick = { now: NOW, stored: [], roomBatches: 10, roomBytes: 1 << 24, urgent: false }

/** Everything that the shard gives out, as names of series with how many samples. */
function drain(core: ShardCore): Map<string, number> {
  const found = new Map<string, number>()
  const names = new Map<number, string>()
  for (let from = -1; core.cursor !== from; ) {
    from = core.cursor
    const batches = core.tick(tick).batches.filter((batch) => batch.samples > 0)
    for (const { bytes, samples } of batches) {
      const { definitions, samples: columns } = decodeBatch(bytes)
      assert.equal(columns.count, samples)
      for (const { ref, name } of definitions) names.set(ref, name)
      for (const ref of columns.refs.subarray(0, columns.count))
        found.set(names.get(ref)!, (found.get(names.get(ref)!) ?? 0) + 1)
    }
    core.tick({ ...tick, roomBatches: 0, stored: batches.map(({ from, to }) => ({ from, to })) })
  }
  return found
}

test('a body of more samples than are allowed is refused whole, its neighbours in the same write are not', () => {
  const core = new ShardCore(new MemoryFiles(), options)
  const many = (n: number) =>
    write([
      {
        labels: [['__name__', 'many']],
        samples: Array.from({ length: n }, (_, i) => ({ timestamp: NOW - i, value: i })),
      },
    ])
  const outcomes = core.take(NOW, [one('a'), many(1001), many(1000), one('b')])
  assert.deepEqual(
    outcomes.map((o) => (o.kind === 'ok' ? o.value.accepted : o.kind === 'reject' && o.code)),
    [1, 'too_large', 1000, 1],
  )
  assert.deepEqual(Object.fromEntries(drain(core)), { a: 1, many: 1000, b: 1 })
})

test('ever new spellings of one series are one series, and neither end the shard nor keep new ones out', () => {
  const files = new MemoryFiles()
  let core = new ShardCore(files, options)
  for (let i = 0; i < 300; i++) {
    const labels: [string, string][] = [
      ['__name__', 'k'],
      [`empty${i}`, ''],
    ]
    core.take(NOW, [write([{ labels, samples: [{ timestamp: NOW - i, value: i }] }])])
  }
  assert.equal(core.series, 1)
  assert.equal(core.take(NOW, [one('new')])[0]!.kind, 'ok')
  files.kill()
  core = new ShardCore(files, options)
  assert.deepEqual(Object.fromEntries(drain(core)), { k: 300, new: 1 })
})

test('labels without values, or behind the samples, cost no more memory than the body', () => {
  const core = new ShardCore(new MemoryFiles(), options)
  // A series of two million empty label fields, and one whose labels stand behind empty samples.
  const fields = new Uint8Array(4_000_000)
  for (let i = 0; i < fields.length; i += 2) fields[i] = 0x0a
  const behind = new Uint8Array(1000)
  for (let i = 0; i < behind.length - 2; i += 2) behind[i] = 0x12
  behind.set([0x0a, 0], behind.length - 2)
  const series = (bytes: Uint8Array): Uint8Array => {
    const head: number[] = [0x0a]
    for (let n = bytes.length; ; n = Math.floor(n / 128)) {
      if (n < 128) {
        head.push(n)
        break
      }
      head.push((n % 128) | 0x80)
    }
    return Uint8Array.from([...head, ...bytes])
  }
  const heap = process.memoryUsage().heapUsed
  for (const bytes of [fields, behind]) {
    const body = Uint8Array.from(portableSnappy.compress(series(bytes)))
    const [outcome] = core.take(NOW, [{ door: 'remote_write', tenant: 'default', sender: 'test', body }])
    assert.ok(outcome!.kind !== 'retry')
  }
  assert.ok(process.memoryUsage().heapUsed - heap < 200e6)
})

test('a full disk heals: the cursor needs no room, and stored segments go', () => {
  const files = new MemoryFiles()
  const core = new ShardCore(files, options)
  for (let i = 0; i < 100; i++) core.take(NOW + i, [one('a', NOW + i)])
  const before = files.list('/shard').length
  files.nextAppend = 'full'
  assert.equal(core.take(NOW + 200, [one('a', NOW + 200)])[0]!.kind, 'retry')
  assert.ok(core.state !== undefined)
  const size = files.size('/shard/cursor')
  drain(core)
  core.tick({ ...tick, now: NOW + 10_000 })
  assert.equal(core.state, undefined)
  assert.equal(files.size('/shard/cursor'), size, 'written in place')
  assert.ok(files.list('/shard').length < before)
  assert.equal(core.take(NOW + 300, [one('a', NOW + 300)])[0]!.kind, 'ok')
})

test('a cursor that was damaged is no hint: everything is sent again; one damaged slot leaves the other', () => {
  const files = new MemoryFiles()
  let core = new ShardCore(files, options)
  for (let i = 0; i < 3; i++) {
    core.take(NOW + i, [one('a', NOW + i)])
    core.close(NOW + i)
    files.kill()
    core = new ShardCore(files, options)
  }
  const sound = files.content.get('/shard/cursor')!.slice()
  for (const [what, damage] of [
    ['another number', Buffer.from('{"position":900,"at":1795240000000999}\n')],
    ['nothing', new Uint8Array(0)],
    ['bits of both slots', sound.map((byte, i) => (i % 128 === 12 ? byte ^ 1 : byte))],
  ] as const) {
    files.kill()
    files.content.set('/shard/cursor', Uint8Array.from(damage))
    core = new ShardCore(files, options)
    assert.equal(core.counts.snapshot().doors.remote_write.items.sample.recovered, 3, what)
    assert.equal(core.cursor, 0, what)
  }
  assert.deepEqual(Object.fromEntries(drain(core)), { a: 3 })
  core.tick({ ...tick, now: NOW + 10_000, roomBatches: 0 })
  core.take(NOW + 20_000, [one('a', NOW + 20_000)])
  drain(core)
  core.tick({ ...tick, now: NOW + 30_000, roomBatches: 0 })
  const torn = files.content.get('/shard/cursor')!.slice()
  files.kill()
  for (const slot of [0, 128]) {
    files.content.set(
      '/shard/cursor',
      torn.map((byte, i) => (i === slot + 5 ? byte ^ 1 : byte)),
    )
    assert.ok(new ShardCore(files, options).cursor >= 3)
    files.kill()
  }
})

test('a body that is refused leaves no trace in those of the same write', () => {
  const compress = (message: Uint8Array): Uint8Array => Uint8Array.from(portableSnappy.compress(message))
  // Everything that a request can hold, with starts; then a series with a sample that is cut off.
  const broken = Buffer.concat([fullRequest2(NOW), Uint8Array.of(0x2a, 2, 0x12, 5)])
  const of = (door: Door, body: Uint8Array): IncomingBody => ({ door, tenant: 'default', sender: 's', body })
  const batchOf = (bodies: readonly IncomingBody[]): unknown => {
    const core = new ShardCore(new MemoryFiles(), options)
    core.tick({ ...tick, now: NOW - 1 }) // from now on batches are made of what is in memory
    const outcomes = core.take(NOW, bodies)
    const { batches } = core.tick({ ...tick, now: NOW, roomBatches: 9 })
    const { definitions, samples, extras, starts } = decodeBatch(batches[0]!.bytes)
    // The numbers of series are others; everything that is said of them is the same.
    return {
      outcome: outcomes.at(-1),
      series: definitions.map(({ ref, ...definition }) => definition),
      samples: [samples.times, samples.words, samples.exponents, samples.arrivals],
      extras: extras.map((extra) => ({ ...extra, ref: undefined, message: Uint8Array.from(extra.message) })),
      starts: starts.map((start) => ({ ...start, ref: undefined })),
    }
  }
  for (const good of [
    of('remote_write', compress(fullRequest1(NOW))),
    of('remote_write_2', compress(fullRequest2(NOW))),
  ]) {
    assert.deepEqual(batchOf([of('remote_write_2', compress(broken)), good]), batchOf([good]))
  }
})

test('a wall clock that stands still, as after it was set back, stops neither the cursor nor what is removed behind it', () => {
  const core = new ShardCore(new MemoryFiles(), options)
  for (let i = 0; i < 100; i++) core.take(NOW, [one(`series_${i}`, NOW - i)])
  assert.ok(core.journal.segments > 2)
  const { batches } = core.tick({ ...tick, monotonic: 0 })
  assert.ok(batches.length > 0)
  core.tick({ ...tick, monotonic: 10_000, stored: batches.map(({ from, to }) => ({ from, to })) })
  assert.equal(core.journal.segments, 1)
})
