import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { JsonObjects } from '../../../collector/events/json-objects.ts'

test('JsonObjects cuts objects apart wherever chunks end', () => {
  const object = fc.dictionary(fc.string(), fc.jsonValue())
  fc.assert(
    fc.property(
      fc.array(object),
      fc.constantFrom('', ' ', '\r\n'),
      fc.integer({ min: 1, max: 20 }),
      (all, between, size) => {
        const bytes = Buffer.from(all.map((one) => JSON.stringify(one)).join(between))
        const objects = new JsonObjects(1_000_000)
        const found: unknown[] = []
        for (let at = 0; at < bytes.length; at += size)
          for (const one of objects.push(bytes.subarray(at, at + size)))
            found.push(JSON.parse(Buffer.from(one).toString()))
        assert.equal(objects.problem, undefined)
        assert.equal(objects.unfinished, false)
        assert.deepEqual(found, JSON.parse(JSON.stringify(all)))
      },
    ),
  )
})

test('JsonObjects says what stands between objects, what is cut off and what is too long', () => {
  const given = (text: string, max = 100): { count: number; problem: boolean; unfinished: boolean } => {
    const objects = new JsonObjects(max)
    const { length: count } = objects.push(Buffer.from(text))
    return { count, problem: objects.problem !== undefined, unfinished: objects.unfinished }
  }
  assert.deepEqual(given('{}[1]{}'), { count: 1, problem: true, unfinished: false })
  assert.deepEqual(given('{}{"a":"}'), { count: 1, problem: false, unfinished: true })
  assert.deepEqual(given('{"a":"\\"}"}'), { count: 1, problem: false, unfinished: false })
  assert.equal(given(`{"a":"${'x'.repeat(200)}`).problem, true)
})
