import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatRfc3339, parseRfc3339 } from '../../../proto/wire/rfc3339.ts'

test('parseRfc3339 takes every form that clients send', () => {
  const noon = Date.UTC(2026, 10, 1, 10, 0, 0)
  for (const [text, ms] of [
    ['2026-11-01T10:00:00Z', noon],
    ['2026-11-01t10:00:00z', noon],
    ['2026-11-01 10:00:00Z', noon],
    ['2026-11-01T10:00:00 UTC', noon],
    ['2026-11-01T18:00:00+08:00', noon],
    ['2026-11-01T18:00:00+0800', noon],
    ['2026-11-01T05:30:00-04:30', noon],
    ['2026-11-01T10:00:00.5Z', noon + 500],
    ['2026-11-01T10:00:00.977000721+00:00', noon + 977],
    ['2026-12-31T23:59:60Z', Date.UTC(2027, 0, 1)],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['0001-01-01T00:00:00Z', -62135596800000],
    ['9999-12-31T23:59:59.999Z', 253402300799999],
  ] as const) {
    assert.equal(parseRfc3339(text), ms, text)
  }
})

test('parseRfc3339 refuses everything else', () => {
  for (const text of [
    '',
    '1761991200',
    '2026-11-01',
    '2026-11-01T10:00Z',
    '2026-11-01T10:00:00',
    '2026-13-01T10:00:00Z',
    '2026-02-29T10:00:00Z',
    '2026-11-01T24:00:00Z',
    '2026-11-01T10:60:00Z',
    '2026-11-01T10:00:61Z',
    '2026-11-01T10:00:00.Z',
    '2026-11-01T10:00:00Zx',
    '2026-11-01T10:00:00+8',
    '2026-11-01T10:00:00+24:00',
    '2026-11-01  10:00:00Z',
    '0000-01-01T00:00:00Z',
    '2026-11-01T10:00:00ZZ',
    ' 2026-11-01T10:00:00Z',
    '2026-11-01T10:00:00Z ',
    '+026-11-01T10:00:00Z',
    '2026-11-0١T10:00:00Z',
  ]) {
    assert.equal(parseRfc3339(text), undefined, text)
  }
})

test('parseRfc3339 reads what Date writes, and formatRfc3339 gives it back', () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }),
      (date) => {
        assert.equal(parseRfc3339(date.toISOString()), date.getTime())
        assert.equal(parseRfc3339(formatRfc3339(date.getTime())), date.getTime())
      },
    ),
  )
})

test('formatRfc3339 writes whole seconds without a fraction', () => {
  assert.equal(formatRfc3339(Date.UTC(2026, 1, 14, 10, 1)), '2026-02-14T10:01:00+00:00')
  assert.equal(formatRfc3339(Date.UTC(2026, 1, 14, 10, 1, 0, 50)), '2026-02-14T10:01:00.050+00:00')
})
