import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  packBodies,
  packOutcomes,
  SMALL_BYTES_MAX,
  unpackBodies,
  unpackOutcomes,
} from '../../../collector/shard/hand-over.ts'
import type { IncomingBody, Taken } from '../../../collector/shard/reception.ts'
import type { Outcome } from '../../../proto/runtime/outcome.ts'
import { ok, reject, retry } from '../../../proto/runtime/outcome.ts'

const allocate = (bytes: number): Uint8Array<ArrayBuffer> => new Uint8Array(new ArrayBuffer(bytes + 100), 0, bytes)

const LENGTHS = [0, 1, 700, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 3, 100_000, 0]

test('unpackBodies gives back what packBodies was given, small and large, over a thread', () => {
  const bodies = LENGTHS.map(
    (length, i): IncomingBody => ({
      door: i % 2 === 0 ? 'metrics_batch' : 'remote_write',
      tenant: `tenant ${i % 3}`,
      sender: `sender ${i}`,
      body: new Uint8Array(length).fill(i + 1),
    }),
  )
  const expected = structuredClone(bodies)
  const { packed, buffers } = packBodies(bodies, allocate)
  assert.equal(buffers.length, 3, 'the small ones together, and two large ones')
  assert.deepEqual(unpackBodies(structuredClone(packed, { transfer: buffers })), expected)
})

test('packBodies leaves the memory of small bodies alone', () => {
  const shared = new Uint8Array(64)
  const body: IncomingBody = { door: 'host', tenant: '', sender: '', body: shared.subarray(8, 16) }
  const { packed, buffers } = packBodies([body], allocate)
  structuredClone(packed, { transfer: buffers })
  assert.equal(shared.length, 64)
})

test('unpackOutcomes gives back what packOutcomes was given', () => {
  const taken: Taken = {
    items: { sample: 9, histogram: 1, exemplar: 2, metadata: 3 },
    accepted: 10,
    duplicate: 4,
    replaced: 1,
    refused: [],
    overflow: [],
    badPoints: [],
  }
  const outcomes: Outcome<Taken>[] = [
    ok(taken),
    reject('invalid', 'why'),
    ok({ ...taken, refused: [{ kind: 'sample', reason: 'too_old', count: 1, items: [3], example: 'x' }] }),
    retry('busy', 'later'),
    ok({ ...taken, badPoints: [{ index: 0, reason: 'name' }] }),
    ok({ ...taken, accepted: 0 }),
    ok({ ...taken, overflow: [{ tenant: '', metric: 'm', label: 'l', bound: 'series_max', samples: 4 }] }),
  ]
  const packed = packOutcomes(outcomes)
  assert.equal(packed.others.length, 5)
  assert.deepEqual(unpackOutcomes(structuredClone(packed)), outcomes)
  assert.deepEqual(unpackOutcomes(packOutcomes([])), [])
})
