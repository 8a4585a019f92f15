/** Where a quota leads to: a straight line, and nothing where that would say nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forecastOf } from '../../../aggregator/page/browser/quota-forecast.ts'
import type { FigureAnswer } from '../../../aggregator/quotas/api.ts'

const FROM = Date.UTC(2026, 5, 1) / 1000
const DAY = 86_400

function figure(more: Partial<FigureAnswer>): FigureAnswer {
  return {
    quota: 'q',
    level: 'user',
    subject: 'ada',
    resource: 'tokens',
    window: 'month',
    limit: '100',
    used: '50',
    held: '0',
    leased: '0',
    in_doubt: '0',
    left: '50',
    period_from: '2026-06-01T00:00:00.000Z',
    resets_at: '2026-07-01T00:00:00.000Z',
    enforcement: 'hard',
    shadow: false,
    state: 'ok',
    ...more,
  }
}

test('forecastOf() of a period goes on as it went', () => {
  assert.equal(forecastOf(figure({}), undefined, FROM + 10 * DAY)!.overAt, FROM + 20 * DAY)
  assert.equal(forecastOf(figure({}), undefined, FROM + 16 * DAY)!.overAt, undefined, 'it lasts')
  // What is held may be given back.
  assert.equal(forecastOf(figure({ held: '49' }), undefined, FROM + 10 * DAY)!.overAt, FROM + 20 * DAY)
})

test('forecastOf() says nothing where there is too little to say', () => {
  const at = FROM + 10 * DAY
  for (const [what, more, now] of [
    ['the period has only begun', {}, FROM + DAY],
    ['not an hour of a day', { window: 'day', resets_at: '2026-06-02T00:00:00.000Z' }, FROM + 3599],
    ['nothing was used', { used: '0' }, at],
    ['nobody knows what was used', { used: null }, at],
    ['more was given back than used', { used: '-1' }, at],
    ['it is over', { used: '100' }, at],
    ['nothing is allowed', { limit: '0', used: '0' }, at],
    ['time gives back', { window: 'rolling' }, at],
  ] as const)
    assert.equal(forecastOf(figure(more), FROM, now), undefined, what)
})

test('forecastOf() of all time begins with the first use', () => {
  const life = figure({ window: 'lifetime', period_from: null, resets_at: null })
  assert.equal(forecastOf(life, FROM, FROM + 10 * DAY)!.overAt, FROM + 20 * DAY)
  assert.equal(forecastOf(life, undefined, FROM + 10 * DAY), undefined, 'nobody knows since when')
  assert.equal(forecastOf(life, FROM, FROM + DAY - 1), undefined, 'too short')
  assert.equal(forecastOf({ ...life, used: '1' }, FROM, FROM + 10 * DAY), undefined, 'too far ahead')
})
