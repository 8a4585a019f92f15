import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CpuCounters } from '../../../collector/host/cpu-counters.ts'
import { figure } from '../../../collector/host/figure.ts'

const cpu = (idle: number, iowait: number) =>
  Object.entries({ idle, iowait }).map(([mode, value]) => figure('node_cpu_seconds_total', value, { cpu: '0', mode }))
const values = (figures: { value: number }[]) => figures.map((f) => f.value)

test('CpuCounters: a small step back is held, as a counter may not fall', () => {
  const counters = new CpuCounters()
  assert.deepEqual(values(counters.hold(cpu(100, 7))), [100, 7])
  assert.deepEqual(values(counters.hold(cpu(101, 6.9))), [101, 7])
  assert.deepEqual(values(counters.hold(cpu(100.5, 7.1))), [101, 7.1])
})

test('CpuCounters: a processor that was taken away counts anew', () => {
  const counters = new CpuCounters()
  counters.hold(cpu(100, 7))
  assert.deepEqual(values(counters.hold(cpu(2, 1))), [2, 1])
})
