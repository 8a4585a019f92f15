import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Instants } from '../../../collector/shard/instants.ts'
import { Scratch } from '../../../collector/shard/scratch.ts'

const time = fc.oneof(
  fc.nat(3),
  fc.integer({ min: -5, max: 5 }).map((n) => 1_795_420_000_000 + 4294967296 * n),
  fc.constantFrom(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, -1, -4294967296),
)

test('Instants: the item that was set last for a series and time, of many and of few', () => {
  const item = fc.record({ series: fc.nat(4), time })
  fc.assert(
    fc.property(fc.integer(), fc.array(item, { maxLength: 200 }), fc.array(item), (seed, items, others) => {
      const scratch = new Scratch()
      scratch.begin()
      const model = new Map<string, number>()
      const instants = new Instants(scratch, seed)
      for (const { series, time } of items) {
        const at = scratch.count
        scratch.pushValue(series, time, 1)
        instants.set(at)
        model.set(`${series}:${time}`, at)
      }
      for (const { series, time } of [...items, ...others])
        assert.equal(instants.get(series, time), model.get(`${series}:${time}`))
    }),
  )
})
