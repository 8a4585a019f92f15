/**
 * A short soak: real processes under steady load, killed, stopped, on a full disk, behind bad networks and with wrong clocks, in an
 * order that a seed decides. Nothing that was acknowledged is lost, and nothing is there twice. `npm run soak` goes on longer.
 *
 * FLEETMETER_TEST_ROUNDS sets the number of rounds, FLEETMETER_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { compareLane, isSound } from '../soak/found.ts'
import { Lane } from '../soak/load.ts'
import { nameOf, Plan } from '../soak/plan.ts'
import { RequestCutter } from '../soak/request-cutter.ts'
import { lineOf, SoakFailure, soak } from '../soak/soak.ts'
import { testSeed } from '../support/random.ts'
import type { ReadSeries } from '../support/remote-read.ts'

const GIVEN = process.env['FLEETMETER_TEST_ROUNDS']
const ROUNDS = Number(GIVEN ?? 20)
/** No round begins later, so that a slow machine does fewer of them, unless their number is given. */
const FOR_MS = GIVEN === undefined ? 80_000 : Number.POSITIVE_INFINITY
const TIMEOUT_MS = 300_000 + ROUNDS * 60_000
/** Rounds of about two seconds. */
const SCALE = 0.3

test('what was acknowledged is there, once, after rounds of every kind of fault', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-soak-'))
  try {
    const report = await soak({
      seed,
      rounds: ROUNDS,
      forMs: FOR_MS,
      every: 7,
      scale: SCALE,
      directory,
      senders: 3,
      kafka: false,
      onRound: (round, so) => t.diagnostic(lineOf(round, so)),
    })
    for (const [kind, reason] of report.missing) t.diagnostic(`skipped: ${kind}: ${reason}`)
    const { compared, slowest } = report
    t.diagnostic(
      `${report.rounds} rounds, ${report.acknowledged} samples acknowledged, ${report.resent} requests sent again, ` +
        `slowest recovery ${Math.round(slowest.ms)} ms`,
    )
    assert.ok(report.rounds >= Math.min(3, ROUNDS), 'hardly a round was done')
    assert.ok(report.resent > 0, 'no request was ever lost: the faults did not hit')
    assert.equal(compared.expected, report.acknowledged)
    assert.ok(compared.histograms > 0, 'no histogram was compared')
    assert.ok(isSound(compared))
  } catch (error) {
    if (!(error instanceof SoakFailure)) throw error
    const faults = error.faults.map(nameOf).join(', ')
    throw new Error(
      `round ${error.round} (${faults || 'the end'}), seed ${seed}, data in ${directory}; repeat: ` +
        `FLEETMETER_TEST_SEED=${seed} FLEETMETER_TEST_ROUNDS=${error.round} npm test -- guarantees/soak`,
      { cause: error },
    )
  }
})

test('the same seed makes the same plan, and another one another', () => {
  const rounds = (seed: number): unknown[] => {
    const plan = new Plan(seed)
    return Array.from({ length: 50 }, () => plan.next())
  }
  assert.deepEqual(rounds(1), rounds(1))
  assert.notDeepEqual(rounds(1), rounds(2))
})

test('control: the comparison sees what is lost, there twice, changed or invented, of samples and histograms', () => {
  const options = { url: 'http://127.0.0.1', senders: 1, lanes: 1, series: 3, stepMs: 250, from: 1_000_000 }
  const lane = new Lane(0, options)
  const requests = Array.from({ length: 20 }, (_, n) => n)
  const [with0, without] = [requests.find((n) => lane.hasHistogram(n))!, requests.find((n) => !lane.hasHistogram(n))!]
  const histogram = (n: number): Record<string, unknown> => ({
    timestamp: String(lane.timeOf(n)),
    sum: lane.valueOf(3, n),
  })
  const answer = (): ReadSeries[] => [
    ...Array.from({ length: 3 }, (_, series) => ({
      labels: { lane: '0', series: String(series) },
      samples: requests.map((n) => ({ timestamp: lane.timeOf(n), value: lane.valueOf(series, n), startTimestamp: 0 })),
      histograms: [],
      exemplars: [],
    })),
    {
      labels: { lane: '0', series: '3' },
      samples: [],
      histograms: requests.filter((n) => lane.hasHistogram(n)).map(histogram),
      exemplars: [],
    },
  ]
  const found = (change: (series: ReadSeries[]) => ReadSeries[]): readonly number[] => {
    const { lost, twice, wrong, foreign } = compareLane(lane, change(answer()), 0, requests.length)
    return [lost, twice, wrong, foreign]
  }
  const first = (series: ReadSeries[], samples: ReadSeries['samples']): ReadSeries[] => [
    { ...series[0]!, samples },
    ...series.slice(1),
  ]
  const last = (
    series: ReadSeries[],
    change: (all: ReadSeries['histograms']) => ReadSeries['histograms'],
  ): ReadSeries[] => [...series.slice(0, 3), { ...series[3]!, histograms: change(series[3]!.histograms) }]
  const changes: readonly (readonly [readonly number[], (series: ReadSeries[]) => ReadSeries[]])[] = [
    [[0, 0, 0, 0], (series) => series],
    [[20, 0, 0, 0], (series) => series.slice(1)],
    [[1, 0, 0, 0], (series) => first(series, series[0]!.samples.slice(1))],
    [[0, 20, 0, 0], (series) => [...series, series[0]!]],
    [
      [0, 0, 1, 0],
      (series) => first(series, [{ ...series[0]!.samples[0]!, value: -1 }, ...series[0]!.samples.slice(1)]),
    ],
    [
      [0, 0, 0, 1],
      (series) => first(series, [...series[0]!.samples, { timestamp: 1_000_001, value: 1, startTimestamp: 0 }]),
    ],
    [[1, 0, 0, 0], (series) => last(series, (all) => all.slice(1))],
    [[0, 1, 0, 0], (series) => last(series, (all) => [...all, histogram(with0)])],
    [[0, 0, 1, 0], (series) => last(series, (all) => [{ ...all[0]!, sum: -1 }, ...all.slice(1)])],
    [[0, 0, 0, 1], (series) => last(series, (all) => [...all, histogram(without)])],
  ]
  for (const [expected, change] of changes) assert.deepEqual(found(change), expected)
})

test('RequestCutter gives whole requests however their bytes arrive', () => {
  const requests = ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n\r\n\r\n']
  const bytes = Buffer.from(requests.join('') + requests.join(''))
  for (let size = 1; size <= bytes.length; size++) {
    const cutter = new RequestCutter()
    const whole: string[] = []
    for (let at = 0; at < bytes.length; at += size)
      whole.push(...cutter.push(bytes.subarray(at, at + size)).map((request) => request.toString()))
    assert.deepEqual(whole, [...requests, ...requests])
  }
})
