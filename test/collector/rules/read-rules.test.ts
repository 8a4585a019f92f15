import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse } from 'yaml'
import { DEFAULT_RULES } from '../../../collector/rules/default-rules.ts'
import { groupKey, outputSeries } from '../../../collector/rules/output-labels.ts'
import { describeRule, readRules } from '../../../collector/rules/read-rules.ts'

const one = (settings: object) => ({ match: 'm', interval: '1m', outputs: ['avg'], ...settings })

test('readRules() reads a rule as it stands in a file, with defaults', () => {
  const { rules, problems } = readRules(
    parse(`
- match: 'up{job="x"}'
  interval: 60s
  outputs: [avg, "quantiles(0.9,.5)", avg, quantiles(0.5)]
- name: counters
  match: ['a', '{__name__=~"b.*"}']
  interval: 30s
  without: [pod, gpu, pod]
  outputs: [increase]
  keep_input: false
  grace: 1500ms
  metric: both
- match: m
  interval: 1h
  by:
  outputs: [histogram]
`),
  )
  assert.deepEqual(problems, [])
  assert.deepEqual(rules.map(describeRule), [
    'up{job="x"} each 1m by (): avg, quantiles(0.5, 0.9)',
    'a or {__name__=~"b.*"} each 30s without (gpu, pod): increase',
    'm each 1h by (): histogram',
  ])
  assert.deepEqual(
    rules.map((r) => [r.name, r.keepInput, r.graceMs, r.metric]),
    [
      ['up{job="x"}', true, 5000, undefined],
      ['counters', false, 1500, 'both'],
      ['m', true, 5000, undefined],
    ],
  )
})

test('readRules() names everything that is wrong at once, with its place', () => {
  const { rules, problems } = readRules([
    one({ match: 'm{', interval: '7m', by: ['a'], without: ['b'] }),
    one({ match: ['a', '{}', 3], outputs: ['avg', 'p99', 'quantiles(0.5, 2)'], keepinput: 1 }),
    one({ interval: 60, grace: '2d', keep_input: 'no', by: ['', '__name__'], outputs: [] }),
    {},
    'up',
    one({ match: [] }),
    one({ match: 4, metric: '', name: 1 }),
  ])
  assert.deepEqual(rules, [])
  const outputs = 'expected one of count, sum, avg, min, max, last, increase, rate, histogram, quantiles(0.5, 0.99)'
  const interval = 'expected a duration from 1s to 1h that divides a day, such as 30s, 1m or 5m'
  const label = 'expected the name of a label, not __name__: that is always part of the group'
  assert.deepEqual(problems, [
    'rules[0].match: "m{" is not allowed: not a selector, at 3: expected a label name, got the end',
    `rules[0].interval: "7m" is not allowed: ${interval}`,
    'rules[0].without: expected by or without, not both',
    'rules[1].keepinput: there is no such setting, only name, match, interval, by, without, outputs, keep_input, grace, metric',
    'rules[1].match[1]: "{}" is not allowed: not a selector, at 1: at least one matcher must not match the empty text',
    'rules[1].match[2]: 3 is not allowed: expected a selector',
    `rules[1].outputs[1]: "p99" is not allowed: ${outputs}`,
    `rules[1].outputs[2]: "quantiles(0.5, 2)" is not allowed: ${outputs}`,
    `rules[2].interval: 60 is not allowed: ${interval}`,
    `rules[2].by[0]: "" is not allowed: ${label}`,
    `rules[2].by[1]: "__name__" is not allowed: ${label}`,
    'rules[2].outputs: [] is not allowed: expected at least one output',
    'rules[2].keep_input: "no" is not allowed: expected true or false',
    'rules[2].grace: "2d" is not allowed: expected a duration up to 1h, such as 5s',
    'rules[3].match: is missing: expected a selector',
    `rules[3].interval: is missing: ${interval}`,
    'rules[3].outputs: is missing: expected a list of outputs',
    'rules[4]: expected settings such as match, interval and outputs',
    'rules[5].match: [] is not allowed: expected at least one selector',
    'rules[6].name: 1 is not allowed: expected text',
    'rules[6].match: 4 is not allowed: expected a selector',
    'rules[6].metric: "" is not allowed: expected text',
  ])
  assert.deepEqual(readRules({}, 'collector.rules').problems, ['collector.rules: expected a list of rules'])
})

