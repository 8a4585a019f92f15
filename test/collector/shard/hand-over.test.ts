import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PackedBodies } from '../../../collector/shard/hand-over.ts'
import { BodyPacker, BodyUnpacker, packOutcomes, unpackOutcomes } from '../../../collector/shard/hand-over.ts'
import type { IncomingBody, Taken } from '../../../collector/shard/reception.ts'
import type { Outcome } from '../../../proto/runtime/outcome.ts'
import { ok, reject, retry } from '../../../proto/runtime/outcome.ts'

const body = (length: number, i: number): IncomingBody => ({
  door: i % 2 === 0 ? 'metrics_batch' : 'remote_write',
  tenant: `tenant ${i % 3}`,
  sender: `sender ${i}`,
  body: new Uint8Array(length).fill(i + 1),
})

/** As a thread gets it: shared memory is the same, everything else a copy. */
function sent({ memory, ...others }: PackedBodies): PackedBodies {
  return { ...structuredClone(others), memory }
}

test('bodies of many writes, small and large, come out of shared memory as they went in', () => {
  const packer = new BodyPacker()
  const unpacker = new BodyUnpacker()
  const writes = [[0, 1, 700, 3, 0], [], [100_000, 16, 2_000_000], [5], [9_000_000], [5, 6], [300_000, 300_000]]
  const seen: boolean[] = []
  for (const lengths of writes) {
    const bodies = lengths.map(body)
    const packed = packer.pack(bodies)
    seen.push(packed.memory === undefined)
    const out = unpacker.unpack(sent(packed))
    assert.ok(out.every((one) => one.body.buffer instanceof ArrayBuffer))
    assert.deepEqual(out, bodies)
  }
  assert.deepEqual(
    seen,
    [false, true, false, true, false, false, false],
    'memory is told of once, and the largest is not kept',
  )
})

test('packing leaves the memory of bodies alone', () => {
  const shared = new Uint8Array(64)
  new BodyPacker().pack([{ door: 'host', tenant: '', sender: '', body: shared.subarray(8, 16) }])
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
