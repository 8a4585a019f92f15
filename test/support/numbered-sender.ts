/**
 * Sends numbered samples over one connection that it keeps, and notes which were acknowledged. What is refused is not sent again:
 * so what is stored must be what was acknowledged, no more and no less.
 */
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import type { Answer } from './post.ts'
import { readSeries } from './remote-read.ts'
import { remoteWriteBody } from './write-request.ts'

const SERIES = 100
const STEP_MS = 100

export class NumberedSender {
  readonly #url: string
  readonly #name: string
  readonly #from: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  /** Rounds whose samples were acknowledged: all series have one in each. */
  readonly acknowledged: number[] = []
  #round = 0

  /** @param name of the metric */
  constructor(url: string, name: string) {
    this.#url = url
    this.#name = name
    this.#from = Date.now() - 600_000
  }

  /** One request with a sample of each series. */
  async send(): Promise<Answer> {
    const round = this.#round++
    const points = Array.from({ length: SERIES }, (_, s) => ({
      name: this.#name,
      labels: { s: String(s) },
      time: this.#from + round * STEP_MS,
      value: round + s / 7,
    }))
    const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }
    const answer = await this.ask('/api/v1/write', 'POST', headers, remoteWriteBody(points))
    if (answer.status === 204) this.acknowledged.push(round)
    return answer
  }

  /** Sends until it is not acknowledged. @param between is called before each request */
  async untilRefused(between: () => void = () => {}): Promise<Answer> {
    for (let n = 0; n < 5000; n++) {
      between()
      const answer = await this.send()
      if (answer.status !== 204) return answer
    }
    throw new Error('nothing was refused')
  }

  /** Any request, over the same connection. @returns status 0 when the connection was lost */
  ask(path: string, method = 'GET', headers: Record<string, string> = {}, body?: Uint8Array): Promise<Answer> {
    return new Promise((resolve) => {
      const lost = (): void => resolve({ status: 0, headers: {}, text: '' })
      const outgoing = request(`${this.#url}${path}`, { method, headers, agent: this.#agent })
      outgoing.on('response', (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        response.on('error', lost)
      })
      outgoing.on('error', lost)
      outgoing.end(body)
    })
  }

  /** What can be read back must be what was acknowledged, to the sample. */
  async compare(): Promise<void> {
    const to = this.#from + this.#round * STEP_MS
    const series = await readSeries(this.#url, [{ type: 0, name: '__name__', value: this.#name }], this.#from, to)
    assert.equal(series.length, SERIES)
    for (const { labels, samples } of series)
      assert.deepEqual(
        samples.map(({ timestamp, value }) => [timestamp, value]),
        this.acknowledged.map((round) => [this.#from + round * STEP_MS, round + Number(labels['s']) / 7]),
      )
  }

  close(): void {
    this.#agent.destroy()
  }
}
