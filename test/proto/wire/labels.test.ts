import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '../../../proto/runtime/sha256.ts'
import { compareUtf8, encodeLabels, SeriesIds, sortLabels } from '../../../proto/wire/labels.ts'

test('compareUtf8 orders as the bytes do', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', 'é', '\u{ffee}', '\u{e000}', '\u{1f600}', '\u{10ffff}', '￿'),
    maxLength: 6,
  })
  fc.assert(
    fc.property(text, text, (a, b) => {
      assert.equal(Math.sign(compareUtf8(a, b)), Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
    }),
  )
})

test('SeriesIds.of() is the two hashes that the storage format states', () => {
  const id = new SeriesIds(sha256).of('up', [
    ['instance', 'a:1'],
    ['job', 'x'],
  ])
  const first8 = (...parts: (Buffer | string)[]) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest().subarray(0, 8).toString('hex')
  }
  assert.equal(Buffer.from(id.subarray(8)).toString('hex'), first8('up'))
  assert.equal(Buffer.from(id.subarray(0, 8)).toString('hex'), first8('\x08instance\x03a:1\x03job\x01x'))
})

test('encodeLabels tells apart what runs together in plain text', () => {
  const hex = (labels: [string, string][]) => Buffer.from(encodeLabels(labels)).toString('hex')
  assert.notEqual(hex([['a', 'bc']]), hex([['ab', 'c']]))
  assert.notEqual(
    hex([
      ['a', 'b'],
      ['c', 'd'],
    ]),
    hex([['a', 'b\x01c\x01d']]),
  )
  assert.notEqual(hex([]), hex([['', '']]))
})

test('SeriesIds.of() gives the same id for every order that was sent, once sorted', () => {
  const label = fc.tuple(fc.string({ maxLength: 4 }), fc.string({ maxLength: 4 }))
  fc.assert(
    fc.property(fc.uniqueArray(label, { selector: (l) => l[0], maxLength: 6 }), fc.nat(), (labels, seed) => {
      const ids = new SeriesIds(sha256)
      const shuffled = labels
        .map((l, i) => [((i + 1) * (seed + 7919)) % 104729, l] as const)
        .sort((a, b) => a[0] - b[0])
        .map(([, l]) => l)
      assert.deepEqual(ids.of('m', sortLabels([...shuffled])), ids.of('m', sortLabels([...labels])))
    }),
  )
})
