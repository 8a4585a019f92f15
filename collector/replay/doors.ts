/** The collector's ordinary doors, as any sender uses them. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FleetEvent } from '../../proto/events/event.ts'
import { parseRfc3339 } from '../../proto/wire/rfc3339.ts'
import type { Sample } from '../host/figure.ts'
import { bodyOf } from '../host/sample-body.ts'

export interface EventOutcome {
  readonly status: 'accepted' | 'duplicate' | 'refused'
  /** Why it was refused. */
  readonly why: string
}

/** An answer that ends the replay. */
export class DoorError extends Error {}

const TRIES = 8
const WAIT_MAX_MS = 30_000
const TIMEOUT_MS = 30_000

export class Doors {
  readonly #url: string
  readonly #headers: Readonly<Record<string, string>>

  /** @param token '': none is sent */
  constructor(url: string, token: string) {
    this.#url = url.replace(/\/+$/, '')
    this.#headers = token === '' ? {} : { Authorization: `Bearer ${token}` }
  }

  async samples(samples: readonly Sample[]): Promise<void> {
    const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }
    const response = await this.#send('/api/v1/write', { method: 'POST', headers, body: bodyOf(samples) })
    if (!response.ok) throw await this.#refusal('/api/v1/write', response)
    await response.arrayBuffer()
  }

  async event(event: FleetEvent): Promise<EventOutcome> {
    const headers = { 'Content-Type': 'application/json' }
    const response = await this.#send('/v1/events', { method: 'POST', headers, body: JSON.stringify(event) })
    if (!response.ok && response.status !== 422) throw await this.#refusal('/v1/events', response)
    const text = await response.text()
    const { events } = JSON.parse(text) as { events?: readonly { readonly status: EventOutcome['status'] }[] }
    const status = events?.[0]?.status ?? 'refused'
    return { status, why: status === 'refused' ? text.slice(0, 500) : '' }
  }

  /** When an event that is known says it happened, ms; undefined: it is not known. */
  async timeOf(eventId: string): Promise<number | undefined> {
    const path = `/v1/events/${eventId}`
    const response = await this.#send(path, {})
    if (response.status === 404) {
      await response.arrayBuffer()
      return undefined
    }
    if (!response.ok) throw await this.#refusal(path, response)
    const { event } = (await response.json()) as { event: { timestamp: string } }
    return parseRfc3339(event.timestamp)
  }

  /** "Later" is tried again, as the answer says when. */
  async #send(path: string, init: RequestInit): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      let response: Response
      try {
        const headers = { ...this.#headers, ...(init.headers as Record<string, string> | undefined) }
        response = await fetch(this.#url + path, { ...init, headers, signal: AbortSignal.timeout(TIMEOUT_MS) })
      } catch (error) {
        const { cause, message } = error as Error
        throw new DoorError(`${this.#url}${path} does not answer: ${(cause as Error | undefined)?.message ?? message}`)
      }
      if ((response.status !== 429 && response.status !== 503) || attempt === TRIES) return response
      await response.arrayBuffer()
      const seconds = Number(response.headers.get('retry-after') ?? 1)
      await sleep(Math.min(WAIT_MAX_MS, Math.max(1, Number.isFinite(seconds) ? seconds : 1) * 1000))
    }
  }

  async #refusal(path: string, response: Response): Promise<DoorError> {
    const text = (await response.text()).slice(0, 500)
    const hint =
      response.status === 401 ? ' (--token, FLEETMETER_TOKEN, or the file "token" in the data directory)' : ''
    return new DoorError(`${this.#url}${path} answers ${response.status}${hint}: ${text}`)
  }
}
