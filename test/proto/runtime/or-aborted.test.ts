/** Waiting with an end: what came first, and nothing that stays on a signal that lives as long as the process. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { orAborted } from '../../../proto/runtime/or-aborted.ts'

const never = new Promise(() => {})

test('a thousand waits leave nothing on the signal, whether they end well or not', async () => {
  const { signal } = new AbortController()
  for (let i = 0; i < 1000; i++) await orAborted(Promise.resolve(i), signal)
  await assert.rejects(orAborted(Promise.reject(new Error('no')), signal), /no/)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('the end of patience ends the wait; what fails after that fails quietly', async () => {
  const control = new AbortController()
  const waiting = orAborted(never, control.signal)
  const failing = sleep(5).then(() => {
    throw new Error('too late')
  })
  const both = orAborted(failing, control.signal)
  control.abort()
  await Promise.all([waiting, both])
  await orAborted(never, control.signal)
  await orAborted(Promise.reject(new Error('too late')), control.signal)
  await sleep(20)
})
