import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeNow } from '../../../proto/runtime/free-now.ts'

test('freeNow gives back what nobody else can see, and nothing else', () => {
  const own = new Uint8Array(1024)
  const other = new Uint8Array(own.buffer)
  freeNow(own)
  assert.deepEqual([own.length, other.length, own.buffer.byteLength], [0, 0, 0])
  freeNow(own) // again: it is gone already

  const whole = new Uint8Array(1024)
  freeNow(whole.subarray(1))
  freeNow(whole.subarray(0, 1023))
  assert.equal(whole.length, 1024)

  const shared = new Uint8Array(new SharedArrayBuffer(8))
  freeNow(shared)
  assert.equal(shared.length, 8)
})

test('freeNow: a thousand large buffers leave no memory behind that waits for the garbage collector', () => {
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 1000; i++) freeNow(Buffer.allocUnsafeSlow(1024 * 1024))
  assert.ok(process.memoryUsage().arrayBuffers - before < 100 * 1024 * 1024)
})
