/**
 * Prometheus' own questions, as far as they are answered here:
 *
 *     POST /api/v1/read       remote read: samples, native histograms and exemplars as they were sent
 *     GET  /api/v1/metadata   types, help texts and units, by metric
 *     GET, POST /api/v1/query_exemplars   exemplars of the series that a selector matches
 *
 * @see https://prometheus.io/docs/prometheus/latest/querying/api/#querying-metric-metadata
 */
import type { Context, Hono, MiddlewareHandler } from 'hono'
import { compilePattern, PatternError } from '../../proto/wire/re2.ts'
import { readReadRequest } from '../../proto/wire/remote-read.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import { QueryTooLarge } from '../query/metric-query.ts'
import type { Database } from '../store/clickhouse.ts'
import { queryExemplars, readExemplarQuery } from './query-exemplars.ts'
import type { ReadContext } from './remote-read.ts'
import { remoteRead } from './remote-read.ts'
import { readMetadataOf } from './stored-metadata.ts'

export interface PrometheusOptions {
  readonly read: ReadContext
  readonly db: Database
  readonly database: string
}

/** Selectors are short; they go into statements as parameters. */
const REQUEST_BYTES_MAX = 64 * 1024
/** Each may hold an answer of a million samples in memory. */
const READS_AT_ONCE = 2
const METADATA_MAX = 100_000

/** Adds the routes. @param entry what every question passes first; @param tenantOf whose data it may see */
export function addPrometheusRoutes<E extends object>(
  app: Hono<E>,
  options: PrometheusOptions,
  entry: readonly MiddlewareHandler<E>[],
  tenantOf: (c: Context<E>) => string,
): void {
  for (const middleware of entry) {
    app.use('/api/v1/read', middleware)
    app.use('/api/v1/metadata', middleware)
    app.use('/api/v1/query_exemplars', middleware)
  }

  let reading = 0
  app.post('/api/v1/read', async (c) => {
    const encoding = c.req.header('content-encoding') ?? 'snappy'
    if (encoding !== 'snappy') return failed(c, 415, `Content-Encoding "${encoding}" is not supported: expected snappy`)
    const body = await bodyOf(c)
    if (body === undefined) return failed(c, 413, `The request is larger than ${REQUEST_BYTES_MAX} bytes`)
    if (reading >= READS_AT_ONCE)
      return c.json({ message: 'Other reads are going on: later', code: 'SERVICE_UNAVAILABLE' }, 503, {
        'Retry-After': '1',
      })
    reading++
    try {
      const queries = readReadRequest(portableSnappy.uncompress(body, REQUEST_BYTES_MAX))
      for (const { operator, value } of queries.flatMap((query) => query.matchers))
        if (operator === '=~' || operator === '!~') compilePattern(value)
      const answer = await remoteRead(options.read, tenantOf(c), queries)
      return c.body(answer, 200, {
        'Content-Type': 'application/x-protobuf',
        'Content-Encoding': 'snappy',
        'X-Prometheus-Remote-Read-Version': '0.1.0',
      })
    } catch (error) {
      if (error instanceof PatternError)
        return failed(c, 400, `A matcher is not a regular expression: ${error.message}`)
      if (error instanceof WireError || error instanceof QueryTooLarge) return failed(c, 400, error.message)
      throw error
    } finally {
      reading--
    }
  })

  app.get('/api/v1/metadata', async (c) => {
    const limit = wholeNumber(c.req.query('limit'))
    const perMetric = wholeNumber(c.req.query('limit_per_metric'))
    if (limit === undefined || perMetric === undefined)
      return refused(c, 'limit and limit_per_metric are whole numbers')
    const data = await readMetadataOf(options.db, options.database, tenantOf(c), {
      metric: c.req.query('metric'),
      metricsMax: Math.min(METADATA_MAX, limit <= 0 ? METADATA_MAX : limit),
      perMetricMax: perMetric <= 0 ? METADATA_MAX : perMetric,
    })
    return c.json({ status: 'success', data })
  })

  app.on(['GET', 'POST'], '/api/v1/query_exemplars', async (c) => {
    const form = c.req.method === 'POST' ? await bodyOf(c) : new Uint8Array(0)
    if (form === undefined) return refused(c, `The request is larger than ${REQUEST_BYTES_MAX} bytes`)
    const given = new URLSearchParams(`${new URL(c.req.url).search.slice(1)}&${Buffer.from(form).toString()}`)
    const query = readExemplarQuery(given, options.read.now())
    if (typeof query === 'string') return refused(c, query)
    try {
      return c.json({ status: 'success', data: await queryExemplars(options.read, tenantOf(c), query) })
    } catch (error) {
      if (error instanceof QueryTooLarge) return refused(c, error.message)
      throw error
    }
  })

  app.all('/api/v1/read', (c) => notAllowed(c, 'POST'))
  app.all('/api/v1/metadata', (c) => notAllowed(c, 'GET'))
  app.all('/api/v1/query_exemplars', (c) => notAllowed(c, 'GET, POST'))
}

/** In the form of Prometheus' API. */
function refused(c: Context, error: string): Response {
  return c.json({ status: 'error', errorType: 'bad_data', error }, 400)
}

/** The body, or undefined when it is too large; no more of it is read then. */
async function bodyOf(c: Context): Promise<Uint8Array | undefined> {
  if (Number(c.req.header('content-length') ?? 0) > REQUEST_BYTES_MAX) return undefined
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of (c.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > REQUEST_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  return Uint8Array.from(Buffer.concat(chunks))
}

/** -1 when absent, undefined when it is none. */
function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return -1
  return /^-?\d{1,9}$/.test(text) ? Number(text) : undefined
}

function failed(c: Context, status: 400 | 413 | 415, message: string): Response {
  return c.json({ message, code: 'BAD_REQUEST' }, status)
}

function notAllowed(c: Context, method: string): Response {
  const message = `${c.req.method} is not allowed on ${c.req.path}: expected ${method}`
  return c.json({ message, code: 'BAD_REQUEST' }, 405, { Allow: method })
}
