/** Memory of points: never given to two, and no more kept than is in use. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PointColumns } from '../../../collector/rules/point-columns.ts'
import { PointMemory } from '../../../collector/rules/point-columns.ts'
import { Random, testSeed } from '../../support/random.ts'

test('PointMemory gives no columns to two at once, with room for what was asked, and keeps no more than is in use', (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const memory = new PointMemory()
  const out: { columns: PointColumns; mark: number }[] = []
  const room = (): number => out.reduce((sum, { columns }) => sum + columns.capacity, 0)
  for (let round = 0; round < 3000; round++) {
    if (random.chance(round < 1500 ? 0.6 : 0.4) || out.length === 0) {
      const points = random.between(0, 5000)
      const columns = memory.take(points)
      assert.ok(columns.capacity >= points && columns.capacity <= Math.max(64, points * 1.25), `${columns.capacity}`)
      columns.series.fill(round)
      columns.values.fill(round)
      columns.before.fill(round)
      out.push({ columns, mark: round })
    } else {
      const [given] = out.splice(random.between(0, out.length - 1), 1)
      memory.give(given!.columns)
    }
    assert.ok(memory.kept <= room(), `${memory.kept} lie there, ${room()} are in use`)
  }
  for (const { columns, mark } of out)
    assert.ok([columns.series, columns.values, columns.before].every((column) => column.every((item) => item === mark)))
  for (const { columns } of out) memory.give(columns)
  assert.equal(memory.kept, 0)
})
