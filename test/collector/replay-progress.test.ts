import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { showReplay } from '../../collector/replay-progress.ts'

test('showReplay draws how far the shard is that reads, and logs it where there is no terminal', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const threads = [
    { name: 'shard-0', replay: { done: 1, of: 1 } },
    { name: 'shard-1', replay: { done: 0, of: 1000 } },
  ]
  const drawn: string[] = []
  const logged: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(JSON.parse(line).msg) })
  const ends = [80, undefined].map((columns) =>
    showReplay(threads, { columns, write: (text) => drawn.push(text) }, log),
  )
  for (; now < 2000; now += 100) {
    threads[1]!.replay.done += 40
    t.mock.timers.tick(100)
  }
  assert.match(drawn[0]!, /reading the journal \[#+\.+\] 4\d % \(shard-1\) about 2 s left/)
  assert.equal(logged.length, 1, 'a line now and then')
  assert.match(logged[0]!, /^reading the journal: 4\d % \(shard-1\)/)
  for (const end of ends) end()
  assert.equal(drawn.at(-1), '\r\u001b[2K')
  const before = drawn.length
  t.mock.timers.tick(1000)
  assert.equal(drawn.length, before)
})
