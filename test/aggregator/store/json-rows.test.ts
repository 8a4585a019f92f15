/** Rows of a result, in whatever pieces they come. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { jsonRows } from '../../../aggregator/store/json-rows.ts'

async function rowsOf(bytes: Buffer, cuts: readonly number[]): Promise<unknown[]> {
  async function* chunks(): AsyncGenerator<Buffer> {
    let from = 0
    for (const cut of [...cuts, bytes.length]) {
      yield bytes.subarray(from, cut)
      from = cut
    }
  }
  const rows: unknown[] = []
  for await (const row of jsonRows(chunks())) rows.push(row)
  return rows
}

test('rows are what they were, wherever they are cut, with an end of the last line or without', async () => {
  const row = fc.record({ a: fc.string({ unit: 'binary' }), b: fc.array(fc.integer()) }, { noNullPrototype: true })
  await fc.assert(
    fc.asyncProperty(fc.array(row), fc.array(fc.nat()), fc.boolean(), async (rows, some, ended) => {
      const text = rows.map((one) => JSON.stringify(one)).join('\n') + (ended && rows.length > 0 ? '\n' : '')
      const bytes = Buffer.from(text)
      const cuts = some.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b)
      assert.deepEqual(await rowsOf(bytes, cuts), rows)
    }),
  )
})

test('a row of a thousand pieces is put together once', async () => {
  const bytes = Buffer.from(JSON.stringify({ a: 'x'.repeat(64 * 1024 * 1024) }))
  const cuts = Array.from({ length: 2048 }, (_, i) => (i + 1) * 32 * 1024)
  const since = performance.now()
  assert.equal((await rowsOf(bytes, cuts)).length, 1)
  assert.ok(performance.now() - since < 3000, 'what had come was copied for each piece')
})
