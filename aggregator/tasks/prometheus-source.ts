/**
 * The samples of a Prometheus, by its HTTP API: `query` with a range selector, which gives the samples themselves, in pieces of an
 * hour; for long windows `query_range`, which gives a value a step. Stale markers are not given out: there a sample holds on to the
 * staleness limit where our own store knows that the series ended.
 * @see https://prometheus.io/docs/prometheus/latest/querying/api/
 */
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Selector, Series, SeriesSource } from './series-source.ts'
import { SeriesRefused, SeriesUnavailable, seriesKey } from './series-source.ts'

export interface PrometheusSourceOptions {
  /** Address, with a path where it has one; without a slash at the end. */
  readonly url: string
  /** Whose samples it has: one tenant's, or of each what the header asks for. */
  readonly serves: { readonly tenant: string } | { readonly header: string }
  readonly headers: Readonly<Record<string, string>>
  /** For an answer, ms. */
  readonly timeoutMs: number
  /** Most bytes of an answer; more is asked for in smaller pieces. */
  readonly bodyBytesMax: number
  /** Most samples of a window. */
  readonly pointsMax: number
  /** Windows longer than this are asked for by steps, ms. */
  readonly samplesWindowMs: number
  /** The usual time between samples: steps are not shorter, ms. */
  readonly intervalMs: number
  readonly fetch: typeof fetch
  readonly sleep: (ms: number) => Promise<void>
  /** 0 to 1. */
  readonly random: () => number
}

const PIECE_MS = 3_600_000
const PIECE_MIN_MS = 60_000
/** Prometheus refuses more values of a series. */
const STEPS_MAX = 11_000
const ATTEMPTS = 5
const PAUSE_MS = 250
const PAUSE_MAX_MS = 10_000
const SHOWN_CHARACTERS = 300

/** The answer is larger than it may be, or Prometheus cannot make it: half of it may do. */
class TooLarge extends Error {}

type Collected = Map<string, { name: string; labels: Record<string, string>; values: Map<number, number> }>

export class PrometheusSource implements SeriesSource {
  readonly #options: PrometheusSourceOptions

  constructor(options: PrometheusSourceOptions) {
    this.#options = options
  }

  async read(tenant: string, selectors: readonly Selector[], from: number, to: number): Promise<Series[]> {
    const { serves, samplesWindowMs } = this.#options
    if ('tenant' in serves && serves.tenant !== tenant) return []
    const collected: Collected = new Map()
    for (const selector of selectors) {
      const text = selectorText(selector)
      if (to - from > samplesWindowMs) await this.#steps(collected, tenant, text, from, to)
      else
        for (let piece = from; piece <= to; piece += PIECE_MS)
          await this.#samples(collected, tenant, text, piece, Math.min(to, piece + PIECE_MS - 1))
    }
    return [...collected.values()].map(({ name, labels, values }) => {
      const times = [...values.keys()].sort((a, b) => a - b)
      return { name, labels, times, values: times.map((time) => values.get(time)!) }
    })
  }

