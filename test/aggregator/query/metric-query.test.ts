/**
 * A query that memory answers, one that ClickHouse answers and one that spans both give the same answer, wherever the floor
 * lies and whatever is late; on the real engine.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { metricAnswer } from '../../../aggregator/query/answer.ts'
import { runMetricQuery } from '../../../aggregator/query/metric-query.ts'
import { AGGREGATES, readMetricQuery } from '../../../aggregator/query/parameters.ts'
import { rollUp } from '../../../aggregator/rollup/roller.ts'
import type { BatchPoint } from '../../support/batches.ts'
import { batchOf, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import type { Rig } from '../../support/intake.ts'
import { startRig } from '../../support/intake.ts'
import { Random, testSeed } from '../../support/random.ts'

const MINUTE = 60_000
const H = 60 * MINUTE
const DAY = 24 * H

const engine = engineOfFile()
const { directory } = engine

/** A rig that is stopped at the end, also when the test fails. */
async function rigOn(t: TestContext, database: string, floor: number): Promise<Rig> {
  const rig = await startRig(engine.db, database, join(directory, 'quarantine'), floor)
  t.after(() => rig.stop())
  return rig
}

interface Answer {
  data: {
    labels: Record<string, string | null>
    values: { timestamp: string; value: number; sample_ts?: string }[]
    latest_ts: string
  }[]
  meta: {
    latest_ts?: string
    series_count: number
    truncated: boolean
    matched_series: number
    warnings?: string[]
  }
}

async function ask(rig: Rig, parameters: Record<string, string>, limit = 50, points = 1000): Promise<Answer> {
  const query = readMetricQuery(new URLSearchParams(parameters), Date.now())
  assert.ok(typeof query !== 'string', String(query))
  return JSON.parse(
    await metricAnswer(query, await runMetricQuery(rig.query, 'default', query, limit), points),
  ) as Answer
}

const definitions = Array.from({ length: 8 }, (_, i) =>
  definition(i + 1, i < 6 ? 'temperature' : 'power', {
    gpu: String(i),
    node: i % 2 === 0 ? 'a' : 'b',
    ...(i === 3 ? {} : { model: `m${i % 3}` }),
  }),
)

/** Points on both sides of any floor, some of one instant, some without a finite value. Values whose sums are exact. */
function makePoints(random: Random, from: number, n: number): BatchPoint[] {
  const at = Date.now() * 1000
  return Array.from({ length: n }, (_, i) => ({
    ref: random.between(1, 8),
    time: from + random.between(0, 2 * H) - (random.chance(0.05) ? DAY : 0),
    at: at + i,
    value: random.chance(0.03) ? random.pick([Number.NaN, Infinity]) : random.between(-1000, 4000) / 4,
  }))
}

test('an answer does not depend on where memory ends and ClickHouse begins', { timeout: 120_000 }, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const from = Date.now() - 2 * H
  const points = makePoints(random, from, 3000)
  const rigs: Rig[] = []
  // All in memory; the floor in the middle; all in ClickHouse but what is late.
  for (const [i, floor] of [from - 2 * DAY, from + 70 * MINUTE + 123, Date.now() + H].entries()) {
    const rig = await rigOn(t, `floor${i}`, floor)
    for (let cut = 0; cut < points.length; cut += 700)
      await rig.intake.receive(batchOf(points.slice(cut, cut + 700), definitions))
    rigs.push(rig)
  }
  for (let i = 0; i < 60; i++) {
    const a = from - (random.chance(0.3) ? 2 * DAY : 0) + random.between(0, 2 * H)
    const b = a + random.between(0, 3 * H) + (random.chance(0.2) ? 2 * DAY : 0)
    const parameters: Record<string, string> = {
      name: random.pick(['temperature', 'temperature', 'power', 'nothing']),
      from: new Date(a).toISOString(),
      to: new Date(b).toISOString(),
      step: random.pick(['1s', '60s', '7m', '1h', '1d']),
      agg: random.pick(AGGREGATES),
      ...(random.chance(0.3)
        ? { labels: random.pick(['{"node":"a"}', '{"gpu":"3"}', '{"node":"a","gpu":"1"}', '{}']) }
        : {}),
      ...(random.chance(0.3) ? { group_by: random.pick(['node', 'model', 'gpu', 'absent']) } : {}),
    }
    const limit = random.pick([2, 50])
    const shown = random.pick([1, 3, 1000])
    const answers = await Promise.all(rigs.map((rig) => ask(rig, parameters, limit, shown)))
    assert.deepEqual(answers[1], answers[0], JSON.stringify(parameters))
    assert.deepEqual(answers[2], answers[0], JSON.stringify(parameters))
  }
})

