/**
 * Sends samples of a fleet that were prepared before: flat out over a few connections, or evenly over a time.
 *
 *     arguments: JSON LoadJob; prints "ready" when the bodies of windows are made, and makes others for each part
 *     stdin:     a line for each part of them, JSON LoadPart; of first and end only where it is not to be sent yet
 *     stdout:    for each of them a line, JSON LoadResult
 *
 * A body that is not taken (503, 429, lost connection) is sent again until it is.
 */
import { once } from 'node:events'
import { Agent } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet, SAMPLES_PER_REQUEST } from './fleet.ts'
import type { WriteVersion } from './post.ts'
import { post } from './post.ts'

export interface LoadJob {
  readonly nodes: number
  /** With the label `pod`, one a GPU. */
  readonly pods: boolean
  /** Of remote write. */
  readonly versions: readonly WriteVersion[]
  /** Samples of each series. */
  readonly rounds: number
  /** Sample time of the first round, and between two, ms. */
  readonly startMs: number
  readonly stepMs: number
  /** Undefined: there are none. */
  readonly windows: LoadWindows | undefined
  readonly connections: number
}

/** So many rounds are a window, from the first on, and begin so often, ms; so many windows are a turn, which begin so often, ms. */
export interface LoadWindows {
  readonly rounds: number
  readonly everyMs: number
  readonly inTurn: number
  readonly turnMs: number
}

/** Rounds [first, end). */
export interface LoadPart {
  readonly url: string
  readonly version: WriteVersion
  readonly first: number
  readonly end: number
  /** Evenly over this time, ms; 0: flat out. */
  readonly overMs: number
}

export interface LoadResult {
  readonly samples: number
  /** Of all values. */
  readonly sum: number
  readonly bytes: number
  readonly seconds: number
  readonly retries: number
  /** Of each series in each whole window the average, the highest and the last: how many that are, and their sum. */
  readonly outputs: number
  readonly outputSum: number
}

interface Round {
  readonly bodies: readonly { readonly bytes: Uint8Array; readonly sum: number }[]
  readonly bodies2: readonly Uint8Array[]
}

const RETRY_MS = 50
const OUTPUTS = 3

/** What a rule with avg, max and last makes of series that are a group each. */
class Windows {
  /** By the number of the window. */
  readonly sums: number[] = []
  readonly #rounds: number
  readonly #sum: Float64Array
  readonly #max: Float64Array
  #seen = 0

  constructor(series: number, rounds: number) {
    this.#rounds = rounds
    this.#sum = new Float64Array(series)
    this.#max = new Float64Array(series).fill(Number.NEGATIVE_INFINITY)
  }

  round(values: Float64Array): void {
    for (let i = 0; i < values.length; i++) {
      this.#sum[i]! += values[i]!
      this.#max[i] = Math.max(this.#max[i]!, values[i]!)
    }
    if (++this.#seen % this.#rounds !== 0) return
    this.sums.push(values.reduce((n, last, i) => n + this.#sum[i]! / this.#rounds + this.#max[i]! + last, 0))
    this.#sum.fill(0)
    this.#max.fill(Number.NEGATIVE_INFINITY)
  }
}

const job = JSON.parse(process.argv[2]!) as LoadJob
const fleet = new Fleet(job.nodes, job.pods)
const perRound = Math.ceil(fleet.series / SAMPLES_PER_REQUEST)
const perWindow = job.windows?.rounds ?? job.rounds
const windows = new Windows(fleet.series, perWindow)
let made = 0
/** Those of windows by the clock are made before it begins; of others, the part that is being sent. */
const rounds = job.windows === undefined ? [] : makeRounds(job.rounds)
let kept: { readonly first: number; readonly rounds: readonly Round[] } = { first: 0, rounds: [] }

/** @param count of the next ones, in the order of time */
function makeRounds(count: number): Round[] {
  return Array.from({ length: count }, () => {
    const round = made++
    return makeRound(job.startMs + windowStart(Math.floor(round / perWindow)) + (round % perWindow) * job.stepMs)
  })
}

/** Of a window, ms after the first one's. */
function windowStart(window: number): number {
  if (job.windows === undefined) return 0
  const { everyMs, inTurn, turnMs } = job.windows
  return Math.floor(window / inTurn) * turnMs + (window % inTurn) * everyMs
}

/** A part may be asked for again, by another receiver; then the one behind it. */
function roundsOf(first: number, end: number): readonly Round[] {
  if (rounds.length > 0) return rounds.slice(first, end)
  if (kept.first !== first || kept.rounds.length !== end - first) {
    if (first !== made) throw new Error(`round ${first} was asked for, and ${made} is the next`)
    kept = { first, rounds: [] } // the part before gives its memory back
    kept = { first, rounds: makeRounds(end - first) }
  }
  return kept.rounds
}

function makeRound(time: number): Round {
  const bodies: { bytes: Uint8Array; sum: number }[] = []
  const bodies2: Uint8Array[] = []
  for (let i = 0; i < perRound; i++) {
    const before = fleet.sum
    const bytes = fleet.request(time)
    bodies.push({ bytes, sum: fleet.sum - before })
    if (job.versions.includes(2)) bodies2.push(fleet.request2())
  }
  windows.round(fleet.values)
  return { bodies, bodies2 }
}

async function send({ url, version, first, end, overMs }: LoadPart): Promise<LoadResult> {
  const part = roundsOf(first, end)
  const started = performance.now()
  const bodies = part.flatMap((round) => (version === 1 ? round.bodies.map(({ bytes }) => bytes) : round.bodies2))
  const everyMs = overMs / bodies.length
  let next = 0
  let retries = 0
  const connection = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (next < bodies.length) {
      const due = started + next * everyMs
      const bytes = bodies[next++]!
      if (everyMs > 0) await sleep(Math.max(0, due - performance.now()))
      for (;;) {
        const status = await post(url, bytes, agent, version)
        if (status === 204 || status === 200) break
        if (status !== 503 && status !== 429 && status !== 0) throw new Error(`${url} answered ${status}`)
        retries++
        await sleep(RETRY_MS)
      }
    }
    agent.destroy()
  }
  await Promise.all(Array.from({ length: job.connections }, connection))
  const whole = windows.sums.slice(first / perWindow, end / perWindow)
  return {
    samples: bodies.length * SAMPLES_PER_REQUEST,
    sum: part.reduce((n, round) => round.bodies.reduce((m, { sum }) => m + sum, n), 0),
    bytes: bodies.reduce((n, bytes) => n + bytes.length, 0),
    seconds: (performance.now() - started) / 1000,
    retries,
    outputs: whole.length * fleet.series * OUTPUTS,
    outputSum: whole.reduce((n, sum) => n + sum, 0),
  }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const part = JSON.parse(line) as LoadPart | Pick<LoadPart, 'first' | 'end'>
  const answer = (what: unknown): void => void process.stdout.write(`${JSON.stringify(what)}\n`)
  if ('url' in part) void send(part).then(answer)
  else answer({ made: roundsOf(part.first, part.end).length })
})
await once(lines, 'close')
