/** The recording of a real H100: utilisation, peak memory and energy of its four tasks are what its README says, to 0.1 %. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertRecordedTable,
  calculationOf,
  recordedSeries,
  recordedTaskRecords,
} from '../../support/recorded-tasks.ts'

test('calculate() gives the table of the recording', () => {
  const records = recordedTaskRecords()
  for (const i of records.keys()) assertRecordedTable(i, records, recordedSeries())
})

test('a task between two samples takes what holds at its start, and says that this is little', () => {
  const records = recordedTaskRecords()
  const { usage, gpus } = calculationOf(records[3]!, records, recordedSeries())
  const memory = gpus[0]!.figures.gpu_memory_used!
  assert.deepEqual([memory.samples, memory.confidence, memory.coverage], [0, 'low', 1])
  assert.equal(usage.gpu_memory_peak.confidence, 'low')
  assert.equal(usage.energy.confidence, 'low')
})

test('without samples quantities are null, and none is zero', () => {
  const records = recordedTaskRecords()
  const { usage, amounts, flags } = calculationOf(records[0]!, records, [])
  for (const name of ['gpu_seconds_held', 'gpu_seconds_busy', 'gpu_memory_peak', 'energy', 'cpu_core_seconds'] as const)
    assert.deepEqual([name, usage[name].value, usage[name].coverage], [name, null, 0])
  assert.deepEqual(flags, ['no_samples'])
  assert.deepEqual(amounts, [{ resource: 'tasks', slot: Date.parse('2026-11-21T00:00:00Z'), amount: 1 }])
})
