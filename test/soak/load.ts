/**
 * Steady load with a record of its own. A lane is a connection that sends one request after another, each until it is
 * acknowledged: whatever got no clear answer is sent again, the identical body. So what was acknowledged of a lane is always
 * its requests 0 to `done - 1`, and every sample of them follows from its place: the record needs no memory, however long it
 * goes on.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { authorized, eventually } from '../support/programs.ts'
import type { Point } from '../support/write-request.ts'
import { histogramOf, metricsBatchBody, remoteWrite2Body, remoteWriteBody } from '../support/write-request.ts'

export const METRIC = 'soak'

const snappy = { 'Content-Encoding': 'snappy', 'Content-Type': 'application/x-protobuf' }
const DOORS = {
  'remote write 1.0': { path: '/api/v1/write', body: remoteWriteBody, headers: snappy },
  'remote write 2.0': {
    path: '/api/v1/write',
    body: remoteWrite2Body,
    headers: { ...snappy, 'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' },
  },
  batch: {
    path: '/v1/metrics/batch',
    body: metricsBatchBody,
    headers: { ...authorized, 'Content-Type': 'application/json' },
  },
} as const
type Door = keyof typeof DOORS
/** Of ten requests. */
const MIX: readonly Door[] = [
  ...Array<Door>(6).fill('remote write 1.0'),
  ...Array<Door>(2).fill('remote write 2.0'),
  ...Array<Door>(2).fill('batch'),
]
const ANSWER_MS = 10_000
const AGAIN_AFTER_MS = 50
/** Now and then an old body comes again, as from a sender that missed the answer: one of so many. */
const OLD_AGAIN = 20

export interface LoadOptions {
  readonly url: string
  readonly senders: number
  /** Connections of a sender. */
  readonly lanes: number
  /** Of a lane. */
  readonly series: number
  /** Between the requests of a lane, ms. */
  readonly stepMs: number
  /** Time of the first samples, ms. */
  readonly from: number
}

/** A whole number that looks like chance, 0 to 2³² - 1. */
function hash(a: number, b: number, c: number): number {
  let h = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b) ^ Math.imul(c + 1, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d)
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}

export class Lane {
  readonly number: number
  readonly options: LoadOptions
  /** Requests that are acknowledged. */
  done = 0
  /** Requests that had to be sent again. */
  resent = 0
  /** An answer that is neither yes nor later. */
  refusal: string | undefined
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #address: string
  #paused = true
  #stopped = false
  #resting = true

  constructor(number: number, options: LoadOptions) {
    this.number = number
    this.options = options
    this.#address = `127.0.0.${2 + (number % options.senders)}`
  }

  /** No request is under way. */
  get resting(): boolean {
    return this.#resting
  }

  timeOf(n: number): number {
    return this.options.from + n * this.options.stepMs + this.number
  }

  /** Sums of these are exact in any order: decimals of quarters, and numbers with twenty binary places. */
  valueOf(series: number, n: number): number {
    const h = hash(this.number, series, n)
    return series % 2 === 0 ? (h % 4_000_000) / 4 : h / (1 << 20)
  }

  /** Whether a request has a native histogram too, of a series of its own with the number behind the last: JSON batches know none. */
  hasHistogram(n: number): boolean {
    return this.#doorOf(n) !== 'batch'
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      const due = this.timeOf(this.done) - Date.now()
      this.#resting = this.#paused || due > 0
      if (this.#resting) {
        await sleep(this.#paused ? 10 : Math.min(due, 50))
        continue
      }
      if (!(await this.#untilAcknowledged(this.done))) break
      this.done++
      const old = this.done - 2
      if (old >= 0 && hash(this.number, old, -2) % OLD_AGAIN === 0) await this.#untilAcknowledged(old)
    }
    this.#resting = true
  }

  go(): void {
    this.#paused = false
  }

  pause(): void {
    this.#paused = true
  }

  stop(): void {
    this.#stopped = true
    this.#agent.destroy()
  }

  /** @returns false when it was stopped or refused before */
  async #untilAcknowledged(n: number): Promise<boolean> {
    const door = DOORS[this.#doorOf(n)]
    const body = door.body(this.#points(n))
    while (!this.#stopped) {
      const { status, text } = await this.#post(door.path, door.headers, body)
      if (status >= 200 && status < 300) return true
      if (status !== 0 && status !== 503) {
        this.refusal = `lane ${this.number}, request ${n}: ${status} ${text.slice(0, 500)}`
        return false
      }
      this.resent++
      await sleep(AGAIN_AFTER_MS)
    }
    return false
  }

  #doorOf(n: number): Door {
    return MIX[hash(this.number, n, -1) % MIX.length]!
  }

  #points(n: number): Point[] {
    const { series: count } = this.options
    const time = this.timeOf(n)
    return Array.from({ length: this.hasHistogram(n) ? count + 1 : count }, (_, series) => {
      const value = this.valueOf(series, n)
      const labels = { lane: String(this.number), series: String(series) }
      const point = { name: METRIC, labels, time, value }
      return series < count ? point : { ...point, histogram: histogramOf(time, value) }
    })
  }

  /** Status 0: the connection was lost, and nobody knows whether the body arrived. */
  #post(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve) => {
      const lost = (): void => resolve({ status: 0, text: '' })
      const outgoing = request(this.options.url + path, {
        method: 'POST',
        agent: this.#agent,
        localAddress: this.#address,
        headers: { ...headers, 'Content-Length': body.length },
      })
      const timer = setTimeout(() => outgoing.destroy(new Error('no answer')), ANSWER_MS)
      outgoing.on('response', (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        answer.on('end', () => resolve({ status: answer.complete ? (answer.statusCode ?? 0) : 0, text }))
        answer.on('error', lost)
      })
      outgoing.on('error', lost)
      outgoing.on('close', () => {
        clearTimeout(timer)
        lost()
      })
      outgoing.end(body)
    })
  }
}

export class Load {
  readonly lanes: readonly Lane[]
  readonly #options: LoadOptions
  #running: Promise<unknown> = Promise.resolve()

  constructor(options: LoadOptions) {
    this.#options = options
    this.lanes = Array.from({ length: options.senders * options.lanes }, (_, n) => new Lane(n, options))
  }

  /** Samples. */
  get acknowledged(): number {
    return this.lanes.reduce((sum, lane) => sum + lane.done * this.#options.series, 0)
  }

  get acknowledgedHistograms(): number {
    const of = (lane: Lane): number => {
      let count = 0
      for (let n = 0; n < lane.done; n++) if (lane.hasHistogram(n)) count++
      return count
    }
    return this.lanes.reduce((sum, lane) => sum + of(lane), 0)
  }

  get resent(): number {
    return this.lanes.reduce((sum, lane) => sum + lane.resent, 0)
  }

  get refusal(): string | undefined {
    return this.lanes.find((lane) => lane.refusal !== undefined)?.refusal
  }

  start(): void {
    for (const lane of this.lanes) lane.go()
    this.#running = Promise.all(this.lanes.map((lane) => lane.run()))
  }

  /** Resolves when everything that was sent is acknowledged, and nothing is sent. */
  async pause(deadlineMs: number): Promise<void> {
    for (const lane of this.lanes) lane.pause()
    await eventually('every request is acknowledged', () => this.lanes.every((lane) => lane.resting), deadlineMs)
  }

  go(): void {
    for (const lane of this.lanes) lane.go()
  }

  async stop(): Promise<void> {
    for (const lane of this.lanes) lane.stop()
    await this.#running
  }
}