test('late points that are not stored yet are in the answer, and the larger arrival wins against what is stored', {
  timeout: 60_000,
}, async (t) => {
  const time = Date.now() - H
  const rig = await rigOn(t, 'late', Date.now() - MINUTE)
  await rig.intake.receive(
    batchOf(
      [
        { ref: 1, time, at: 1000, value: 1 },
        { ref: 1, time: time + 1, at: 3000, value: 5 },
      ],
      definitions,
    ),
  )
  // Below the floor, in memory only: as between the arrival of a batch and its insert.
  const pending = rig.hot.begin()
  const slot = rig.registry.matching('default', 'temperature', [['gpu', '0']])[0]!
  rig.hot.add(pending, slot, time, 2, 2000)
  rig.hot.add(pending, slot, time + 1, 7, 2000)
  rig.hot.add(pending, slot, time + 2, 100, 2000)
  const at = (agg: string) =>
    ask(rig, {
      name: 'temperature',
      from: new Date(time - 5).toISOString(),
      to: new Date(time + 5).toISOString(),
      step: '1d',
      agg,
    })
  assert.equal((await at('sum')).data[0]?.values[0]?.value, 2 + 5 + 100)
  assert.equal((await at('p50')).data[0]?.values[0]?.value, 5)
  assert.equal((await at('last')).meta.latest_ts, new Date(time + 2).toISOString().replace('Z', '+00:00'))
})

test('roll-ups answer long ranges with the same figures as points, also for hours that are marked again', {
  timeout: 120_000,
}, async (t) => {
  const random = new Random(testSeed())
  const start = Math.floor(Date.now() / H) * H - 5 * DAY
  const points = Array.from(
    { length: 4000 },
    (_, i): BatchPoint => ({
      ref: random.between(1, 6),
      time: start + random.between(0, 4 * DAY),
      at: Date.now() * 1000 + i,
      value: random.between(0, 4000) / 4,
    }),
  )
  const rig = await rigOn(t, 'long', Date.now() - MINUTE)
  const every = {
    name: 'temperature',
    from: new Date(start - 17 * MINUTE).toISOString(),
    to: new Date(start + 4 * DAY + 3 * MINUTE).toISOString(),
  }
  const all = async () =>
    Promise.all(
      ['1h', '6h', '1d'].flatMap((step) =>
        ['avg', 'min', 'max', 'sum', 'last'].map((agg) => ask(rig, { ...every, step, agg })),
      ),
    )
  await rig.intake.receive(batchOf(points.slice(0, 3900), definitions))
  const fromPoints = await all()
  assert.ok((await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY })) > 90)
  assert.deepEqual((await rig.query.dirtyHours()).size, 0)
  assert.deepEqual(await all(), fromPoints)
  // Late samples: their hours are dirty, and read from points until they are rolled up again.
  await rig.intake.receive(batchOf(points.slice(3900), definitions))
  assert.ok((await rig.query.dirtyHours()).size > 0)
  const dirty = await all()
  await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY })
  assert.deepEqual(await all(), dirty)
})

