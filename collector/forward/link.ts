/**
 * The way to the aggregators over HTTP: one batch, one answer, and what to do when there is none.
 *
 *     up ──── an attempt fails ────▶ down: one batch probes after a pause (full jitter, doubling), all others wait
 *      ◀──── any attempt succeeds ─── the next address is tried when one does not answer
 *
 * Where nobody answered, the probe asks for /healthz first: a batch is answered when it is stored, which takes seconds, and
 * what waits behind it should be visible sooner.
 *
 * There is no giving up: what cannot be sent stays in the journal.
 */
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { urlToHttpOptions } from 'node:url'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'

/** What an aggregator says of a batch. */
export type LinkAnswer =
  /** All of it, but the samples that the aggregator found too old to be kept. */
  | { readonly kind: 'stored'; readonly expired: number }
  /** It does not know these series: describe them and send the batch again. */
  | { readonly kind: 'need'; readonly refs: readonly number[] }
  /** It cannot read the batch, though that arrived as it was sent: it keeps a copy, and we go on. */
  | { readonly kind: 'unreadable'; readonly reason: string }

export interface LinkOptions {
  readonly urls: readonly string[]
  /** Where batches go, and as what. */
  readonly path: string
  readonly contentType: string
  /** The one to send with now. */
  readonly token: () => string
  readonly timeoutMs: number
  readonly backoffMaxMs: number
  readonly log: Logger
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

const BACKOFF_MIN_MS = 100
const ANSWER_BYTES_MAX = 64 * 1024 * 1024

/** A way to the aggregators. */
export interface BatchLink {
  /** Why batches do not get through; undefined while they do. */
  readonly problem: string | undefined
  readonly counts: { readonly attempts: number; readonly failures: number }
  /** For a person: where it leads. */
  readonly url: string
  /** Sends until there is an answer. Rejects only when the signal aborts. */
  send(batch: Uint8Array, signal: AbortSignal): Promise<LinkAnswer>
  /** What was sent should be stored at once, where that can be asked for. */
  flush(signal: AbortSignal): Promise<void>
  close(): void
}

export class Link implements BatchLink {
  readonly #options: LinkOptions
  readonly #agent = new Agent({ keepAlive: true })
  readonly #secureAgent = new SecureAgent({ keepAlive: true })
  /** As a request takes them: reading a URL costs as much as the rest of making one. */
  readonly #addresses
  #target = 0
  #failures = 0
  #problem: string | undefined
  /** The last attempt brought no answer at all. */
  #silent = false
  /** While down: the batch that probes, and those that wait for the outcome. */
  #probing = false
  #waiting: (() => void)[] = []
  #attempts = 0
  #failed = 0

  constructor(options: LinkOptions) {
    this.#options = options
    this.#addresses = options.urls.map((url) => urlToHttpOptions(new URL(url)))
  }

  /** Why batches do not get through; undefined while they do. */
  get problem(): string | undefined {
    return this.#problem
  }

  get counts(): { readonly attempts: number; readonly failures: number } {
    return { attempts: this.#attempts, failures: this.#failed }
  }

  /** Sends until there is an answer. Rejects only when the signal aborts. */
  async send(batch: Uint8Array, signal: AbortSignal): Promise<LinkAnswer> {
    for (;;) {
      const probes = await this.#turn(signal)
      try {
        if (probes && this.#silent) {
          await this.#ping(signal)
          this.#isUp()
        }
        const answer = await this.#post(this.#options.path, batch, signal)
        this.#isUp()
        return answer
      } catch (error) {
        if (signal.aborted && probes) this.#release()
        signal.throwIfAborted()
        // Of several that were under way when the link went down, the first decides on the pause.
        if (this.#problem !== undefined && !probes) continue
        await sleep(this.#failedWith(error), undefined, { signal }).finally(() => this.#release())
      }
    }
  }

  /** Asks the aggregator to store what it holds at once: we are stopping and wait for it. */
  async flush(signal: AbortSignal): Promise<void> {
    await this.#post('/intake/v1/flush', new Uint8Array(0), signal).catch(() => {}) // it only saves waiting
  }

  close(): void {
    this.#agent.destroy()
    this.#secureAgent.destroy()
  }

  /** While the link is down, one goes and the others wait. @returns whether this one is the probe */
  async #turn(signal: AbortSignal): Promise<boolean> {
    while (this.#problem !== undefined && this.#probing) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const go = (): void => {
          signal.removeEventListener('abort', go)
          resolve()
        }
        this.#waiting.push(go)
        signal.addEventListener('abort', go)
      })
      signal.throwIfAborted()
    }
    if (this.#problem === undefined) return false
    this.#probing = true
    return true
  }

