import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeriesRegistry } from '../../../aggregator/hot/series-registry.ts'
import { RowBuffer, SAMPLE_COLUMNS } from '../../../aggregator/store/row-buffer.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import type { SampleColumns } from '../../../proto/wire/batch.ts'
import { engineOfFile } from '../../support/engine.ts'

const engine = engineOfFile()
const NOW = Date.now()
const OLDEST = NOW - 1_000_000

interface Row {
  readonly tenant: string
  readonly id: string
  readonly time: number
  readonly e: number
  readonly v: string
  readonly at: number
}

function columns(rows: readonly Row[]): SampleColumns {
  return {
    count: rows.length,
    refs: new Uint32Array(rows.length),
    times: Float64Array.from(rows, (row) => row.time),
    arrivals: Float64Array.from(rows, (row) => row.at),
    exponents: Uint8Array.from(rows, (row) => row.e),
    words: new Uint32Array(BigInt64Array.from(rows, (row) => BigInt(row.v)).buffer),
    memory: new Uint8Array(0),
  }
}

test('RowBuffer: the engine holds what was appended, whoever it is of, also in memory that is used again', async () => {
  await migrate(engine.db, 'fleetmeter', { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  const registry = new SeriesRegistry()
  const rows: Row[] = Array.from({ length: 3000 }, (_, i) => ({
    tenant: ['default', 'ünïcode', 'default', 'x'.repeat(200)][Math.floor(i / 7) % 4]!,
    id: i.toString(16).padStart(4, '0').repeat(8),
    time: NOW - (i % 900),
    e: i % 3 === 0 ? 255 : i % 10,
    v: String(BigInt(i % 2 === 0 ? -1 : 1) * (BigInt(i) * 1_000_000_007n ** 2n)).slice(0, 18),
    at: (NOW + i) * 1000 + 17,
  }))
  const slots = Int32Array.from(rows, ({ tenant, id }) =>
    registry.slotOf({ tenant, id: Uint8Array.from(Buffer.from(id, 'hex')), name: 'm', labels: [] }),
  )
  const buffer = new RowBuffer(16) // grows
  const late = columns(rows.map((row, i) => (i % 5 === 0 ? { ...row, time: OLDEST - 1 } : row)))
  for (const [start, end] of [
    [0, 1300],
    [1300, 3000],
  ] as const) {
    buffer.clear()
    const appended = buffer.append(registry, late, slots, start, end, OLDEST)
    assert.equal(appended, ((end - start) * 4) / 5)
    assert.equal(buffer.count, appended)
    await engine.db.insert('fleetmeter.samples', SAMPLE_COLUMNS, buffer.block())
  }
  const held = await engine.db.rows<Row>(
    `SELECT tenant, lower(hex(reinterpretAsFixedString(series))) AS id, toUnixTimestamp64Milli(ts) AS time, e,
       toString(v) AS v, toUnixTimestamp64Micro(at) AS at FROM fleetmeter.samples ORDER BY at`,
  )
  assert.deepEqual(
    held.map((row) => ({ ...row, id: row.id.padEnd(32, '0'), time: Number(row.time), at: Number(row.at) })),
    rows.filter((_, i) => i % 5 !== 0),
  )
})

test('RowBuffer: an insert of more tenants than sixteen bits number keeps them apart', async () => {
  await migrate(engine.db, 'many_tenants', { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  const registry = new SeriesRegistry()
  const tenants = 2 ** 16 + 10
  const rows = Array.from({ length: tenants }, (_, i) => ({
    tenant: `t${i}`,
    id: '',
    time: NOW,
    e: 0,
    v: String(i),
    at: NOW * 1000,
  }))
  const slots = Int32Array.from(rows, ({ tenant }) =>
    registry.slotOf({ tenant, id: new Uint8Array(16), name: 'm', labels: [] }),
  )
  const buffer = new RowBuffer()
  buffer.append(registry, columns(rows), slots, 0, tenants, OLDEST)
  await engine.db.insert('many_tenants.samples', SAMPLE_COLUMNS, buffer.block())
  const [held] = await engine.db.rows<{ tenants: string; wrong: string }>(
    `SELECT toString(uniqExact(tenant)) AS tenants, toString(countIf(tenant != concat('t', toString(v)))) AS wrong FROM many_tenants.samples`,
  )
  assert.deepEqual(held, { tenants: String(tenants), wrong: '0' })
})

test('RowBuffer names the hours that its rows fall into', () => {
  const registry = new SeriesRegistry()
  const slot = registry.slotOf({ tenant: 'default', id: new Uint8Array(16), name: 'm', labels: [] })
  const hour = 3_600_000
  const samples = columns(
    [1, hour - 1, hour, 7 * hour + 5].map((time) => ({ tenant: '', id: '', time, e: 0, v: '1', at: 1 })),
  )
  const buffer = new RowBuffer()
  buffer.append(registry, samples, new Int32Array(4).fill(slot), 0, 4, 2)
  assert.deepEqual([...buffer.hours], [0, hour, 7 * hour])
  buffer.clear()
  assert.deepEqual([buffer.count, [...buffer.hours]], [0, []])
})
