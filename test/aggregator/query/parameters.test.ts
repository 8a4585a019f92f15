import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readMetricQuery, readStep } from '../../../aggregator/query/parameters.ts'

const NOW = Date.UTC(2026, 10, 21, 12)
const read = (query: string) => readMetricQuery(new URLSearchParams(query), NOW)

test('readMetricQuery fills in the defaults', () => {
  assert.deepEqual(read('name=up'), {
    name: 'up',
    from: NOW - 3_600_000,
    to: NOW,
    filter: [],
    stepMs: 60_000,
    agg: 'avg',
    groupBy: undefined,
    limit: undefined,
  })
})

test("readMetricQuery reads the router's, the scheduler's and the web page's questions", () => {
  const router = read(
    'name=pending_requests&from=2026-11-21T00%3A18%3A19.977000721%2B00%3A00&to=2026-11-21T00%3A19%3A19.977000721%2B00%3A00&step=60s&agg=last',
  )
  assert.ok(typeof router !== 'string')
  assert.deepEqual([router.to - router.from, router.stepMs, router.agg], [60_000, 60_000, 'last'])
  const scheduler = read('name=kv_cache_usage&from=2026-11-21T00:17:19Z&to=2026-11-21T00:19:19Z&step=120s&agg=last')
  assert.ok(typeof scheduler !== 'string' && scheduler.stepMs === 120_000)
  const page = read('name=gpu_utilization&from=2026-11-21T00:18:19.977Z&to=2026-11-21T01:18:19.977Z&step=60')
  assert.ok(typeof page !== 'string' && page.stepMs === 60_000 && page.agg === 'avg')
})

test('readStep takes seconds and units from 1s to 30d, and nothing else', () => {
  for (const [text, ms] of [
    ['1', 1000],
    ['60s', 60_000],
    ['1m', 60_000],
    ['120s', 120_000],
    [' 5m ', 300_000],
    ['2h', 7_200_000],
    ['30d', 2_592_000_000],
    ['2592000', 2_592_000_000],
  ] as const) {
    assert.equal(readStep(text), ms, text)
  }
  for (const text of ['', '0', '0s', '-1m', '1M', 'x', '31d', '1.5m', '1e3', '1 m', 's', '9999999999'])
    assert.equal(readStep(text), undefined, text)
})

test('readMetricQuery says what is wrong', () => {
  for (const [query, message] of [
    ['', /^name: required/],
    ['name=a&name=b', /^name: given more than once/],
    ['name=a&from=yesterday', /^from: expected an RFC 3339 time/],
    ['name=a&to=2026-11-21T00:00:00+00:00', /^to: .*%2B/],
    ['name=a&from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z', /^from must be <= to$/],
    ['name=a&step=1M', /^invalid step/],
    ['name=a&agg=count', /^invalid agg, must be one of: avg, max, min, sum, last, p50, p90, p99$/],
    ['name=a&agg=', /^invalid agg/],
    ['name=a&labels={', /^invalid labels json/],
    ['name=a&group_by=', /^group_by/],
    ['name=a&limit=0', /^limit/],
    ['name=a&limit=x', /^limit/],
  ] as const) {
    const result = read(query)
    assert.match(typeof result === 'string' ? result : '', message, query)
  }
})

test('readMetricQuery takes an empty name, any case of agg, equal times and unknown parameters', () => {
  assert.ok(typeof read('name=') !== 'string')
  const upper = read('name=a&agg= P99 &foo=bar')
  assert.ok(typeof upper !== 'string' && upper.agg === 'p99')
  assert.ok(typeof read('name=a&from=2026-11-21T00:00:00Z&to=2026-11-21T00:00:00Z') !== 'string')
})

test('readMetricQuery: a filter that is JSON but no object of texts matches nothing; a blank one everything', () => {
  for (const labels of ['[]', '"x"', 'null', '3', '{"a":1}', '{"a":null}', '{"a":{}}']) {
    const query = read(`name=a&labels=${encodeURIComponent(labels)}`)
    assert.ok(typeof query !== 'string' && query.filter === undefined, labels)
  }
  for (const labels of ['', ' ', '{}']) {
    const query = read(`name=a&labels=${encodeURIComponent(labels)}`)
    assert.deepEqual(typeof query === 'string' ? query : query.filter, [], labels)
  }
})
