import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RuleHistory } from '../../../collector/shard/rule-history.ts'
import { MemoryFiles } from '../../support/memory-files.ts'

const PATH = '/shard/rules'
/** So long that few of them are as much as the file may have usually. */
const rulesOf = (n: number): unknown[] => [
  { match: `m${n}{label="${'x'.repeat(100_000)}"}`, interval: '10s', outputs: ['sum'] },
]

test('a file that has grown long is replaced as a whole: a write that fails leaves what was there', () => {
  const files = new MemoryFiles()
  const failures: unknown[] = []
  const open = (n: number, lastAt: number): RuleHistory =>
    // The journal has nothing from before the last change.
    RuleHistory.open(files, PATH, rulesOf(n), { lastAt, kept: lastAt, first: lastAt }, (error) => failures.push(error))
  for (let n = 1; n <= 3; n++) open(n, n * 1000)
  const before = files.readBytes(PATH)!
  assert.ok(before.length > 256 * 1024)
  for (const fault of ['full', 'short', 'io'] as const) {
    files.nextAppend = fault
    assert.equal(open(4, 4000).since, 4_000_999)
    assert.deepEqual(files.readBytes(PATH), before, fault)
  }
  assert.equal(failures.length, 3)
  open(4, 5000)
  assert.ok(files.readBytes(PATH)!.length < 256 * 1024, 'the one before and the one in force')
  assert.equal(open(4, 9000).since, 5_000_999, 'it is read again, and nothing has changed')
  assert.equal(failures.length, 3)
})