  #isUp(): void {
    this.#failures = 0
    this.#problem = undefined
    this.#silent = false
    this.#release()
  }

  #failedWith(error: unknown): number {
    this.#failed++
    this.#failures++
    const reason = messageOf(error)
    if (this.#problem === undefined)
      this.#options.log.warn({ url: this.url, error: reason }, 'aggregator does not take batches')
    this.#problem = reason
    this.#probing = true
    if (error instanceof Refused && error.retryAfterMs !== undefined) return error.retryAfterMs
    // A server that answers stays; one that does not makes room for the next.
    this.#silent = !(error instanceof Refused)
    if (this.#silent) this.#target = (this.#target + 1) % this.#options.urls.length
    return (
      this.#options.random() * Math.min(this.#options.backoffMaxMs, BACKOFF_MIN_MS * 2 ** Math.min(this.#failures, 20))
    )
  }

  #release(): void {
    this.#probing = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const go of waiting) go()
  }

  /** The aggregator that answered last, or is tried next. */
  get url(): string {
    return this.#options.urls[this.#target]!
  }

  async #ping(signal: AbortSignal): Promise<void> {
    const response = await this.#request('GET', '/healthz', undefined, signal)
    await readText(response)
    if (response.statusCode !== 200) throw new Error(`${this.url}/healthz answers ${response.statusCode}`)
  }

  async #post(path: string, body: Uint8Array, signal: AbortSignal): Promise<LinkAnswer> {
    this.#attempts++
    const response = await this.#request('POST', path, body, signal)
    const text = await readText(response)
    const status = response.statusCode ?? 0
    if (status === 200) return { kind: 'stored', expired: expired(text) }
    if (status === 409) return { kind: 'need', refs: needed(text) }
    if (status === 422) return { kind: 'unreadable', reason: text.slice(0, 500) }
    throw new Refused(status, text, response.headers['retry-after'])
  }

  #request(
    method: 'GET' | 'POST',
    path: string,
    body: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const address = this.#addresses[this.#target]!
      const secure = address.protocol === 'https:'
      const outgoing = (secure ? secureRequest : request)({
        ...address,
        method,
        path,
        agent: secure ? this.#secureAgent : this.#agent,
        signal,
        timeout: this.#options.timeoutMs,
        headers: {
          ...(body === undefined ? {} : { 'Content-Type': this.#options.contentType, 'Content-Length': body.length }),
          Authorization: `Bearer ${this.#options.token()}`,
          'User-Agent': 'fleetmeter-collector',
        },
      })
      outgoing.on('response', resolve)
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${this.#options.timeoutMs} ms`)))
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }
}

/** An answer that means "not now". */
class Refused extends Error {
  readonly retryAfterMs: number | undefined

  constructor(status: number, text: string, retryAfter: string | undefined) {
    super(`the aggregator answered ${status}: ${text.slice(0, 200)}${HINTS[status] ?? ''}`)
    const seconds = retryAfter === undefined ? Number.NaN : Number(retryAfter)
    this.retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined
  }
}

const HINTS: Readonly<Record<number, string>> = {
  401: ' (collector and aggregator need the same FLEETMETER_TOKEN, or this one a key of its own as FLEETMETER_COLLECTOR_FORWARD_TOKEN)',
  403: ' (FLEETMETER_COLLECTOR_FORWARD_TOKEN must be of a key that may forward)',
  404: ' (is FLEETMETER_AGGREGATOR_URL an aggregator?)',
  426: ' (the aggregator is older than this collector: upgrade it first)',
}

function readText(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > ANSWER_BYTES_MAX) response.destroy(new Error('the answer is too long'))
      else chunks.push(chunk)
    })
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    response.on('error', reject)
    response.on('close', () => reject(new Error('the connection closed inside the answer')))
  })
}

/** The number in `{"stored":true,"expired":…}`. */
function expired(text: string): number {
  const count = (JSON.parse(text) as { expired?: unknown }).expired
  return typeof count === 'number' ? count : 0
}

/** The references in `{"need":[…]}`. */
function needed(text: string): number[] {
  const parsed = JSON.parse(text) as { need?: unknown }
  if (
    !Array.isArray(parsed.need) ||
    parsed.need.length === 0 ||
    !parsed.need.every((ref) => Number.isSafeInteger(ref))
  ) {
    throw new Error(`the aggregator needs something that is no series reference: ${text.slice(0, 200)}`)
  }
  return parsed.need as number[]
}
