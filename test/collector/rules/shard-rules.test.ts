import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NO_MEMBERSHIP } from '../../../collector/rules/memberships.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import type { ShardRulesOptions } from '../../../collector/rules/shard-rules.ts'
import { FULL, LATE, ShardRules, TAKEN } from '../../../collector/rules/shard-rules.ts'

const MINUTE = 60_000
const T = 1_761_991_200_000 // a whole hour
const KEEP = 300_000
const GRACE = 5000

const shardOf = (rules: readonly object[], options: Partial<ShardRulesOptions> = {}) => {
  const read = readRules(rules.map((rule) => ({ match: 'm', interval: '1m', outputs: ['sum', 'count'], ...rule })))
  assert.deepEqual(read.problems, [])
  return new ShardRules(read.rules, { keepMs: KEEP, pointsMax: 1000, groupsMax: 100, ...options })
}
const words = (value: number): [number, number] => {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  return [view.getUint32(4), view.getUint32(0)]
}
/** Takes a point of the series `ref` that arrived a second after its time, or at `at`. */
const put = (shard: ShardRules, membership: number, ref: number, time: number, value = 1, at = time + 1000) =>
  shard.add(membership, ref, time, ...words(value), at * 1000, 3)
/** Names of groups by rule and number, as a collector would have noted them: of the shard in hand. */
const names = new WeakMap<ShardRules, Map<string, string>>()
const summary = (shard: ShardRules, now: number, urgent = false) => {
  const known = names.get(shard) ?? new Map<string, string>()
  names.set(shard, known)
  return shard.emit(now, urgent)!.parts.map((p) => {
    for (const [i, row] of p.named.entries()) known.set(`${p.rule} ${p.groups[row]}`, p.names[i]!)
    return [p.end - T, p.complete, ...[...p.groups].map((g) => known.get(`${p.rule} ${g}`)), ...p.count]
  })
}

test('ShardRules: a window holds what is after its start, up to and with its end', () => {
  const shard = shardOf([{}])
  const m = shard.join('t', 'm', [])
  for (const time of [-MINUTE, -MINUTE + 1, -1, 0, 1]) put(shard, m, 1, T + time)
  assert.deepEqual(summary(shard, T + 10 * MINUTE), [
    [-MINUTE, true, '["t","m"]', 1],
    [0, true, '["t","m"]', 3],
    [MINUTE, true, '["t","m"]', 1],
  ])
})

test('ShardRules.emit() gives a window out once it is due, and again only what late points changed', () => {
  const shard = shardOf([{ by: ['g'] }])
  const [x, y] = ['x', 'y'].map((g) => shard.join('t', 'm', [['g', g]])) as [number, number]
  put(shard, x, 1, T + 1)
  put(shard, y, 2, T + 1)
  assert.deepEqual(summary(shard, T + MINUTE + GRACE - 1), [])
  assert.deepEqual(shard.emit(T + MINUTE + GRACE - 1)?.through, [T])
  const due = T + MINUTE + GRACE
  assert.deepEqual(summary(shard, due), [[MINUTE, true, '["t","m","g","x"]', '["t","m","g","y"]', 1, 1]])
  assert.deepEqual(shard.emit(due)?.through, [T + MINUTE])
  assert.deepEqual(summary(shard, due + MINUTE), [])
  assert.equal(put(shard, y, 2, T + 2, 1, due + MINUTE), TAKEN)
  assert.deepEqual(summary(shard, due + MINUTE), [[MINUTE, false, '["t","m","g","y"]', 2]])
  put(shard, x, 1, T + 2, 1, due + MINUTE)
  assert.deepEqual(summary(shard, due + MINUTE + 4999), [], 'amendments are collected for a few seconds')
  assert.deepEqual(summary(shard, due + MINUTE + 4999, true), [[MINUTE, false, '["t","m","g","x"]', 2]])
})

test('ShardRules.add() answers LATE by the arrival of the point alone', () => {
  for (const emitted of [false, true]) {
    const shard = shardOf([{}])
    const m = shard.join('t', 'm', [])
    const closes = T + MINUTE + GRACE + KEEP
    if (emitted) {
      put(shard, m, 1, T + 1)
      shard.emit(closes + MINUTE)
    }
    assert.equal(put(shard, m, 1, T + 2, 1, closes), TAKEN)
    assert.equal(put(shard, m, 1, T + 2, 1, closes + 0.001), LATE)
    assert.equal(put(shard, m, 1, T, 1, closes), LATE)
    assert.equal(put(shard, m, 1, T + MINUTE + 1, 1, closes + 0.001), TAKEN)
    assert.equal(shard.counts.late, 2)
  }
})

