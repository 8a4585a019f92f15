/**
 * A window read from our own store, on the real engine: the recording's table comes out of it, wherever memory ends and ClickHouse
 * begins, and the points are those that were sent.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { StoredParts } from '../../../aggregator/prometheus/stored-parts.ts'
import type { OwnSourceOptions } from '../../../aggregator/tasks/own-source.ts'
import { OwnSeriesSource } from '../../../aggregator/tasks/own-source.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import { SeriesRefused, SeriesUnavailable } from '../../../aggregator/tasks/series-source.ts'
import { batchOf, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import type { Rig } from '../../support/intake.ts'
import { startRig } from '../../support/intake.ts'
import {
  assertRecordedTable,
  RECORDED_HOST,
  recordedReadSpan,
  recordedSelectors,
  recordedSeries,
  recordedTaskRecords,
} from '../../support/recorded-tasks.ts'

const engine = engineOfFile()
const TENANT = 'default'
/** The recording, as if its first sample were ten minutes old. */
const shift = Date.now() - 600_000 - recordedSeries()[0]!.times[0]!

async function filledRig(t: TestContext, database: string, floor: number): Promise<Rig> {
  const rig = await startRig(engine.db, database, join(engine.directory, 'quarantine'), floor)
  t.after(() => rig.stop())
  const series = recordedSeries(shift)
  const definitions = series.map(({ name, labels }, i) => definition(i + 1, name, labels, TENANT))
  const points = series.flatMap(({ times, values }, i) =>
    Array.from(times, (time, k) => ({ ref: i + 1, time, at: (shift + k) * 1000, value: values[k]! })),
  )
  await rig.intake.receive(batchOf(points, definitions))
  return rig
}

function sourceOf(rig: Rig, database: string, options: Partial<OwnSourceOptions> = {}): OwnSeriesSource {
  return new OwnSeriesSource({
    hot: () => rig.hot,
    registry: rig.registry,
    parts: new StoredParts(engine.db, database),
    storedProblem: () => undefined,
    seriesMax: 1000,
    pointsMax: 100_000,
    ...options,
  })
}

const plain = (series: readonly Series[]): unknown =>
  series
    .map(({ name, labels, times, values }) => ({
      name,
      labels: { ...labels },
      times: [...Array.from(times)],
      values: [...Array.from(values)],
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))

test('a window is the same from memory, from ClickHouse and from both', { timeout: 120_000 }, async (t) => {
  const times = recordedSeries(shift)[0]!.times
  const floors = { memory: times[0]! - 1, both: times[40]! + 1, stored: Date.now() + 3_600_000 }
  for (const [where, floor] of Object.entries(floors)) {
    const database = `window_${where}`
    const source = sourceOf(await filledRig(t, database, floor), database)
    const read = await source.read(TENANT, recordedSelectors(), times[0]!, times[times.length - 1]!, [RECORDED_HOST])
    assert.deepEqual(plain(read), plain(recordedSeries(shift)), where)
    const records = recordedTaskRecords(shift)
    for (const [i, record] of records.entries()) {
      const { from, to } = recordedReadSpan(record)
      assertRecordedTable(i, records, await source.read(TENANT, recordedSelectors(), from, to, [RECORDED_HOST]))
    }
    assert.deepEqual(
      await source.read('another', recordedSelectors(), times[0]!, times[times.length - 1]!, [RECORDED_HOST]),
      [],
    )
  }
})

test('a window that cannot be read says whether it may be later', { timeout: 60_000 }, async (t) => {
  const floor = Date.now() + 3_600_000
  const rig = await filledRig(t, 'refused', floor)
  const [from, to] = [shift + recordedSeries()[0]!.times[0]!, Date.now()]
  const read = (options: Partial<OwnSourceOptions>): Promise<Series[]> =>
    sourceOf(rig, 'refused', options).read(TENANT, recordedSelectors(), from, to, [RECORDED_HOST])
  await assert.rejects(read({ seriesMax: 2 }), SeriesRefused)
  await assert.rejects(read({ pointsMax: 100 }), SeriesRefused)
  await assert.rejects(read({ storedProblem: () => 'the engine is away' }), SeriesUnavailable)
  await assert.rejects(read({ parts: new StoredParts(engine.db, 'no_such_database') }), SeriesUnavailable)
})
