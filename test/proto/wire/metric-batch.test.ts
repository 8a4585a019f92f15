import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MetricPoint, PointRejection } from '../../../proto/wire/metric-batch.ts'
import { MetricBatchError, readMetricBatch } from '../../../proto/wire/metric-batch.ts'

function read(body: string | object): { points: MetricPoint[]; rejected: PointRejection[] } {
  const points: MetricPoint[] = []
  const rejected: PointRejection[] = []
  readMetricBatch(
    new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body)),
    (p) => points.push(p),
    (r) => rejected.push(r),
  )
  return { points, rejected }
}

const good = {
  name: 'pending_requests',
  labels: { node_id: 'n1', model_uid: 'm' },
  value: 3,
  timestamp: '2026-11-01T10:00:00.123456789Z',
}

test("readMetricBatch reads nebula's heartbeat and sorts its labels", () => {
  assert.deepEqual(read({ metrics: [good], extra: 1 }), {
    points: [
      {
        name: 'pending_requests',
        labels: [
          ['model_uid', 'm'],
          ['node_id', 'n1'],
        ],
        value: 3,
        timestamp: Date.UTC(2026, 10, 1, 10, 0, 0, 123),
      },
    ],
    rejected: [],
  })
})

test('readMetricBatch takes empty names, keys and values, and no labels at all', () => {
  assert.deepEqual(
    read({
      metrics: [
        { ...good, name: '', labels: { '': '' } },
        { ...good, labels: undefined },
      ],
    }).points.map((p) => [p.name, p.labels]),
    [
      ['', [['', '']]],
      ['pending_requests', []],
    ],
  )
})

test('readMetricBatch rejects a bad point with its index and reason, and takes its neighbours', () => {
  const bad: [unknown, RegExp][] = [
    [null, /expected an object, got null/],
    [{ ...good, name: undefined }, /name: expected a string, got nothing/],
    [{ ...good, value: '3' }, /value: expected a finite number, got a string/],
    [{ ...good, value: null }, /value: .* got null/],
    [{ ...good, labels: null }, /labels: expected an object, got null/],
    [{ ...good, labels: { a: 1 } }, /labels.a: expected a string, got the number 1/],
    [{ ...good, labels: { __name__: 'x' } }, /labels.__name__/],
    [{ ...good, timestamp: 1761991200 }, /timestamp: expected an RFC 3339 string/],
    [{ ...good, timestamp: '2026-11-01' }, /"2026-11-01" is not an RFC 3339 time/],
  ]
  const { points, rejected } = read({ metrics: [good, ...bad.map(([point]) => point), good] })
  assert.equal(points.length, 2)
  for (const [i, [, reason]] of bad.entries()) {
    assert.equal(rejected[i]?.index, i + 1)
    assert.match(rejected[i]?.reason ?? '', reason)
  }
})

test('readMetricBatch rejects a number that JSON can write and a double cannot hold', () => {
  assert.match(
    read(`{"metrics":[{"name":"a","value":1e999,"timestamp":"2026-11-01T10:00:00Z"}]}`).rejected[0]?.reason ?? '',
    /out of range/,
  )
})

test('readMetricBatch keeps __proto__ as an ordinary label', () => {
  assert.deepEqual(
    read('{"metrics":[{"name":"a","labels":{"__proto__":"x"},"value":1,"timestamp":"2026-11-01T10:00:00Z"}]}').points[0]
      ?.labels,
    [['__proto__', 'x']],
  )
})

test('readMetricBatch tells text that is not JSON from JSON of another shape', () => {
  for (const [body, status] of [
    ['', 400],
    ['{', 400],
    ['{"metrics":[NaN]}', 400],
    ['[]', 422],
    ['{}', 422],
    ['{"metrics":null}', 422],
    ['{"metrics":{}}', 422],
    ['3', 422],
  ] as const) {
    assert.throws(
      () => read(body),
      (error) => error instanceof MetricBatchError && error.status === status,
      body,
    )
  }
  assert.throws(
    () =>
      readMetricBatch(
        Uint8Array.of(0x22, 0xff, 0x22),
        () => {},
        () => {},
      ),
    (error) => error instanceof MetricBatchError && error.status === 400,
  )
})

test('readMetricBatch answers any JSON with points, rejections or its own error', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        fc.json().map((j) => `{"metrics":[${j}]}`),
      ),
      (body) => {
        try {
          read(body)
        } catch (error) {
          assert.ok(error instanceof MetricBatchError)
        }
      },
    ),
  )
})

test('readMetricBatch survives nesting deeper than the stack', () => {
  assert.throws(() => read('['.repeat(1_000_000)), MetricBatchError)
})
