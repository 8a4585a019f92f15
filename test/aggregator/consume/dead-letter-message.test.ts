import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deadLetterMessage } from '../../../aggregator/consume/dead-letter-message.ts'
import { bytesOf, REQUEST_BYTES_MAX } from '../../../proto/kafka/requests.ts'

const FROM = { topic: 'xumi_task', partition: 3, group: 'g', now: 0 }
const LETTER = { id: 'i', code: 'malformed', reason: 'r'.repeat(5000), raw: '' }

test('a letter is the message as it came, with what was wrong with it', () => {
  const message = {
    offset: 7n,
    timestamp: 5,
    key: Buffer.from([1]),
    value: Buffer.from([0xff]),
    headers: { a: Buffer.from('b') },
  }
  const letter = deadLetterMessage('dlq', message, LETTER, FROM)
  assert.equal(letter.key, message.key)
  assert.equal(letter.value, message.value)
  assert.equal(letter.headers?.['a'], message.headers.a)
  assert.equal(letter.headers?.['fm.dlq.offset'], '7')
  assert.equal(letter.headers?.['fm.dlq.error.message']?.length, 1000)
})

test('a message that leaves no room for the explanation is cut, so that its partition goes on', () => {
  for (const [value, header] of [
    [1_040_000, 1],
    [1, 1_040_000],
  ] as const) {
    const message = {
      offset: 7n,
      timestamp: 5,
      key: null,
      value: Buffer.alloc(value),
      headers: { a: Buffer.alloc(header) },
    }
    const letter = deadLetterMessage('dlq', message, LETTER, FROM)
    assert.ok(bytesOf(letter) <= REQUEST_BYTES_MAX)
    assert.equal(letter.headers?.['fm.dlq.cut.from'], String(value))
  }
})
