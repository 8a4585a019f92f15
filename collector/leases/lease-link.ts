/** A round about leases, to the first aggregator that answers: once, and soon, since what an answer tells holds no longer than a term. */
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import type { LeaseAnswer, LeaseRound } from '../../proto/quotas/lease-round.ts'
import { LEASES_PATH } from '../../proto/quotas/lease-round.ts'

export interface LeaseLinkOptions {
  readonly urls: readonly string[]
  readonly token: () => string
  readonly timeoutMs: number
}

const ANSWER_BYTES_MAX = 64 * 1024 * 1024

export class LeaseLink {
  readonly #options: LeaseLinkOptions
  readonly #agent = new Agent({ keepAlive: true })
  readonly #secureAgent = new SecureAgent({ keepAlive: true })
  #target = 0

  constructor(options: LeaseLinkOptions) {
    this.#options = options
  }

  /** @throws where there is no answer, or one that is none; the next aggregator is asked then */
  async ask(round: LeaseRound): Promise<LeaseAnswer> {
    try {
      const response = await this.#post(Buffer.from(JSON.stringify(round)))
      const text = await readText(response)
      if (response.statusCode !== 200)
        throw new Error(`the aggregator answered ${response.statusCode}: ${text.slice(0, 200)}`)
      return JSON.parse(text) as LeaseAnswer
    } catch (error) {
      this.#target = (this.#target + 1) % this.#options.urls.length
      throw error
    }
  }

  close(): void {
    this.#agent.destroy()
    this.#secureAgent.destroy()
  }

  #post(body: Buffer): Promise<IncomingMessage> {
    const { urls, token, timeoutMs } = this.#options
    return new Promise((resolve, reject) => {
      const url = new URL(LEASES_PATH, urls[this.#target]!)
      const secure = url.protocol === 'https:'
      const outgoing = (secure ? secureRequest : request)(url, {
        method: 'POST',
        agent: secure ? this.#secureAgent : this.#agent,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          'Content-Type': 'application/json',
          'Content-Length': body.length,
          Authorization: `Bearer ${token()}`,
          'User-Agent': 'fleetmeter-collector',
        },
      })
      outgoing.on('response', resolve)
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > ANSWER_BYTES_MAX) throw new Error('the answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
