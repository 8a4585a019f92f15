import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SeriesInfo } from '../../../aggregator/hot/series-registry.ts'
import { SeriesRegistry } from '../../../aggregator/hot/series-registry.ts'
import { sha256 } from '../../../proto/runtime/sha256.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { SeriesIds } from '../../../proto/wire/labels.ts'

const ids = new SeriesIds(sha256)
const info = (name: string, labels: Label[], tenant = 'default'): SeriesInfo => ({
  tenant,
  id: ids.of(name, labels),
  name,
  labels,
})

test('SeriesRegistry gives one slot to a series, whoever sends it, and another to each tenant', () => {
  const registry = new SeriesRegistry()
  const slot = registry.slotOf(info('up', [['a', '1']]))
  assert.equal(registry.slotOf(info('up', [['a', '1']])), slot)
  assert.notEqual(registry.slotOf(info('up', [['a', '1']], 'other')), slot)
  assert.equal(registry.count, 2)
  assert.deepEqual(registry.names('other'), ['up'])
})

test('SeriesRegistry.matching() is containment', () => {
  const registry = new SeriesRegistry()
  const one = registry.slotOf(
    info('up', [
      ['a', '1'],
      ['b', '2'],
    ]),
  )
  const two = registry.slotOf(info('up', [['a', '1']]))
  assert.deepEqual(registry.matching('default', 'up', []), [one, two])
  assert.deepEqual(
    registry.matching('default', 'up', [
      ['a', '1'],
      ['b', '2'],
    ]),
    [one],
  )
  assert.deepEqual(registry.matching('default', 'up', [['a', '2']]), [])
  assert.deepEqual(registry.matching('default', 'down', []), [])
  assert.deepEqual(registry.matching('other', 'up', []), [])
})

test('SeriesRegistry.release() forgets the series and uses its slot again', () => {
  const registry = new SeriesRegistry()
  const slot = registry.slotOf(info('up', []))
  assert.equal(registry.labelsJson(slot), '{}')
  registry.release(slot)
  registry.release(slot)
  assert.equal(registry.count, 0)
  assert.deepEqual(registry.names('default'), [])
  const next = registry.slotOf(info('other', [['k', 'v']]))
  assert.equal(next, slot)
  assert.equal(registry.labelsJson(next), '{"k":"v"}')
})

test('SeriesRegistry.inGroup() gives the series of a group, of one tenant, as long as they are there', () => {
  const registry = new SeriesRegistry((_, labels) => labels.flatMap(([key, value]) => (key === 'node' ? [value] : [])))
  const one = registry.slotOf(info('up', [['node', 'a']]))
  const two = registry.slotOf(info('down', [['node', 'a']]))
  registry.slotOf(info('up', [['node', 'b']]))
  registry.slotOf(info('up', [['node', 'a']], 'other'))
  assert.deepEqual([...registry.inGroup('default', 'a')], [one, two])
  registry.release(one)
  assert.deepEqual([...registry.inGroup('default', 'a')], [two])
  registry.release(two)
  assert.deepEqual([...registry.inGroup('default', 'a')], [])
  assert.equal([...registry.inGroup('other', 'a')].length, 1)
})

test('SeriesRegistry.groupsAt() gives the groups of a series, each once', () => {
  const registry = new SeriesRegistry((_, labels) => labels.map(([, value]) => value))
  const groupsOf = (slot: number): string[] => registry.groupsAt(slot).map(({ tenant, name }) => `${tenant} ${name}`)
  const both = [
    ['host', 'a'],
    ['node', 'a'],
  ] as const
  const one = registry.slotOf(info('up', [...both]))
  const two = registry.slotOf(info('down', [['node', 'a']]))
  const none = registry.slotOf(info('up', []))
  const other = registry.slotOf(
    info('up', [
      ['node', 'a'],
      ['zone', 'z'],
    ]),
  )
  assert.deepEqual([one, two, none, other].map(groupsOf), [
    ['default a'],
    ['default a'],
    [],
    ['default a', 'default z'],
  ])
  assert.equal(registry.groupsAt(one), registry.groupsAt(two))
  registry.release(one)
  assert.deepEqual([...registry.inGroup('default', 'a')], [two, other])
  assert.deepEqual(groupsOf(registry.slotOf(info('new', [['node', 'b']]))), ['default b'], 'a slot that is used again')
})

test('SeriesRegistry counts two series under one id', () => {
  const registry = new SeriesRegistry()
  const first = info('up', [['a', '1']])
  registry.slotOf(first)
  registry.slotOf({ ...first, labels: [['a', '2']] })
  assert.equal(registry.collisions, 1)
})