  /** Both ends inclusive; the older end of a range selector is so in Prometheus 2 and not in 3. */
  async #samples(collected: Collected, tenant: string, text: string, from: number, to: number): Promise<void> {
    const form = { query: `${text}[${to - from + 1}ms]`, time: secondsOf(to) }
    try {
      this.#collect(collected, await this.#ask('query', form, tenant), from, to)
    } catch (error) {
      if (!(error instanceof TooLarge)) throw error
      if (to - from < PIECE_MIN_MS) throw new SeriesRefused(error.message, { cause: error })
      const middle = Math.floor((from + to) / 2)
      await this.#samples(collected, tenant, text, from, middle)
      await this.#samples(collected, tenant, text, middle + 1, to)
    }
  }

  async #steps(collected: Collected, tenant: string, text: string, from: number, to: number): Promise<void> {
    const step = Math.max(this.#options.intervalMs, Math.ceil((to - from) / (STEPS_MAX - 1)))
    const form = { query: text, start: secondsOf(from), end: secondsOf(to), step: String(step / 1000) }
    try {
      this.#collect(collected, await this.#ask('query_range', form, tenant), from, to)
    } catch (error) {
      throw error instanceof TooLarge ? new SeriesRefused(error.message, { cause: error }) : error
    }
  }

  #collect(collected: Collected, matrix: readonly MatrixSeries[], from: number, to: number): void {
    let points = 0
    for (const { metric, values } of matrix) {
      const { __name__: name = '', ...labels } = metric
      const key = seriesKey(name, labels)
      const known = collected.get(key) ?? { name, labels, values: new Map<number, number>() }
      collected.set(key, known)
      for (const [seconds, value] of values) {
        const time = Math.round(seconds * 1000)
        if (time >= from && time <= to) known.values.set(time, Number(value))
      }
    }
    for (const { values } of collected.values()) points += values.size
    if (points > this.#options.pointsMax)
      throw new SeriesRefused(`a window of more than ${this.#options.pointsMax} samples is not read`)
  }

  async #ask(call: string, form: Readonly<Record<string, string>>, tenant: string): Promise<MatrixSeries[]> {
    let last: unknown
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      try {
        return await this.#once(call, form, tenant)
      } catch (error) {
        if (error instanceof SeriesRefused || error instanceof TooLarge) throw error
        last = error
        if (attempt + 1 === ATTEMPTS) break
        const asked = error instanceof Busy ? error.retryAfterMs : 0
        const pause = this.#options.random() * PAUSE_MS * 2 ** (attempt + 1)
        await this.#options.sleep(Math.min(PAUSE_MAX_MS, Math.max(asked, pause)))
      }
    }
    throw new SeriesUnavailable(`Prometheus at ${this.#options.url} does not answer: ${messageOf(last)}`, {
      cause: last,
    })
  }

  async #once(call: string, form: Readonly<Record<string, string>>, tenant: string): Promise<MatrixSeries[]> {
    const { url, headers, serves, timeoutMs, bodyBytesMax } = this.#options
    const response = await this.#options.fetch(`${url}/api/v1/${call}`, {
      method: 'POST',
      headers: { ...headers, ...('header' in serves ? { [serves.header]: tenant } : {}) },
      body: new URLSearchParams({ ...form, timeout: `${timeoutMs}ms` }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    const body = await bounded(response, bodyBytesMax)
    if (response.status === 200) return matrixIn(body)
    const said = `${response.status} ${body.slice(0, SHOWN_CHARACTERS)}`
    // 422: the query cannot be executed; mostly too many samples for its memory, and less may work.
    if (response.status === 422) throw new TooLarge(`Prometheus refuses a window: ${said}`)
    if (response.status === 429 || response.status >= 500)
      throw new Busy(said, Number(response.headers.get('Retry-After') ?? 0) * 1000)
    throw new SeriesRefused(`Prometheus refuses a window: ${said}`)
  }
}

class Busy extends Error {
  readonly retryAfterMs: number

  constructor(message: string, retryAfterMs: number) {
    super(message)
    this.retryAfterMs = Number.isFinite(retryAfterMs) ? retryAfterMs : 0
  }
}

interface MatrixSeries {
  readonly metric: Readonly<Record<string, string>>
  readonly values: readonly (readonly [seconds: number, value: string])[]
}

async function bounded(response: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length
    // Leaving the loop cancels what is still to come.
    if (bytes > bytesMax) throw new TooLarge(`the answer of Prometheus has more than ${bytesMax} bytes`)
    chunks.push(chunk as Uint8Array)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** @throws Error when it is not an answer of Prometheus: something else may be in its place for a while */
function matrixIn(body: string): MatrixSeries[] {
  const answer = JSON.parse(body) as { status?: unknown; data?: { resultType?: unknown; result?: unknown } } | null
  const { resultType, result } = answer?.data ?? {}
  if (answer?.status !== 'success' || resultType !== 'matrix' || !Array.isArray(result))
    throw new Error(`this is no matrix: ${body.slice(0, SHOWN_CHARACTERS)}`)
  return result.flatMap((series: Partial<MatrixSeries> | null) => {
    // Native histograms have no `values`.
    if (!Array.isArray(series?.values)) return []
    const { metric, values } = series
    const sound = values.every((pair) => Array.isArray(pair) && Number.isFinite(pair[0]) && typeof pair[1] === 'string')
    if (typeof metric !== 'object' || metric === null || !sound) throw new Error('a series of the answer is malformed')
    return [{ metric, values }]
  })
}

function selectorText(selector: Selector): string {
  return `{${selector.map(({ name, operator, value }) => `${name}${operator}${JSON.stringify(value)}`).join(',')}}`
}

const secondsOf = (ms: number): string => (ms / 1000).toFixed(3)
