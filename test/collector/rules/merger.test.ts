import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GroupColumns } from '../../../collector/rules/group-columns.ts'
import { needsOf } from '../../../collector/rules/group-state.ts'
import { Merger } from '../../../collector/rules/merger.ts'
import type { Part } from '../../../collector/rules/part.ts'
import { partOf } from '../../../collector/rules/part.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import { outputPoints } from '../../support/output-points.ts'

const MINUTE = 60_000
const KEEP = 300_000
const { rules } = readRules([{ match: 'm', interval: '1m', by: ['g'], outputs: ['sum', 'count'] }])
const [rule] = rules as [(typeof rules)[0]]
const newMerger = (shards: number) => new Merger(rules, shards, { keepMs: KEEP, collector: 'me' })

/** A part with a group for each entry, and its values. */
function part(end: number, groups: Readonly<Record<string, readonly number[]>>, complete = true): Part {
  const columns = new GroupColumns(needsOf(rule))
  const names = Object.keys(groups)
  for (const [i, values] of Object.values(groups).entries()) {
    const row = columns.row(i, true)
    for (const value of values) columns.add(row, end, value)
  }
  const nameOf = (group: number): string => JSON.stringify(['t', 'm', 'g', names[group]])
  return partOf({ rule: 0, end, complete }, columns, { start: 0, end: names.length }, nameOf)
}
const give = (merger: Merger) =>
  outputPoints(merger).map(({ labels, time, output }) => {
    const text = output.kind === 'float' ? output.value : output.kind
    return `${time / MINUTE} ${labels
      .map(([, value]) => value)
      .join(' ')
      .replace('m:1m_by_g_', '')} ${text}`
  })
const take = (merger: Merger, shard: number, through: number, ...parts: Part[]) =>
  merger.take(shard, { parts, through: [through] })

test('Merger.give() waits until every shard has emitted everything up to the window', () => {
  const merger = newMerger(2)
  take(merger, 0, 2 * MINUTE, part(MINUTE, { x: [1, 2] }), part(2 * MINUTE, { x: [5] }))
  assert.deepEqual(give(merger), [])
  take(merger, 1, MINUTE, part(MINUTE, { x: [3], y: [4] }))
  assert.deepEqual(give(merger), ['1 sum me x 6', '1 count me x 3', '1 sum me y 4', '1 count me y 1'])
  take(merger, 1, 2 * MINUTE)
  assert.deepEqual(give(merger), ['2 sum me x 5', '2 count me x 1'])
  assert.deepEqual(give(merger), [])
})

test('Merger: parts replace what the shard told before, and only what then differs is given out', () => {
  const merger = newMerger(2)
  take(merger, 0, MINUTE, part(MINUTE, { x: [1, 2], y: [1] }))
  take(merger, 1, MINUTE, part(MINUTE, { x: [3] }))
  give(merger)
  take(merger, 0, MINUTE, part(MINUTE, { x: [1, 2], y: [1] }))
  assert.deepEqual(give(merger), [])
  take(merger, 0, MINUTE, part(MINUTE, { x: [1, 1, 1] }, false))
  assert.deepEqual(give(merger), ['1 count me x 4'])
})

test('Merger: a shard that starts anew leaves its old parts until it tells its own', () => {
  const merger = newMerger(1)
  take(merger, 0, 2 * MINUTE, part(MINUTE, { x: [1], y: [2] }), part(2 * MINUTE, { x: [3] }))
  give(merger)
  take(merger, 0, 0)
  assert.deepEqual(give(merger), [])
  take(merger, 0, MINUTE, part(MINUTE, { x: [1] }))
  assert.deepEqual(give(merger), ['1 sum me y none', '1 count me y none'])
  take(merger, 0, 2 * MINUTE)
  assert.deepEqual(give(merger), [])
})

test('Merger: a group whose samples were all replaced by stale markers is taken back, and can come again', () => {
  const merger = newMerger(1)
  take(merger, 0, MINUTE, part(MINUTE, { x: [1] }))
  give(merger)
  take(merger, 0, MINUTE, part(MINUTE, { x: [] }, false))
  assert.deepEqual(give(merger), ['1 sum me x none', '1 count me x none'])
  take(merger, 0, MINUTE, part(MINUTE, { x: [] }, false))
  assert.deepEqual(give(merger), [])
  take(merger, 0, MINUTE, part(MINUTE, { x: [1] }, false))
  assert.deepEqual(give(merger), ['1 sum me x 1', '1 count me x 1'])
})

test('Merger forgets windows that shards have forgotten, and takes no part of them', () => {
  const merger = newMerger(1)
  take(merger, 0, MINUTE, part(MINUTE, { x: [1] }))
  give(merger)
  const kept = MINUTE + KEEP + 2 * MINUTE
  take(merger, 0, kept - 1)
  give(merger)
  take(merger, 0, kept, part(MINUTE, { x: [2] }, false))
  assert.deepEqual(give(merger), ['1 sum me x 2'])
  take(merger, 0, kept, part(MINUTE, { x: [3] }, false))
  assert.deepEqual([give(merger), merger.late], [[], 1])
})