test('limits keep the first series in byte order and the newest values, and say so', { timeout: 60_000 }, async (t) => {
  const now = Math.floor(Date.now() / MINUTE) * MINUTE
  for (const [i, floor] of [now - DAY, now + H].entries()) {
    const rig = await rigOn(t, `limits${i}`, floor)
    const many = Array.from({ length: 60 }, (_, s) => definition(s + 1, 'many', { s: String(s) }))
    await rig.intake.receive(
      batchOf(
        many.map((d, s) => ({ ref: d.ref, time: now - 5 * MINUTE + s, at: 1, value: s })),
        many,
      ),
    )
    const parameters = {
      name: 'many',
      from: new Date(now - H).toISOString(),
      to: new Date(now).toISOString(),
      step: '1d',
      agg: 'last',
    }
    const answer = await ask(rig, parameters)
    assert.deepEqual([answer.meta.series_count, answer.meta.matched_series, answer.meta.truncated], [50, 60, true])
    assert.deepEqual(
      answer.data.slice(0, 4).map((d) => d.labels['s']),
      ['0', '1', '10', '11'],
    )
    assert.equal(
      answer.meta.latest_ts,
      new Date(now - 5 * MINUTE + 59).toISOString().replace('Z', '+00:00'),
      'also of a series that is cut off',
    )
    const [first] = answer.data
    assert.deepEqual(
      first!.values.map((value) => [value.value, Date.parse(value.sample_ts!)]),
      [[0, now - 5 * MINUTE]],
      'when the last one was taken',
    )
    const long = definition(1000, 'long', {})
    await rig.intake.receive(
      batchOf(
        Array.from({ length: 1200 }, (_, m) => ({ ref: 1000, time: now - m * MINUTE, at: 1, value: m })),
        [long],
      ),
    )
    const minutes = await ask(rig, {
      name: 'long',
      from: new Date(now - DAY).toISOString(),
      to: new Date(now).toISOString(),
      step: '1m',
    })
    assert.equal(minutes.data[0]?.values.length, 1000)
    assert.equal(minutes.data[0]?.values.at(-1)?.value, 0, 'the newest is kept')
    assert.ok(minutes.meta.truncated)
  }
})

test('a sum beyond what a double holds is refused by name, and hostile names find nothing else', {
  timeout: 60_000,
}, async (t) => {
  const now = Date.now()
  const rig = await rigOn(t, 'hostile', now + H)
  const names = ["a'; DROP TABLE samples; --", '\\', '{x:UInt8}', '\u0000', '日本', '=', 'a=b']
  const hostile = names.map((name, i) => definition(i + 1, name, { [name]: name, 'k=v\\': "it's" }))
  await rig.intake.receive(
    batchOf(
      names.flatMap((_, i) => [
        { ref: i + 1, time: now - 10, at: 1, value: 1.7e308 },
        { ref: i + 1, time: now - 9, at: 1, value: 1.7e308 },
      ]),
      hostile,
    ),
  )
  for (const name of names) {
    const labels = JSON.stringify({ [name]: name, 'k=v\\': "it's" })
    const answer = await ask(rig, { name, agg: 'max', labels })
    assert.deepEqual(
      answer.data.map((d) => d.labels),
      [{ [name]: name, 'k=v\\': "it's" }],
      JSON.stringify(name),
    )
    await assert.rejects(ask(rig, { name, agg: 'sum', step: '1d' }), /beyond what a number holds/)
  }
  assert.equal((await ask(rig, { name: 'a', labels: `{"a":"=b"}` })).data.length, 0)
  assert.equal((await ask(rig, { name: 'a=b', group_by: 'a=b', agg: 'min' })).data[0]?.labels['a=b'], 'a=b')
})

test('labels are listed in their order, also those that look like numbers', async (t) => {
  const rig = await rigOn(t, 'numbers', 0)
  const labels = { '10': 'a', '2': 'b', '!': 'c', z: 'd' }
  await rig.intake.receive(batchOf([{ ref: 1, time: Date.now(), at: 1000, value: 1 }], [definition(1, 'n', labels)]))
  const query = readMetricQuery(new URLSearchParams({ name: 'n' }), Date.now() + 1000)
  assert.ok(typeof query !== 'string')
  const text = await metricAnswer(query, await runMetricQuery(rig.query, 'default', query, 50), 10)
  assert.match(text, /^\{"data":\[\{"labels":\{"!":"c","10":"a","2":"b","z":"d"\}/)
})

test('a question whose memory is given up meanwhile begins again', async (t) => {
  const rig = await rigOn(t, 'again', 0)
  await rig.intake.receive(batchOf([{ ref: 1, time: Date.now(), at: 1000, value: 1 }], definitions))
  let times = 0
  const stored = new Proxy(rig.query.stored, {
    get: (target, name) => {
      if (name === 'latest' && times++ < 2) rig.hot.invalidate()
      return Reflect.get(target, name).bind(target)
    },
  })
  rig.hot.evict(Date.now() + 10_000_000, rig.registry.slots)
  const query = readMetricQuery(new URLSearchParams({ name: 'temperature' }), Date.now() + 1000)
  assert.ok(typeof query !== 'string')
  const result = await runMetricQuery({ ...rig.query, stored }, 'default', query, 50)
  assert.deepEqual([times, result.matched], [3, 1])
})
