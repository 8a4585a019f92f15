/** A thread that does not start: how often it is tried, and what those are told who ask meanwhile. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ActorThread } from '../../../collector/shard/actor-thread.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { temporaryDirectory } from '../../support/programs.ts'

/** Notes each start; starts where "sound" says so, and fails where it is asked to. */
const WORKER = `
import { appendFileSync, readFileSync } from 'node:fs'
export default ({ kind, directory }) => {
  if (kind === 'open') appendFileSync(directory + '/starts', '.')
  if (kind === 'open' && readFileSync(directory + '/sound', 'utf8') === 'no') throw new Error('the disk is on fire')
  if (kind === 'fail') throw new Error('a defect')
  return kind
}
`

test('ActorThread: a start that failed is not tried again at once, and then it is', async (t) => {
  const directory = temporaryDirectory()
  const worker = join(directory, 'worker.mjs')
  const say = (sound: 'yes' | 'no'): void => writeFileSync(join(directory, 'sound'), sound)
  const starts = (): number => readFileSync(join(directory, 'starts'), 'utf8').length
  writeFileSync(worker, WORKER)
  say('yes')
  type Task = { readonly kind: string; readonly directory?: string }
  const options = { name: 'a', worker, open: () => ({ kind: 'open', directory }), opened: () => {}, log: silentLogger }
  const thread = new ActorThread<Task>(options)
  t.after(() => thread.close({ kind: 'close' }))
  assert.equal(await thread.ask({ kind: 'look' }), 'look')

  // A thread that failed is replaced by the next one who asks, without a pause.
  await assert.rejects(thread.ask({ kind: 'fail' }), /a defect/)
  assert.equal(await thread.ask({ kind: 'look' }), 'look')
  assert.equal(starts(), 2)

  say('no')
  await assert.rejects(thread.ask({ kind: 'fail' }), /a defect/)
  const answers: string[] = []
  const end = performance.now() + 1000
  while (performance.now() < end) {
    await thread.ask({ kind: 'look' }).catch((error: Error) => answers.push(error.message))
    await sleep(1)
  }
  assert.ok(starts() > 2 && starts() < 10, `${starts()} starts in a second`)
  assert.ok(answers.length > 20, `${answers.length} answers: whoever asks meanwhile does not wait`)
  assert.ok(answers.every((answer) => answer.includes('the disk is on fire')))
  assert.ok(answers.some((answer) => /again in \d s at the earliest/.test(answer)))
  assert.match(thread.failure!, /the disk is on fire/)

  say('yes')
  thread.forgetFailures()
  assert.equal(await thread.ask({ kind: 'look' }), 'look')
  assert.equal(thread.failure, undefined)

  // Without that, it is tried again by itself as soon as somebody asks after the pause.
  say('no')
  await assert.rejects(thread.ask({ kind: 'fail' }), /a defect/)
  await assert.rejects(thread.ask({ kind: 'look' }), /on fire/)
  say('yes')
  await sleep(100)
  assert.equal(await thread.ask({ kind: 'look' }), 'look')
})