test('readRules() takes only intervals whose windows are aligned with the day', () => {
  const allowed = (interval: string) => readRules([one({ interval })]).problems.length === 0
  const aligned = ['1s', '1500ms', '9s', '10s', '16s', '1m', '16m', '20m', '1h']
  assert.deepEqual(aligned.filter(allowed), aligned)
  assert.deepEqual(
    ['0s', '999ms', '500ms', '1001ms', '7s', '11s', '7m', '25m', '61m', '2h', '1d', '-1m', '', '1m30s'].filter(allowed),
    [],
  )
})

test('readRules() refuses two rules that may write the same series', () => {
  const clash = (a: object, b: object) => readRules([one(a), one(b)]).problems
  assert.match(clash({}, {})[0]!, /^rules\[1\]: would write the same series as rules\[0\] \(…:1m_avg\)/)
  const clashing: [object, object][] = [
    [{ match: 'm{a="1"}' }, { match: 'm{a="2"}' }],
    [{ match: '{__name__=~"a.*"}' }, { match: '{__name__=~"b.*"}' }],
    [{ match: '{__name__=~"a|m"}' }, { match: '{__name__=~"m.*"}' }],
    [
      { match: 'a', metric: 'x' },
      { match: 'b', metric: 'x' },
    ],
    [{ match: 'a', metric: 'm' }, {}],
    [{}, { match: 'a', metric: 'm' }],
    [{ match: ['x', 'm'] }, { match: ['m', 'y'], outputs: ['sum', 'avg'] }],
  ]
  for (const [a, b] of clashing) assert.equal(clash(a, b).length, 1, JSON.stringify([a, b]))
  const apart: [object, object][] = [
    [{ match: 'a' }, { match: 'b' }],
    [{ interval: '30s' }, {}],
    [{ by: ['x'] }, {}],
    [{ outputs: ['sum'] }, {}],
    [{ metric: 'other' }, {}],
    [
      { match: 'm{a="1"}', by: ['a'] },
      { match: 'm{a="2"}', by: ['a'] },
    ],
    [{ match: '{__name__=~"a|c"}' }, { match: '{__name__=~"b.*"}' }],
  ]
  for (const [a, b] of apart) assert.deepEqual(clash(a, b), [], JSON.stringify([a, b]))
})

test('readRules() reads the shipped rules', () => {
  const { rules, problems } = readRules(DEFAULT_RULES)
  assert.deepEqual(problems, [])
  assert.ok(rules.every((rule) => rule.keepInput))
  const names = rules.map((r) => r.match.map((m) => m.matchers[0]!.value))
  assert.ok(names.flat().includes('DCGM_FI_DEV_GPU_UTIL'))
})

test('readRules() answers problems, whatever it is given', () => {
  const value = fc.anything({ withNullPrototype: true })
  const rule = fc.record(
    { match: value, interval: value, outputs: value, by: value, grace: value, keep_input: value },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.oneof(value, fc.array(fc.oneof(rule, value))), (given) => {
      const { rules, problems } = readRules(given)
      assert.ok(problems.length > 0 || (Array.isArray(given) && rules.length === given.length))
    }),
  )
})

test('outputSeries() names outputs as vmagent does, and moves labels that are in the way', () => {
  const [by, without, all] = readRules([
    one({ by: ['host', 'collector'], outputs: ['avg', 'quantiles(0.5, 1)'] }),
    one({ without: ['gpu', 'zone'], outputs: ['quantiles(0.9)'] }),
    one({ match: 'n', metric: 'x.y' }),
  ]).rules
  const labels: [string, string][] = [
    ['collector', 'c1'],
    ['exported_collector', 'c2'],
    ['gpu', '1'],
    ['host', 'h'],
    ['quantile', 'q'],
  ]
  const texts = (rule: typeof by) =>
    outputSeries(rule!, groupKey(rule!, 't', 'm', labels), 'me').series.map((s) =>
      s.labels.map(([n, v]) => `${n}=${v}`).join(' '),
    )
  assert.deepEqual(texts(by), [
    '__name__=m:1m_by_collector_host_avg collector=me exported_collector=c1 host=h',
    '__name__=m:1m_by_collector_host_quantiles collector=me exported_collector=c1 host=h quantile=0.5',
    '__name__=m:1m_by_collector_host_quantiles collector=me exported_collector=c1 host=h quantile=1',
  ])
  assert.deepEqual(texts(without), [
    '__name__=m:1m_without_gpu_zone_quantiles collector=me exported_collector=c2 exported_exported_collector=c1 exported_quantile=q host=h quantile=0.9',
  ])
  assert.deepEqual(texts(all), ['__name__=x.y:1m_avg collector=me'])
})