test('ShardRules: increases go on from the newest point of the window before, also when that comes late', () => {
  const shard = shardOf([{ outputs: ['increase'] }])
  const m = shard.join('t', 'm', [])
  const increases = (now: number) =>
    shard.emit(now)!.parts.map((p) => [p.end - T, p.steps[0], p.increase.items.reduce((a, b) => a + b, 0)])
  put(shard, m, 1, T + 10_000, 5)
  put(shard, m, 1, T + MINUTE + 10_000, 9)
  put(shard, m, 1, T + MINUTE + 20_000, 2)
  assert.deepEqual(increases(T + 3 * MINUTE), [
    [MINUTE, 0, 0],
    [2 * MINUTE, 2, 6],
  ])
  put(shard, m, 1, T + 30_000, 8, T + 3 * MINUTE)
  assert.deepEqual(increases(T + 4 * MINUTE), [
    [MINUTE, 1, 3],
    [2 * MINUTE, 2, 3],
  ])
})

test('ShardRules.forget() drops windows that can no longer change, one interval later than they close', () => {
  const shard = shardOf([{ outputs: ['rate'] }])
  const m = shard.join('t', 'm', [])
  put(shard, m, 1, T + 1)
  const gone = T + MINUTE + GRACE + KEEP + MINUTE
  shard.forget(gone + 1)
  assert.equal(shard.points, 1, 'not given out yet')
  shard.emit(gone)
  shard.forget(gone)
  assert.equal(shard.points, 1)
  assert.equal(shard.oldestStart(gone), T - MINUTE)
  shard.forget(gone + 1)
  assert.equal(shard.points, 0)
  assert.equal(shard.oldestStart(gone), gone - GRACE - KEEP - 2 * MINUTE)
  assert.equal(put(shard, m, 1, T + 1), TAKEN, 'read again from the journal')
  assert.equal(shard.points, 0)
  assert.deepEqual(summary(shard, gone + 1), [])
})

test('ShardRules.raiseFloor() closes windows whose points may be gone, and keeps what later ones go on from', () => {
  const shard = shardOf([{ outputs: ['increase'], keep_input: false }])
  const m = shard.join('t', 'm', [])
  put(shard, m, 1, T + 1, 1)
  assert.equal(shard.isBelowFloor(T), false)
  shard.raiseFloor(T)
  const closes = T + 2 * MINUTE + GRACE + KEEP
  assert.deepEqual([shard.isBelowFloor(closes), shard.isBelowFloor(closes + 1)], [true, false])
  assert.equal(put(shard, m, 1, T + 2, 4), LATE)
  assert.equal(put(shard, m, 1, T + MINUTE + 2, 5), TAKEN)
  const { parts, windows } = shard.emit(T + 10 * MINUTE)!
  assert.deepEqual(
    parts.map((p) => [p.end - T, [...p.increase.items]]),
    [[2 * MINUTE, [1]]],
  )
  assert.deepEqual(
    windows.map((w) => w.dropped?.[3]),
    [undefined, 1],
  )
})

test('ShardRules.add() answers FULL beyond the points, and takes again when windows are forgotten', () => {
  const shard = shardOf([{}], { pointsMax: 2 })
  const m = shard.join('t', 'm', [])
  assert.deepEqual(
    [1, 2, 3].map((s) => put(shard, m, 1, T + s)),
    [TAKEN, TAKEN, FULL],
  )
  assert.equal(shard.counts.full, 1)
  const later = T + 2 * MINUTE + GRACE + KEEP + 1
  summary(shard, later)
  shard.forget(later)
  assert.equal(put(shard, m, 1, later), TAKEN)
})

test('ShardRules: repeats give their room back when the window is given out', () => {
  const shard = shardOf([{}], { pointsMax: 3 })
  const m = shard.join('t', 'm', [])
  for (const at of [1, 2, 3]) put(shard, m, 1, T + 1, 1, T + at)
  shard.emit(T + 2 * MINUTE)
  assert.equal(shard.points, 1)
})

