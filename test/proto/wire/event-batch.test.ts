import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReceivedItem } from '../../../proto/events/event.ts'
import { decodeEventBatch, encodeEventBatch } from '../../../proto/wire/event-batch.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'

const header = { collector: 'c', session: 's', lane: 'events', from: 10, to: 12, urgent: false }
const items: ReceivedItem[] = [
  {
    tenant: 'default',
    at: 1_700_000_000_000_001,
    road: 'kafka_rest',
    topic: 'xumi_task',
    event: {
      event_id: '018f0000-0000-7000-8000-000000000001',
      event_type: 'xumi.generation.start',
      timestamp: '2026-01-31T12:00:00.000Z',
      tenant_id: 'default',
      source: 'events',
      version: '1.0',
      prompt: 'line one\nline two \u2028 é 🙂',
    },
  },
  {
    tenant: 'default',
    at: 1_700_000_000_000_001,
    road: 'http',
    topic: '',
    dead: { id: '018f0000-0000-7000-8000-000000000002', code: 'malformed', reason: 'not JSON', raw: 'ew==' },
  },
]

test('a batch of events comes back as it was', () => {
  assert.deepEqual(decodeEventBatch(encodeEventBatch(header, items)), { header, items })
  assert.deepEqual(decodeEventBatch(encodeEventBatch(header, [])), { header, items: [] })
})

test('a changed, cut off or foreign batch is told apart', () => {
  const bytes = encodeEventBatch(header, items)
  const code = (of: Uint8Array): string | undefined => {
    try {
      decodeEventBatch(of)
      return undefined
    } catch (error) {
      if (error instanceof WireError) return error.code
      throw error
    }
  }
  for (let i = 0; i < bytes.length; i++) {
    const changed = bytes.slice()
    changed[i]! ^= 1
    assert.ok(code(changed) !== undefined, `byte ${i}`)
    assert.ok(code(bytes.subarray(0, i)) !== undefined, `cut at ${i}`)
  }
  assert.equal(code(new TextEncoder().encode(`FME2${String.fromCharCode(...bytes.subarray(4))}`)), 'unsupported')
  assert.equal(code(new Uint8Array(0)), 'malformed')
})
