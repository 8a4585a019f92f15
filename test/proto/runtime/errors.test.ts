/** Errors as sentences. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FleetmeterError, messageOf } from '../../../proto/runtime/errors.ts'

test('an error is told with its causes, each once', () => {
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  assert.equal(messageOf(new Error('cannot write', { cause: full })), 'cannot write: no space left')
  assert.equal(messageOf(new Error('', { cause: full })), 'Error: no space left')
  assert.equal(messageOf(Object.assign(new Error(''), { code: 'ENOSPC' })), 'ENOSPC')
  assert.equal(messageOf('a text'), 'a text')
  const shard = new FleetmeterError('FM_SHARD', `The thread failed: ${messageOf(full)}`, { cause: full })
  assert.equal(messageOf(shard), 'The thread failed: no space left')
  assert.equal(messageOf(new Error('not now', { cause: shard })), 'not now: The thread failed: no space left')
})