test('ShardRules: a rule takes so many groups; series of more are stored, until windows have let go of others', () => {
  const shard = shardOf([{ by: ['g'], keep_input: false }], { groupsMax: 2 })
  const join = (g: string) => shard.join('t', 'm', [['g', g]])
  const [a, b, c] = ['a', 'b', 'c'].map(join) as [number, number, number]
  assert.equal(new Set([a, b, c, join('d')]).size, 3)
  assert.deepEqual(
    [a, b, c].map((m, ref) => put(shard, m, ref, T + 1)),
    [TAKEN, TAKEN, FULL],
  )
  const { generation } = shard
  summary(shard, T + 2 * MINUTE)
  shard.forget(T + 2 * MINUTE)
  assert.equal(shard.generation, generation + 1)
  assert.equal(put(shard, join('a'), 1, T + 2), TAKEN, 'kept: it is in a window')
  assert.equal(put(shard, join('c'), 3, T + 2), FULL)
  const later = T + 2 * MINUTE + GRACE + KEEP + 1
  put(shard, join('b'), 2, later)
  summary(shard, later)
  shard.forget(later)
  assert.equal(put(shard, join('c'), 3, later), TAKEN)
  assert.deepEqual(summary(shard, later + 2 * MINUTE)[0]!.slice(2), ['["t","m","g","b"]', '["t","m","g","c"]', 1, 1])
})

test('ShardRules: rules of one interval and grace share a point, others keep their own', () => {
  const shard = shardOf([
    { by: ['a'] },
    { by: ['b'] },
    { by: ['a'], interval: '5m' },
    { by: ['a'], interval: '2m', grace: '1s' },
  ])
  const m = shard.join('t', 'm', [
    ['a', 'x'],
    ['b', 'y'],
  ])
  put(shard, m, 1, T + 1)
  assert.equal(shard.points, 3)
  assert.equal(shard.emit(T + 10 * MINUTE)!.parts.length, 4)
})

test('ShardRules.join() keeps tenants apart, and knows what no rule is about', () => {
  const shard = shardOf([{}])
  assert.notEqual(shard.join('t', 'm', []), shard.join('u', 'm', []))
  assert.equal(shard.join('t', 'm', [['a', 'b']]), shard.join('t', 'm', []))
  assert.equal(shard.join('t', 'n', []), NO_MEMBERSHIP)
})

test('ShardRules.add(): a sample that one dropping rule found late is stored, whatever the others did', () => {
  const shard = shardOf([
    { keep_input: false, grace: '0s' },
    { by: ['g'], keep_input: true, interval: '1h' },
  ])
  const m = shard.join('t', 'm', [])
  assert.ok(shard.drops(m))
  const closed = T + MINUTE + KEEP + 1
  assert.equal(shard.decide(m, T + 1, closed * 1000), LATE)
  assert.equal(put(shard, m, 1, T + 1, 1, closed), LATE)
  assert.deepEqual(
    shard.emit(T + 120 * MINUTE)!.windows.map((w) => w.dropped),
    [undefined],
  )
})

test('ShardRules: a late sample of a busy window costs its groups, not the window', () => {
  const shard = shardOf([{ by: ['g'] }], { pointsMax: 1e6, groupsMax: 1e5 })
  const members = Array.from({ length: 1000 }, (_, i) => shard.join('t', 'm', [['g', String(i)]]))
  for (let s = 1; s < 60; s++) for (const [ref, m] of members.entries()) put(shard, m, ref, T + s * 1000)
  assert.equal(shard.emit(T + 2 * MINUTE)!.parts[0]!.groups.length, 1000)
  put(shard, members[7]!, 7, T + 5, 1, T + 3 * MINUTE)
  assert.deepEqual([...shard.emit(T + 3 * MINUTE)!.parts[0]!.count], [60])
})

test('ShardRules.emit() counts every point that is not stored, also what comes while its window is given out in steps', () => {
  const shard = shardOf([{ keep_input: false }])
  const m = shard.join('t', 'm', [])
  const [first, second] = [1, 5000] // far from each other: folded one after the other
  put(shard, m, first, T + 1)
  put(shard, m, second, T + 1)
  const due = T + MINUTE + GRACE
  assert.equal(shard.emit(due, false, 1), undefined)
  put(shard, m, second, T + 2, 1, due)
  const told = shard.emit(due)!
  assert.deepEqual([...told.parts[0]!.count], [3], 'it is told of')
  const later = shard.emit(due + 5000)!
  const dropped = [...told.windows, ...later.windows].map((window) => window.dropped?.[3] ?? 0)
  assert.equal(
    dropped.reduce((a, b) => a + b, 0),
    3,
  )
})
