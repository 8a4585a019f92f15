/** What a Prometheus may answer, and what the source makes of it: pieces, repeats, bounds, nonsense. */
import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { PrometheusSourceOptions } from '../../../aggregator/tasks/prometheus-source.ts'
import { PrometheusSource } from '../../../aggregator/tasks/prometheus-source.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import { SeriesRefused, SeriesUnavailable } from '../../../aggregator/tasks/series-source.ts'
import { prometheusSourceOptions } from '../../support/prometheus-source.ts'
import { TENANT } from '../../support/task-events.ts'

interface Asked {
  readonly path: string
  readonly form: URLSearchParams
  readonly headers: IncomingMessage['headers']
}

/** A server that answers as it is told. */
async function standIn(
  t: TestContext,
  answer: (asked: Asked, response: ServerResponse, count: number) => void,
): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const one = { path: request.url ?? '', form: new URLSearchParams(body), headers: request.headers }
    asked.push(one)
    answer(one, response, asked.length)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const matrix = (...result: unknown[]): string =>
  JSON.stringify({ status: 'success', data: { resultType: 'matrix', result } })
const series = (...values: [number, string][]): unknown => ({ metric: { __name__: 'm', a: '1' }, values })
const SELECTOR = [{ operator: '=~', name: 'a', value: '"x"|\\d\n' }] as const

const read = (
  url: string,
  from: number,
  to: number,
  options: Partial<PrometheusSourceOptions> = {},
): Promise<Series[]> =>
  new PrometheusSource({ ...prometheusSourceOptions(url), ...options }).read(TENANT, [SELECTOR], from, to)

test('a window is asked for in pieces of an hour that do not overlap, and put together', async (t) => {
  const { url, asked } = await standIn(t, ({ form }, response) => {
    const time = Number(form.get('time'))
    response.end(matrix(series([time, '1.5'], [time - 0.001, 'NaN'], [time + 1, '9'])))
  })
  const [one] = await read(url, 0, 5_400_000)
  assert.deepEqual(
    asked.map(({ path, form }) => [path, form.get('query'), form.get('time')]),
    [
      ['/api/v1/query', '{a=~"\\"x\\"|\\\\d\\n"}[3600000ms]', '3599.999'],
      ['/api/v1/query', '{a=~"\\"x\\"|\\\\d\\n"}[1800001ms]', '5400.000'],
    ],
  )
  assert.deepEqual(
    [one?.name, one?.labels, Array.from(one?.times ?? [])],
    ['m', { a: '1' }, [3599998, 3599999, 5399999, 5400000]],
  )
  assert.deepEqual(Array.from(one?.values ?? []), [Number.NaN, 1.5, Number.NaN, 1.5])
})

test('what is too much is asked for in halves; what is too much in any case is refused', async (t) => {
  const { url, asked } = await standIn(t, ({ form }, response) => {
    const ms = Number(/\[(\d+)ms\]/.exec(form.get('query') ?? '')?.[1])
    if (ms > 1_000_000) response.writeHead(422).end('too many samples')
    else response.end(matrix())
  })
  assert.deepEqual(await read(url, 0, 3_599_999), [])
  assert.equal(asked.length, 7)
  const large = await standIn(t, (_, response) => response.end('x'.repeat(5000)))
  await assert.rejects(read(large.url, 0, 100_000, { bodyBytesMax: 1000 }), SeriesRefused)
  const many = await standIn(t, (_, response) => response.end(matrix(series([1, '1'], [2, '2'], [3, '3']))))
  await assert.rejects(read(many.url, 0, 10_000, { pointsMax: 2 }), SeriesRefused)
})

test('a Prometheus that is busy is asked again, with pauses that grow, and not for ever', async (t) => {
  const pauses: number[] = []
  const sleep = async (ms: number): Promise<void> => void pauses.push(ms)
  const { url } = await standIn(t, (_, response, count) => {
    if (count === 1) response.writeHead(503, { 'Retry-After': '2' }).end()
    else if (count < 4) response.writeHead(500).end()
    else response.end(matrix(series([1, '7'])))
  })
  assert.deepEqual((await read(url, 0, 2000, { sleep }))[0]?.values, [7])
  assert.deepEqual(pauses, [2000, 500, 1000])
  const never = await standIn(t, (_, response) => response.writeHead(503).end('no'))
  await assert.rejects(
    read(never.url, 0, 2000),
    (error) => error instanceof SeriesUnavailable && /503 no/.test(error.message),
  )
  assert.equal(never.asked.length, 5)
})

test('a question that is not understood is refused at once; an answer that is none is not believed', async (t) => {
  const wrong = await standIn(t, (_, response) => response.writeHead(400).end('parse error'))
  await assert.rejects(read(wrong.url, 0, 1000), /400 parse error/)
  assert.equal(wrong.asked.length, 1)
  const bodies = [
    '',
    'null',
    '[]',
    '<html>',
    '{"status":"success"}',
    '{"status":"success","data":{"resultType":"vector","result":[]}}',
    matrix({ metric: { a: '1' }, values: [['x', '1']] }),
    matrix({ metric: null, values: [[1, '1']] }),
    matrix({ metric: {}, values: [[1, 2]] }),
    matrix(series([1, '1'])).slice(0, -9),
  ]
  for (const body of bodies) {
    const { url } = await standIn(t, (_, response) => response.end(body))
    await assert.rejects(read(url, 0, 1000), SeriesUnavailable, body)
  }
  const elsewhere = await standIn(t, (_, response) =>
    response.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end(),
  )
  await assert.rejects(read(elsewhere.url, 0, 1000), SeriesUnavailable)
  const silent = await standIn(t, () => {})
  await assert.rejects(read(silent.url, 0, 1000, { timeoutMs: 50 }), SeriesUnavailable)
})

test('samples are told to the tenant whose they are, and a header asks for one’s own', async (t) => {
  const { url, asked } = await standIn(t, (_, response) => response.end(matrix()))
  assert.deepEqual(await read(url, 0, 1000, { serves: { tenant: 'another' } }), [])
  assert.equal(asked.length, 0)
  await read(url, 0, 1000, { serves: { header: 'X-Scope-OrgID' } })
  assert.equal(asked[0]?.headers['x-scope-orgid'], TENANT)
})

test('long windows are asked for by steps, of which no series has more than 11,000', async (t) => {
  const { url, asked } = await standIn(t, (_, response) => response.end(matrix()))
  await read(url, 0, 7 * 86_400_000)
  const { path, form } = asked[0]!
  assert.equal(path, '/api/v1/query_range')
  const steps = Number(form.get('end')) / Number(form.get('step')) + 1
  assert.ok(steps <= 11_000 && steps > 10_000, String(steps))
})
