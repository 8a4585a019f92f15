/**
 * One sender names everything anew in each request, floods at many times its limit, and sends rows and bodies that are too
 * large. Another one's data and answers stay complete; and of the first one's, every acknowledged sample is stored or in the
 * aggregate of its metric, once.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPair } from '../support/pair.ts'
import type { Answer } from '../support/post.ts'
import { post } from '../support/post.ts'
import { authorized, eventually, scrape, total } from '../support/programs.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const HONEST = '127.0.0.2'
const HOSTILE = '127.0.0.3'
const SERIES_MAX = 1000
const BOMB_SERIES = 500
const ATTACK_MS = 8000

test('what one sender does costs another nothing', { timeout: 240_000 }, async (t) => {
  const { collector } = await startPair(t, {
    FLEETMETER_COLLECTOR_SERIES_PER_SENDER_MAX: String(SERIES_MAX),
    FLEETMETER_COLLECTOR_SENDER_SAMPLES_PER_SECOND: '3000',
    FLEETMETER_COLLECTOR_SENDER_BURST_SECONDS: '2',
  })
  const { url } = collector
  const begin = Date.now()
  let honest = 0
  const sendHonest = async (): Promise<number> => {
    const points = Array.from({ length: 20 }, (_, i) => ({
      name: 'honest',
      labels: { series: String(i) },
      time: begin + honest,
      value: honest,
    }))
    const started = performance.now()
    const { status, text } = await post(url, HONEST, remoteWriteBody(points))
    assert.equal(status, 204, text)
    honest++
    return performance.now() - started
  }
  const measured = async (ms: number): Promise<number[]> => {
    const times: number[] = []
    for (const until = Date.now() + ms; Date.now() < until; ) {
      times.push(await sendHonest())
      await sleep(20)
    }
    return times.sort((a, b) => a - b)
  }

  const statuses = new Map<number, number>()
  /** Acknowledged samples of the bomb: how many, their sum, least and greatest value. */
  const bomb = { count: 0, sum: 0, min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY }
  let overflow = ''
  let attacking = true
  let number = 0
  const note = ({ status, headers }: Answer): void => {
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status === 429) assert.match(String(headers['retry-after']), /^[1-9]\d*$/)
    if (headers['x-fleetmeter-overflow'] !== undefined) overflow = String(headers['x-fleetmeter-overflow'])
  }
  const throwBombs = async (): Promise<void> => {
    while (attacking) {
      const points = Array.from({ length: BOMB_SERIES }, () => {
        number++
        return {
          name: 'bomb',
          labels: { id: `x${number}`, zone: 'a' },
          time: begin + (number % 5000),
          value: number % 977,
        }
      })
      const answer = await post(url, HOSTILE, remoteWriteBody(points))
      note(answer)
      if (answer.status !== 204) continue
      for (const { value } of points) {
        bomb.count++
        bomb.sum += value
        bomb.min = Math.min(bomb.min, value)
        bomb.max = Math.max(bomb.max, value)
      }
      // As a sender does that missed the answer: counted once all the same.
      if (bomb.count % (4 * BOMB_SERIES) === 0) note(await post(url, HOSTILE, remoteWriteBody(points)))
    }
  }
  const throwRubbish = async (): Promise<void> => {
    const long = { name: 'long', labels: { text: 'x'.repeat(100_000) }, time: begin, value: 1 }
    const bodies = [remoteWriteBody([long]), new Uint8Array(33 * 1024 * 1024), new Uint8Array(1000).fill(0xff)]
    for (let i = 0; attacking; i++) {
      note(await post(url, HOSTILE, bodies[i % bodies.length]!))
      await sleep(50)
    }
  }

  const before = await measured(3000)
  const attack = [throwBombs(), throwBombs(), throwRubbish()]
  const during = await measured(ATTACK_MS)
  attacking = false
  await Promise.all(attack)
  const p = (times: number[], q: number): string => times[Math.floor((times.length - 1) * q)]!.toFixed(1)
  t.diagnostic(
    `answers to the honest: p50 ${p(before, 0.5)}, p99 ${p(before, 0.99)} ms; under attack ${p(during, 0.5)}, ${p(during, 0.99)}`,
  )
  t.diagnostic(`answers to the hostile: ${[...statuses].map(([status, n]) => `${status}: ${n}`).join(', ')}`)
  for (const status of statuses.keys()) assert.ok([204, 400, 413, 429].includes(status), `${status}`)
  for (const status of [204, 400, 429]) assert.ok(statuses.has(status), `there was no ${status}`)
  assert.ok(bomb.count > 5 * SERIES_MAX, `${bomb.count} samples of the bomb were taken`)

  // The answer and the metrics say which label did it.
  assert.match(overflow, /^\d+ samples of metric="bomb" aggregated: series_per_sender_max, label="id"$/)
  await eventually('the metric says it', async () => {
    const metrics = await scrape(url)
    return [...metrics.keys()].some((key) =>
      /overflow_samples_total\{.*metric="bomb",label="id",bound="series_per_sender_max"\}/.test(key),
    )
  })

  // Complete: every sample of the honest one, by either road.
  const read = (name: string): Promise<ReadSeries[]> =>
    readSeries(url, [{ type: 0, name: '__name__', value: name }], begin - 1000, Date.now() + 120_000)
  const series = await read('honest')
  assert.equal(series.length, 20)
  for (const { samples } of series)
    assert.deepEqual(
      samples.map((s) => [s.timestamp, s.value]),
      Array.from({ length: honest }, (_, i) => [begin + i, i]),
    )
  const query = new URLSearchParams({ name: 'honest', agg: 'last', step: '1d', limit: '100' })
  const answer = (await (await fetch(`${url}/api/public/metrics/query?${query}`, { headers: authorized })).json()) as {
    data: { values: { value: number }[] }[]
  }
  assert.deepEqual(
    answer.data.map((s) => s.values.at(-1)!.value),
    Array(20).fill(honest - 1),
  )

  // Totals: what is stored and what is aggregated are everything that was acknowledged, once.
  await eventually(
    'everything is accounted for',
    async () => total(await scrape(url), 'fleetmeter_collector_items_waiting') === 0,
    120_000,
  )
  const kept = await read('bomb')
  assert.equal(kept.length, SERIES_MAX)
  const stored = kept.flatMap((s) => s.samples.map((sample) => sample.value))
  const aggregated = async (what: string): Promise<number[]> => {
    const found = (await read(`bomb:1m_${what}`)).filter((s) => s.labels['__overflow__'] === 'true')
    return found.flatMap((s) => s.samples.map((sample) => sample.value))
  }
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  await eventually('the aggregates are there', async () => (await aggregated('count')).length > 0)
  assert.equal(stored.length + sum(await aggregated('count')), bomb.count)
  assert.equal(sum(stored) + sum(await aggregated('sum')), bomb.sum)
  assert.equal(Math.min(...stored, ...(await aggregated('min'))), bomb.min)
  assert.equal(Math.max(...stored, ...(await aggregated('max'))), bomb.max)
})
