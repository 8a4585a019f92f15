/** The text of a granted answer, against the object that it stands for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Figure } from '../../../aggregator/quotas/decision.ts'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import { grantedText } from '../../../aggregator/quotas/granted-text.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { LEVELS } from '../../../aggregator/quotas/quota.ts'
import { grantedAnswer, rateLimitHeaders, standingOf } from '../../../aggregator/quotas/quota-answers.ts'

const NOW = Date.parse('2026-01-31T12:00:00.000Z')
const FAR = 10 ** 15

const sums = fc.oneof(
  fc.constant(0n),
  fc.bigInt({ min: 0n, max: 2n ** 60n }),
  fc.bigInt({ min: 0n, max: 100_000_000n }),
)
const windows: fc.Arbitrary<Quota['window']> = fc.oneof(
  fc.constantFrom('day' as const, 'week' as const, 'month' as const).map((kind) => ({ kind, zone: 'UTC' })),
  fc.integer({ min: 900, max: 86_400 }).map((seconds) => ({ kind: 'rolling' as const, seconds })),
  fc.constant({ kind: 'lifetime' as const }),
)

const quotas: fc.Arbitrary<Quota> = fc.record({
  id: fc.uuid(),
  tenant: fc.constant('a'),
  level: fc.constantFrom(...LEVELS),
  subject: fc.constant(null),
  resource: fc.constantFrom('gpu_seconds', 'tokens', 'credits', 'energy_wh'),
  window: windows,
  limit: sums.map(ExactSum.ofBigInt),
  enforcement: fc.constantFrom('hard' as const, 'soft' as const),
  shadow: fc.boolean(),
  thresholds: fc.constant([]),
  whenUnknown: fc.constantFrom('open' as const, 'closed' as const),
  from: fc.constant(0),
  to: fc.constant(Number.POSITIVE_INFINITY),
})

const figures: fc.Arbitrary<Figure> = fc
  .record({
    quota: quotas,
    subject: fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }),
    counted: fc.option(fc.tuple(fc.boolean(), sums), { nil: undefined }),
    leased: sums,
    reserved: sums,
    resetsAt: fc.constantFrom(null, NOW - 1, NOW + 86_400_000, FAR),
    from: fc.integer({ min: 0, max: NOW }),
  })
  .map(({ quota, subject, counted, leased, reserved, resetsAt, from }) => ({
    quota,
    subject,
    period: { from, to: from + 86_400_000 },
    counted: counted === undefined ? undefined : ExactSum.ofBigInt(counted[0] ? -counted[1] : counted[1]),
    held: ExactSum.ofBigInt(reserved + leased),
    leased: ExactSum.ofBigInt(leased),
    inDoubt: ExactSum.ofBigInt(leased / 2n),
    resetsAt,
  }))

const cases = fc.tuple(fc.array(figures, { maxLength: 20 }), fc.array(fc.uuid(), { maxLength: 2 }))

test('the text is what JSON.stringify makes of the answer, for figures of any kind', () => {
  fc.assert(
    fc.property(cases, fc.array(fc.uuid(), { maxLength: 2 }), ([all, unknown], over) => {
      const said = { over, shadow: [], unknown }
      const answer = grantedAnswer(said, all, NOW)
      const text = () => grantedText(said, all, all.map(standingOf), answer.as_of)
      assert.equal(text(), JSON.stringify(answer))
      assert.equal(text(), JSON.stringify(answer)) // by what was kept
    }),
    { numRuns: 300 },
  )
})

test('headers made with standings are those made without', () => {
  fc.assert(
    fc.property(fc.array(figures, { maxLength: 20 }), (all) => {
      const headers = rateLimitHeaders(all, NOW)
      assert.deepEqual(rateLimitHeaders(all, NOW, all.map(standingOf)), headers)
      const shown = all.filter(({ quota }) => !quota.shadow).slice(0, 16)
      assert.equal(headers['RateLimit-Policy']?.split(', ').length ?? 0, shown.length)
      const known = shown.filter(({ counted }) => counted !== undefined)
      assert.equal(headers['RateLimit']?.split(', ').length ?? 0, known.length)
      assert.ok(Object.values(headers).every((text) => /^[\x20-\x7e]+$/.test(text)))
    }),
  )
})
