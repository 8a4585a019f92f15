/**
 * After duplicates, replaced values, lateness, restarts of the store and of the engine, and roll-ups in between, each
 * roll-up equals a recomputation from the points.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { rollUp } from '../../aggregator/rollup/roller.ts'
import type { Database } from '../../aggregator/store/clickhouse.ts'
import type { BatchPoint } from '../support/batches.ts'
import { batchOf, definition } from '../support/batches.ts'
import { startEngine } from '../support/engine.ts'
import { startRig } from '../support/intake.ts'
import { eventually, temporaryDirectory } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const H = 3_600_000
const DAY = 24 * H
const SERIES = 12

interface Window {
  count: number
  sum: number
  min: number
  max: number
  first: number
  last: number
  first_ts: number
  last_ts: number
  increase: number
  w: bigint
}

test('each roll-up equals a recomputation from the points', { timeout: 240_000 }, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const directory = temporaryDirectory()
  const engine = await startEngine(join(directory, 'engine'))
  t.after(() => engine.stop())
  const definitions = Array.from({ length: SERIES }, (_, i) =>
    definition(i + 1, i % 2 === 0 ? 'gauge' : 'counter_total', { i: String(i) }, i < 9 ? 'default' : 'other'),
  )
  // Three days back, so that hours and days are over.
  const start = Math.floor(Date.now() / DAY) * DAY - 3 * DAY
  let at = Date.now() * 1000
  const nextArrival = (): number => {
    at += random.between(1, 5)
    return at
  }
  const makePoints = (n: number): BatchPoint[] =>
    Array.from({ length: n }, () => ({
      ref: random.between(1, SERIES),
      // A coarse grid: many points meet an instant that is there already.
      time: start + random.between(0, 2 * 24 * 20) * 180_000,
      at: nextArrival(),
      value: random.chance(0.05)
        ? random.pick([Number.NaN, Infinity, 1 / 3, -0, 1e300, 2 ** 60])
        : random.between(-50, 1000) / random.pick([1, 4, 8]),
    }))

  let sent: BatchPoint[][] = []
  let windows = 0
  for (let restart = 0; restart < 4; restart++) {
    const rig = await startRig(engine.db, 'fleetmeter', join(directory, 'quarantine'), Date.now() - 900_000)
    t.after(() => rig.stop())
    for (let i = 0; i < 6; i++) {
      const fresh = makePoints(random.between(1, 400))
      sent.push(fresh)
      // What was sent before comes again, in another cut.
      const again = random.chance(0.5) ? random.pick(sent).slice(random.between(0, 50)) : []
      const answers = await Promise.all([
        rig.intake.receive(batchOf(fresh, definitions)),
        rig.intake.receive(batchOf(again, definitions)),
      ])
      assert.deepEqual(answers, [
        { kind: 'stored', expired: 0 },
        { kind: 'stored', expired: 0 },
      ])
      if (random.chance(0.4))
        windows += await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY })
    }
    if (restart === 1) {
      process.kill(engine.process.pid!, 'SIGKILL')
      await eventually('the engine is back', () => engine.process.health().ready && engine.process.restarts > 0)
    }
    await rig.stop()
    sent = sent.slice(-8)
  }
  const rig = await startRig(engine.db, 'fleetmeter', join(directory, 'quarantine'), Date.now() - 900_000)
  t.after(() => rig.stop())
  windows += await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY })
  assert.ok(windows > 0)
  assert.equal(
    await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY }),
    0,
    'marks were left',
  )
  await rig.stop()

  const points = await readPoints(engine.db)
  assert.ok(points.length > 1000)
  for (const [table, length] of [
    ['r1h', H],
    ['r1d', DAY],
  ] as const) {
    const wanted = recompute(points, length)
    const found = await readRollup(engine.db, table)
    assert.deepEqual([...found.keys()].sort(), [...wanted.keys()].sort(), table)
    for (const [key, window] of wanted) compare(`${table} ${key}`, found.get(key)!, window)
  }
})

function compare(what: string, found: Window, wanted: Window): void {
  assert.equal(found.w, wanted.w, `${what}: w`)
  assert.equal(found.count, wanted.count, `${what}: count`)
  if (wanted.count === 0) return
  for (const field of ['min', 'max', 'first', 'last', 'first_ts', 'last_ts'] as const)
    assert.equal(found[field] + 0, wanted[field] + 0, `${what}: ${field}`)
  // Sums of doubles depend on the order of adding in their last digits.
  for (const field of ['sum', 'increase'] as const) {
    assert.ok(
      Math.abs(found[field] - wanted[field]) <= 1e-12 * Math.max(1, Math.abs(wanted[field])) * wanted.count,
      `${what}: ${field} ${found[field]} instead of ${wanted[field]}`,
    )
  }
}

interface PointRow {
  readonly key: string
  readonly time: number
  readonly at: bigint
  readonly value: number
}

async function readPoints(db: Database): Promise<PointRow[]> {
  const rows = await db.rows<{ tenant: string; series: string; t: string; a: string; value: number | string | null }>(
    `SELECT tenant, toString(series) AS series, toString(toUnixTimestamp64Milli(ts)) AS t, toString(toUnixTimestamp64Micro(at)) AS a, value FROM fleetmeter.points ORDER BY tenant, series, ts`,
  )
  return rows.map((row) => ({
    key: `${row.tenant}/${row.series}`,
    time: Number(row.t),
    at: BigInt(row.a),
    value: Number(row.value),
  }))
}

function recompute(points: readonly PointRow[], length: number): Map<string, Window> {
  const windows = new Map<string, Window>()
  for (const { key, time, at, value } of points) {
    const id = `${key}@${Math.floor(time / length) * length}`
    const window = windows.get(id) ?? {
      count: 0,
      sum: 0,
      min: Infinity,
      max: -Infinity,
      first: 0,
      last: 0,
      first_ts: 0,
      last_ts: 0,
      increase: 0,
      w: 0n,
    }
    windows.set(id, window)
    window.w += at
    if (!Number.isFinite(value)) continue
    if (window.count === 0) {
      window.first = value
      window.first_ts = time
    } else window.increase += value < window.last ? value : value - window.last
    window.count++
    window.sum += value
    window.min = Math.min(window.min, value)
    window.max = Math.max(window.max, value)
    window.last = value
    window.last_ts = time
  }
  return windows
}

async function readRollup(db: Database, table: string): Promise<Map<string, Window>> {
  const rows = await db.rows<Record<string, string>>(
    `SELECT tenant, toString(series) AS series, toString(toUnixTimestamp(b)) AS b, toString(w) AS w, count, sum, min, max, first, last,
       toString(toUnixTimestamp64Milli(first_ts)) AS first_ts, toString(toUnixTimestamp64Milli(last_ts)) AS last_ts, increase
     FROM fleetmeter.${table} FINAL`,
  )
  return new Map(
    rows.map((row) => {
      const { tenant, series, b, w, ...figures } = row
      const numbers = Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value)]))
      return [`${tenant}/${series}@${Number(b) * 1000}`, { ...numbers, w: BigInt(w!) } as unknown as Window]
    }),
  )
}
