import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Progress } from '../../../proto/runtime/progress.ts'

function watched(columns: number | undefined) {
  const said: string[] = []
  let at = 0
  const progress = new Progress('reading', { write: (text) => said.push(text), columns, now: () => at })
  return { said, progress, passes: (ms: number) => (at += ms) }
}

test('Progress says nothing of work that ends within a second', () => {
  for (const columns of [80, undefined]) {
    const { said, progress, passes } = watched(columns)
    for (let i = 0; i < 10; i++) {
      progress.update({ done: i, of: 10 })
      passes(99)
    }
    progress.clear()
    assert.deepEqual(said, [])
  }
})

test('Progress on a terminal draws a bar with percentage and estimate over itself, and leaves the line empty', () => {
  const { said, progress, passes } = watched(80)
  passes(2000)
  progress.update({ done: 25, of: 100, detail: 'segment 1 of 4' })
  progress.update({ done: 26, of: 100 })
  passes(100)
  progress.update({ done: 50, of: 100 })
  assert.equal(said.length, 2, 'ten times a second at most')
  assert.match(said[0]!, /^\r.\[2Kreading \[#+\.+\] 25 % \(segment 1 of 4\) about 6 s left$/)
  assert.match(said[1]!, /50 % about 3 s left/)
  progress.clear()
  assert.equal(said.at(-1), '\r\u001b[2K')
  progress.clear()
  assert.equal(said.length, 3)
})

test('Progress never fills a line, and leaves the bar out where there is no room', () => {
  for (const columns of [1, 10, 20, 40, 200]) {
    const { said, progress, passes } = watched(columns)
    passes(3_700_000)
    progress.update({ done: 1, of: 3, detail: 'something long'.repeat(3) })
    const line = said[0]!.replace('\r\u001b[2K', '')
    assert.ok(line.length < columns, `${columns}: ${line}`)
    if (columns < 200) assert.ok(!line.includes('['))
  }
})

test('Progress elsewhere writes a line each five seconds', () => {
  const { said, progress, passes } = watched(undefined)
  for (let i = 0; i < 120; i++) {
    passes(100)
    progress.update({ done: i, of: 1200 })
  }
  assert.deepEqual(
    said.map((line) => line.replace(/about.*/, '…')),
    ['reading: 0 % …\n', 'reading: 4 % …\n', 'reading: 9 % …\n'],
  )
})

test('Progress stands values that make no sense', () => {
  for (const [done, of] of [
    [5, 0],
    [7, 5],
    [-1, 5],
    [0, 0],
  ] as const) {
    const { said, progress, passes } = watched(60)
    passes(1500)
    progress.update({ done, of })
    assert.doesNotMatch(said[0]!, /NaN|Infinity|-\d/, `${done} of ${of}`)
  }
})
