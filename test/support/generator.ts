/**
 * A sender that keeps its own record: numbered samples through both doors, the identical body again after every lost
 * connection and every "later", and a note of what was acknowledged.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { authorized } from './programs.ts'
import type { Random } from './random.ts'
import type { Point } from './write-request.ts'
import { histogramOf, metricsBatchBody, remoteWrite2Body, remoteWriteBody } from './write-request.ts'

const BODIES = { batch: metricsBatchBody, 'remote write 1.0': remoteWriteBody, 'remote write 2.0': remoteWrite2Body }
type Kind = keyof typeof BODIES
const KINDS = Object.keys(BODIES) as Kind[]
const snappy = { 'Content-Encoding': 'snappy' }
const HEADERS: Readonly<Record<Kind, Readonly<Record<string, string>>>> = {
  batch: { ...authorized, 'Content-Type': 'application/json' },
  'remote write 1.0': { ...snappy, 'Content-Type': 'application/x-protobuf' },
  'remote write 2.0': { ...snappy, 'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' },
}

export class Generator {
  /** Acknowledged samples: series → time → value. */
  readonly acknowledged: Map<string, Map<number, number>> = new Map()
  acknowledgedSamples = 0
  /** Acknowledged native histograms, one in each remote write body: `sender@time` → sum. */
  readonly acknowledgedHistograms: Map<string, number> = new Map()
  /** Requests that had to be sent again. */
  resent = 0
  readonly #url: string
  readonly #random: Random
  readonly #series: number
  readonly #start: number
  #round = 0
  #stopped = false
  #abandon = false
  #running: Promise<void>[] = []

  /** @param start time of the first samples, ms */
  constructor(url: string, random: Random, series: number, start: number) {
    this.#url = url
    this.#random = random
    this.#series = series
    this.#start = start
  }

  /** Sends from so many connections until stopped; each series belongs to one of them. */
  run(senders: number, pauseMs: number): void {
    this.#running = Array.from({ length: senders }, (_, sender) => this.#send(sender, senders, pauseMs))
  }

  /** @param abandon gives up on requests that are not answered: the receiver is stopping */
  async stop(abandon = false): Promise<void> {
    this.#stopped = true
    this.#abandon = abandon
    await Promise.all(this.#running)
  }

  async #send(sender: number, senders: number, pauseMs: number): Promise<void> {
    let before: { body: Uint8Array<ArrayBuffer>; kind: Kind } | undefined
    while (!this.#stopped) {
      const round = this.#round++
      const points: Point[] = []
      for (let s = sender; s < this.#series; s += senders) {
        const time = this.#start + round * 100 + (s % 7)
        points.push({
          name: 'generated',
          labels: { sender: String(sender), series: String(s) },
          time,
          value: round + s / 100,
        })
      }
      const kind = this.#random.pick(KINDS)
      const time = this.#start + round * 100
      const distribution = { name: 'distribution', labels: { sender: String(sender) }, time, value: 0 }
      const histogram = histogramOf(time, round)
      const body = BODIES[kind](kind === 'batch' ? points : [...points, { ...distribution, histogram }])
      if (!(await this.#until2xx(body, kind))) return
      for (const point of points) this.#note(point)
      if (kind !== 'batch') this.acknowledgedHistograms.set(`${sender}@${time}`, round)
      // Now and then an old body comes again, as from a sender that missed the answer.
      if (before !== undefined && this.#random.chance(0.1)) await this.#until2xx(before.body, before.kind)
      before = { body, kind }
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }

  #note({ labels, time, value }: Point): void {
    const series = labels['series']!
    let times = this.acknowledged.get(series)
    if (times === undefined) {
      times = new Map()
      this.acknowledged.set(series, times)
    }
    times.set(time, value)
    this.acknowledgedSamples++
  }

  async #until2xx(body: Uint8Array<ArrayBuffer>, kind: Kind): Promise<boolean> {
    for (;;) {
      if (this.#abandon) return false
      try {
        const response = await fetch(`${this.#url}${kind === 'batch' ? '/v1/metrics/batch' : '/api/v1/write'}`, {
          method: 'POST',
          body,
          headers: HEADERS[kind],
          signal: AbortSignal.timeout(10_000),
        })
        const text = await response.text()
        if (response.ok) return true
        if (response.status !== 503) throw new Error(`${response.status}: ${text}`)
      } catch (error) {
        if (!isLost(error)) throw error
      }
      this.resent++
      await sleep(20)
    }
  }
}

/** The connection was refused, reset or timed out: nobody knows whether the body arrived. */
function isLost(error: unknown): boolean {
  return (
    error instanceof TypeError ||
    (error instanceof DOMException && (error.name === 'TimeoutError' || error.name === 'AbortError'))
  )
}
