import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KEY_PROTOBUF, SeriesTable } from '../../../collector/shard/series-table.ts'

const id = (n: number) => {
  const bytes = new Uint8Array(16)
  new DataView(bytes.buffer).setUint32(0, n, true)
  return bytes
}
const bytesOf = (text: string) => {
  const bytes = new TextEncoder().encode(text)
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

/** Finds a key the way a decoder does: expected first, then by its bytes; a new one gets a series. */
function lookUp(table: SeriesTable, text: string, scope: number, newId: number): number {
  const { bytes, view } = bytesOf(text)
  const known = table.keys.expect(bytes, view, 0, bytes.length, scope)
  assert.ok(known === 0 || known <= bytes.length)
  const found = table.keys.find(bytes, view, 0, bytes.length, scope)
  if (found >= 0) return found
  const series = table.withId(id(newId), scope >> 1)
  const added = series >= 0 ? series : table.add(id(newId), scope >> 1)
  table.remember(bytes, view, 0, bytes.length, scope, added)
  return added
}

test('SeriesTable finds each key again, whatever order they come in, and keeps tenants and kinds apart', () => {
  const key = fc.string({ unit: fc.constantFrom('a', 'b', 'ab', 'ba', 'aab'), maxLength: 5 })
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.nat(3)), { maxLength: 300, size: 'max' }), (lookups) => {
      const table = new SeriesTable(7)
      const model = new Map<string, number>()
      for (const [text, scope] of lookups) {
        const name = `${scope} ${text}`
        const series = lookUp(table, text, scope, model.size + 1)
        if (model.has(name)) assert.equal(series, model.get(name))
        else model.set(name, series)
      }
      assert.equal(new Set(model.values()).size, model.size)
    }),
  )
})

test('SeriesTable grows over its first capacity with everything it knew', () => {
  const table = new SeriesTable(1)
  const numbers = Array.from({ length: 5000 }, (_, i) => lookUp(table, `series-${i}`, KEY_PROTOBUF, i + 1))
  for (let i = 4999; i >= 0; i--) assert.equal(lookUp(table, `series-${i}`, KEY_PROTOBUF, 0), numbers[i])
  assert.equal(table.count, 5000)
  assert.deepEqual(table.idOf(numbers[4321]!), id(4322))
})

test('SeriesTable leads two keys of one identity to one series', () => {
  const table = new SeriesTable(1)
  const first = lookUp(table, 'a,b', KEY_PROTOBUF, 9)
  assert.equal(lookUp(table, 'b,a', KEY_PROTOBUF, 9), first)
  assert.deepEqual([table.count, table.keys.entries], [1, 2])
})

test('SeriesTable.begin() forgets what was expected of a body that ended half-way', () => {
  const table = new SeriesTable(1)
  const one = lookUp(table, 'one', KEY_PROTOBUF, 1)
  lookUp(table, 'two', KEY_PROTOBUF, 2)
  lookUp(table, 'one', KEY_PROTOBUF, 1)
  const { bytes, view } = bytesOf('two')
  assert.equal(table.keys.expect(bytes, view, 0, 3, KEY_PROTOBUF), 3)
  table.keys.begin()
  assert.equal(lookUp(table, 'one', KEY_PROTOBUF, 1), one)
})

test('SeriesTable.retain() keeps the series used since, with their references, and gives new ones none of the old', () => {
  const table = new SeriesTable(1)
  for (let i = 0; i < 10; i++) {
    const series = lookUp(table, `s${i}`, KEY_PROTOBUF, i + 1)
    table.usedAt[series] = i
    table.lastTime[series] = i * 100
  }
  const kept = table.retain(6)
  assert.equal(kept.count, 4)
  for (let i = 6; i < 10; i++) {
    const series = lookUp(kept, `s${i}`, KEY_PROTOBUF, 99)
    assert.deepEqual([kept.ref[series], kept.lastTime[series]], [i + 1, i * 100])
  }
  assert.equal(kept.ref[lookUp(kept, 'new', KEY_PROTOBUF, 50)], 11)
})
