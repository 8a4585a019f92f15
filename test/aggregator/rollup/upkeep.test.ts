/** What is done to the tables now and then, on the real engine; and the border beyond which hours are not computed any more. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { ClickHouseMarkTable } from '../../../aggregator/rollup/mark-table.ts'
import { Marks } from '../../../aggregator/rollup/marks.ts'
import { Roller, rollUp } from '../../../aggregator/rollup/roller.ts'
import { mergeSettledDays } from '../../../aggregator/store/upkeep.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { batchOf, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import { startRig } from '../../support/intake.ts'
import { eventually } from '../../support/programs.ts'

const DAY = 86_400_000
const H = 3_600_000

const engine = engineOfFile()
const { directory } = engine

test('marks of days on which nothing is open are dropped, those of others stay', async (t) => {
  const rig = await startRig(engine.db, 'upkeep_marks', join(directory, 'q'), Date.now())
  t.after(() => rig.stop())
  const table = new ClickHouseMarkTable(engine.db, 'upkeep_marks')
  const mark = (id: string, made: string) => ({ level: 1 as const, start: 480_000 * H, id, made })
  await table.add([mark('1', '2026-01-01'), mark('2', '2026-01-02'), mark('3', '2026-01-03')])
  await table.clear([mark('1', '2026-01-01'), mark('3', '2026-01-03')])
  await table.dropCleared('2026-01-03')
  const rows = await engine.db.rows<{ id: string }>(
    'SELECT toString(id) AS id FROM upkeep_marks.rollup_marks FINAL ORDER BY id',
  )
  assert.deepEqual(
    rows.map((row) => row.id),
    ['2', '3'],
  )
  assert.deepEqual(
    (await table.open()).map((m) => m.id),
    ['2'],
  )
})

test('days that are settled are merged to one part; one that has just got a late sample is left alone', async (t) => {
  const rig = await startRig(engine.db, 'upkeep_merge', join(directory, 'q'), Date.now())
  t.after(() => rig.stop())
  await engine.db.command('SYSTEM STOP MERGES upkeep_merge.samples')
  const time = Date.now() - 3 * DAY
  for (let i = 0; i < 3; i++)
    await rig.intake.receive(batchOf([{ ref: 1, time: time + i, at: 1000 + i, value: i }], [definition(1, 'm', {})]))
  const parts = async (): Promise<number> =>
    Number(
      (
        await engine.db.rows<{ n: string }>(
          "SELECT toString(count()) AS n FROM system.parts WHERE database = 'upkeep_merge' AND table = 'samples' AND active",
        )
      )[0]!.n,
    )
  const before = await parts()
  await mergeSettledDays(engine.db, 'upkeep_merge', Date.now())
  assert.equal(before, 3)
  assert.equal(await parts(), 3, 'it has got samples just now')
  await engine.db.command('SYSTEM START MERGES upkeep_merge.samples')
  await mergeSettledDays(engine.db, 'upkeep_merge', Date.now(), 0)
  assert.equal(await parts(), 1)
})

test('the hour at the border is computed while its samples are still taken', async (t) => {
  const rig = await startRig(engine.db, 'upkeep_border', join(directory, 'q'), Date.now())
  t.after(() => rig.stop())
  const time = Date.now() - 29 * DAY + 60_000
  await rig.intake.receive(batchOf([{ ref: 1, time, at: 1000, value: 7 }], [definition(1, 'm', {})]))
  const windows = await rollUp(rig.marks, rig.rollups, Date.now() + 600_000, { graceMs: 0, lateMaxMs: 29 * DAY })
  assert.equal(windows, 2, 'an hour and its day')
  const [row] = await engine.db.rows<{ sum: number }>('SELECT sum FROM upkeep_border.r1h FINAL')
  assert.equal(row?.sum, 7)
})

test('a job that fails is counted and does not keep the next from its work', async (t) => {
  const rig = await startRig(engine.db, 'upkeep_jobs', join(directory, 'q'), Date.now())
  let done = 0
  const roller = new Roller(
    new Marks(new ClickHouseMarkTable(engine.db, 'upkeep_jobs'), true, () => Date.now()),
    rig.rollups,
    {
      intervalMs: 10,
      graceMs: 0,
      lateMaxMs: 29 * DAY,
      clock: systemClock,
      log: silentLogger,
      upkeep: [() => Promise.reject(new Error('broken')), async () => void done++],
    },
  )
  await roller.start()
  t.after(async () => {
    await roller.stop(AbortSignal.timeout(1000))
    await rig.stop()
  })
  await eventually('both were tried', () => done > 1 && roller.counts.failures > 1)
})
