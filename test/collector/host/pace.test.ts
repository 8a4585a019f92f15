import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from '../../../collector/host/pace.ts'

function paceAt(slowMs = 10_000, fastMs = 1000) {
  let now = 0
  const pace = new Pace(slowMs, fastMs, { now: () => now, monotonic: () => now })
  let faster = 0
  pace.onFaster = () => faster++
  return { pace, later: (ms: number) => (now += ms), faster: () => faster }
}

test('Pace is fast while a lease holds, and slow again when it has ended, without being told', () => {
  const { pace, later, faster } = paceAt()
  assert.equal(pace.intervalMs, 10_000)
  pace.hold('task:1', 5000)
  assert.equal(pace.intervalMs, 1000)
  assert.equal(faster(), 1)
  later(4999)
  assert.deepEqual(pace.leases(), [{ reason: 'task:1', leftMs: 1 }])
  later(1)
  assert.equal(pace.intervalMs, 10_000)
  assert.deepEqual(pace.leases(), [])
})

test('Pace: the last of several reasons decides; a second one does not start anew', () => {
  const { pace, later, faster } = paceAt()
  pace.hold('task:1', 5000)
  pace.hold('task:2', 9000)
  assert.equal(faster(), 1)
  pace.release('task:2')
  assert.equal(pace.intervalMs, 1000)
  pace.hold('task:1', 60_000)
  later(6000)
  assert.equal(pace.intervalMs, 1000, 'a lease may be renewed')
  pace.release('task:1')
  assert.equal(pace.intervalMs, 10_000)
})

test('Pace is never slower when it is to be fast, and keeps a bounded number of reasons', () => {
  const { pace } = paceAt(500, 1000)
  pace.hold('task', 1000)
  assert.equal(pace.intervalMs, 500)
  for (let i = 0; i < 5000; i++) pace.hold(`task:${i}`, 10_000 + i)
  assert.equal(pace.leases().length, 1000)
  assert.equal(pace.leases().at(-1)?.reason, 'task:4999')
})
