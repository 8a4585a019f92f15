/** The intake on the real engine: what is answered to sound, strange and hostile batches. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { runMetricQuery } from '../../../aggregator/query/metric-query.ts'
import type { BatchHeader } from '../../../proto/wire/batch.ts'
import { encodeDefinitions, withSection } from '../../../proto/wire/batch.ts'
import { crc32c } from '../../../proto/wire/crc32c.ts'
import { batchOf, cutDefinitions, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import type { Rig } from '../../support/intake.ts'
import { startRig } from '../../support/intake.ts'
import { eventually } from '../../support/programs.ts'

const engine = engineOfFile()
const { directory } = engine

let databases = 0
async function rigOn(t: TestContext, rowsMax?: number): Promise<Rig & { count: () => Promise<number> }> {
  const database = `intake${databases++}`
  const rig = await startRig(engine.db, database, join(directory, 'quarantine'), Date.now() - 900_000, rowsMax)
  t.after(() => rig.stop())
  return {
    ...rig,
    count: async () =>
      Number((await engine.db.rows<{ n: string }>(`SELECT toString(count()) AS n FROM ${database}.points`))[0]!.n),
  }
}

const series = [definition(1, 'up', { a: '1' }), definition(2, 'up', { a: '2' })]
const now = Date.now()
const points = [
  { ref: 1, time: now, at: 1000, value: 1 },
  { ref: 2, time: now, at: 1000, value: 2 },
]

test('a batch whose series are not known is asked for them, and nothing of it is taken', async (t) => {
  const rig = await rigOn(t)
  assert.deepEqual(await rig.intake.receive(batchOf(points, [series[0]!])), { kind: 'need', refs: [2] })
  assert.equal(rig.intake.counts.received[0], 0)
  const described = withSection(batchOf(points, []), encodeDefinitions([series[1]!]))
  assert.deepEqual(await rig.intake.receive(described), { kind: 'stored', expired: 0 })
  assert.equal(await rig.count(), 2)
})

test('what refers to the definitions of the batch before it, however many, waits until they are learnt', async (t) => {
  const rig = await rigOn(t)
  const many = Array.from({ length: 3000 }, (_, i) => definition(i + 1, 'up', { a: `${i}` }))
  const last = { ref: 3000, time: now, at: 1000, value: 1 }
  const answers = await Promise.all([
    rig.intake.receive(batchOf(points, many, { from: 0, to: 2 })),
    rig.intake.receive(batchOf([last], [], { from: 2, to: 3 })),
    rig.intake.receive(batchOf(points, many, { from: 0, to: 2 })),
  ])
  assert.deepEqual(answers, Array(3).fill({ kind: 'stored', expired: 0 }))
  assert.equal(rig.intake.counts.needs, 0)
  assert.equal(await rig.count(), 3)
})

test('definitions that cannot be read are kept aside, and what the session says behind them is taken', async (t) => {
  const rig = await rigOn(t)
  const cut = withSection(batchOf(points, []), cutDefinitions(series))
  assert.equal((await rig.intake.receive(cut)).kind, 'unreadable')
  assert.equal(rig.intake.counts.received[0], 0)
  assert.deepEqual(await rig.intake.receive(batchOf(points, series)), { kind: 'stored', expired: 0 })
  assert.equal(await rig.count(), 2)
})

test('references of one session mean nothing in another, nor in another shard', async (t) => {
  const rig = await rigOn(t)
  await rig.intake.receive(batchOf(points, series))
  for (const header of [{ session: 'other' }, { shard: 1 }, { collector: 'other' }]) {
    assert.equal((await rig.intake.receive(batchOf(points, [], header))).kind, 'need')
  }
})

test('the same samples by two collectors, in other cuts and twice, are there once, with the larger arrival', async (t) => {
  const rig = await rigOn(t)
  await rig.intake.receive(batchOf(points, series))
  await rig.intake.receive(batchOf(points, series))
  await rig.intake.receive(batchOf([{ ref: 1, time: now, at: 2000, value: 7 }], series, { collector: 'other' }))
  await rig.intake.receive(batchOf([{ ref: 1, time: now, at: 1500, value: 8 }], series, { collector: 'third' }))
  assert.equal(await rig.count(), 2)
  const values: number[] = []
  rig.hot.read(rig.registry.matching('default', 'up', [['a', '1']])[0]!, 0, 1e15, (_, value) => values.push(value))
  assert.deepEqual(values, [7])
})

test('a range that comes again while it waits gets the answer of the first, and once it is stored, the same at once', async (t) => {
  const rig = await rigOn(t)
  const bytes = batchOf(points, series)
  const inserts = (): number => rig.store.counts.inserts
  const first = rig.intake.receive(bytes)
  const again = rig.intake.receive(bytes)
  await nextTurn()
  assert.equal(rig.store.waiting, 2, 'it is not taken twice')
  assert.deepEqual([await first, await again], Array(2).fill({ kind: 'stored', expired: 0 }))
  const before = inserts()
  assert.deepEqual(await rig.intake.receive(bytes), { kind: 'stored', expired: 0 })
  assert.equal(inserts(), before)
  assert.equal(rig.intake.counts.repeated, 2)
  assert.equal(rig.intake.counts.received[0], 2)
  // Another session has other positions: what it says is taken.
  assert.equal((await rig.intake.receive(batchOf(points, series, { session: 'next', from: 0, to: 2 }))).kind, 'stored')
  assert.equal(rig.intake.counts.received[0], 4)
})

test('a cursor that only brokers vouch for says of no range that it is stored, until it is proven', async (t) => {
  const rig = await rigOn(t)
  const headers: BatchHeader[] = []
  const [early, late] = [
    { session: 'kafka', from: 0, to: 2, cursor: 0 },
    { session: 'kafka', from: 9, to: 9, cursor: 9 }, // a sign of life: all before it is on the topic
  ]
  await rig.intake.receive(batchOf([], [], late), headers)
  assert.deepEqual(await rig.intake.receive(batchOf(points, series, early), headers), { kind: 'stored', expired: 0 })
  assert.equal(await rig.count(), 2)
  assert.deepEqual(
    headers.map(({ to }) => to),
    [9, 2],
  )
  assert.equal(rig.intake.counts.repeated, 0)
  rig.intake.proven(headers)
  await rig.intake.receive(batchOf(points, series, { ...early, from: 2, to: 5 }), headers)
  assert.equal(rig.intake.counts.repeated, 1)
})

test('a batch is visible before it is stored', async (t) => {
  const rig = await rigOn(t)
  const answer = rig.intake.receive(batchOf(points, series, { urgent: false }))
  await nextTurn()
  assert.equal(rig.registry.matching('default', 'up', []).filter((slot) => !rig.hot.isEmpty(slot)).length, 2)
  assert.deepEqual(await answer, { kind: 'stored', expired: 0 })
})

test('changed bytes are "damaged", nonsense with a sound checksum is "unreadable" and kept aside, a newer version is named', async (t) => {
  const rig = await rigOn(t)
  const bytes = batchOf(points, series)
  const flipped = bytes.slice()
  flipped[flipped.length - 1]! ^= 1
  assert.equal((await rig.intake.receive(flipped)).kind, 'damaged')
  const newer = bytes.slice()
  newer[3] = 9
  assert.equal((await rig.intake.receive(newer)).kind, 'newer')
  const keptAside = (): number => readdirSync(join(directory, 'quarantine')).length
  const before = keptAside()
  // A header section whose payload is cut to nothing, with a checksum that fits.
  const nonsense = Uint8Array.of(0x46, 0x4d, 0x42, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
  new DataView(nonsense.buffer).setUint32(9, crc32c(new Uint8Array(0)), true)
  assert.equal((await rig.intake.receive(nonsense)).kind, 'unreadable')
  assert.equal(keptAside(), before + 1, 'it is kept aside before it is answered')
  assert.equal(rig.intake.counts.unreadable, 1)
})

test('samples that are about to expire are counted and not stored, their neighbours are', async (t) => {
  const rig = await rigOn(t)
  const old = { ref: 1, time: now - 29.5 * 86_400_000, at: 1000, value: 1 }
  assert.deepEqual(await rig.intake.receive(batchOf([old, points[1]!], series)), { kind: 'stored', expired: 1 })
  assert.deepEqual([rig.intake.counts.expired[0], rig.intake.counts.stored[0], await rig.count()], [1, 1, 1])
})

test('with no room the batch is refused, and its points are visible all the same', async (t) => {
  const rig = await rigOn(t, 2)
  const first = rig.intake.receive(batchOf(points, series, { urgent: false }))
  const more = [{ ref: 1, time: now + 1, at: 1001, value: 3 }]
  assert.deepEqual(await rig.intake.receive(batchOf(more, series)), { kind: 'full' })
  const values: number[] = []
  rig.hot.read(rig.registry.matching('default', 'up', [['a', '1']])[0]!, 0, 1e15, (_, value) => values.push(value))
  assert.deepEqual(values, [1, 3])
  await first
  const { received, stored, refused, expired } = rig.intake.counts
  assert.deepEqual(
    received,
    stored.map((n, i) => n + refused[i]! + expired[i]!),
  )
})

test('what was refused is not given up as if it were stored, above the floor of memory or below it, until it is', async (t) => {
  const rig = await rigOn(t, 2)
  const first = rig.intake.receive(batchOf(points, series, { urgent: false }))
  const late = [
    { ref: 1, time: now - 1_000_000, at: 1001, value: 3 },
    { ref: 1, time: now - 600_000, at: 1001, value: 4 },
  ]
  const refused = { from: 2, to: 4, cursor: 0 }
  for (let i = 0; i < 3; i++)
    assert.deepEqual(await rig.intake.receive(batchOf(late, series, refused)), { kind: 'full' })
  await first
  const visible = async (): Promise<number> => {
    const query = { name: 'up', from: now - 2_000_000, to: now - 1, filter: [], stepMs: 1, agg: 'sum' } as const
    const { series: found, warnings } = await runMetricQuery(
      rig.query,
      'default',
      { ...query, groupBy: undefined, limit: undefined },
      10,
    )
    assert.deepEqual(warnings, [])
    return found.reduce((n, { buckets }) => n + buckets.sorted().length, 0)
  }
  assert.equal(await visible(), 2)
  rig.hot.evict(now + 100_000_000, rig.registry.slots)
  assert.ok(rig.hot.floor <= now - 600_000, 'memory still reaches back to it')
  assert.equal(await visible(), 2)
  // It comes again and is stored; a later batch says so.
  assert.deepEqual(await rig.intake.receive(batchOf(late, series, refused)), { kind: 'stored', expired: 0 })
  await rig.intake.receive(batchOf([], [], { from: 4, to: 4, cursor: 4 }))
  rig.hot.evict(now + 100_000_000, rig.registry.slots)
  assert.ok(rig.hot.floor > now)
  assert.equal(await visible(), 2)
})

test('an answer of the engine that is away comes when it is back, and the rows are there once', async (t) => {
  const rig = await rigOn(t)
  const pid = engine.process.pid!
  process.kill(pid, 'SIGKILL')
  const answer = rig.intake.receive(batchOf(points, series))
  await nextTurn()
  assert.equal(rig.store.waiting, 2)
  assert.deepEqual(await answer, { kind: 'stored', expired: 0 })
  await eventually('the engine is back', () => engine.process.health().ready)
  assert.equal(await rig.count(), 2)
})
