/** The spool tool on the journal of the events lane: the same commands, items as they were kept. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { EventsCore } from '../../../collector/events/events-core.ts'
import { nodeFiles } from '../../../collector/journal/files.ts'
import { event, incoming, NOW, OPTIONS } from '../../support/events-lane.ts'
import { edit, spool } from '../../support/journals.ts'
import { temporaryDirectory } from '../../support/programs.ts'

function written(): string {
  const directory = join(temporaryDirectory(), 'collector', 'journal', 'events')
  const core = new EventsCore(nodeFiles, { ...OPTIONS, directory })
  core.take(NOW, [incoming([event(1), event(2, { prompt: 'a cat' })])])
  core.take(NOW + 1, [incoming(event(3))])
  core.close(NOW + 2)
  return directory
}

test('verify, stat and dump read a journal of events, also from the data directory', async () => {
  const directory = written()
  const found = await spool('verify', join(directory, '..', '..', '..'))
  assert.equal(found.code, 0)
  assert.match(found.out, /3 events/)
  assert.match((await spool('stat', directory)).out, /events .*3 events/)
  const { out } = await spool('dump', directory, '--from', '2')
  const items = out
    .trim()
    .split('\n')
    .map(
      (line) => JSON.parse(line) as { position: number; item: { event: { n: number; prompt?: { length: number } } } },
    )
  assert.deepEqual(
    items.map(({ position, item }) => [position, item.event.n, item.event.prompt?.length]),
    [
      [2, 2, 5],
      [3, 3, undefined],
    ],
  )
})

test('verify says which events damage took, and repair leaves the others', async () => {
  const directory = written()
  const [segment] = readdirSync(directory).filter((name) => name.endsWith('.seg'))
  edit(join(directory, segment!), (bytes) => {
    bytes[bytes.indexOf('new.thing.done')]! ^= 1
    return bytes
  })
  const { code, out } = await spool('verify', directory)
  assert.equal(code, 1)
  assert.match(out, /2 items/)
  assert.equal((await spool('repair', directory)).code, 1)
  const left = await spool('dump', directory)
  assert.equal(left.out.trim().split('\n').length, 1)
})
