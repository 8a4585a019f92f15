/** Who asks for reservations where collectors hold slices, and keeps asking with the same id until there is an answer. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { authorized, eventually } from './programs.ts'

export interface Answer {
  /** 0: there was none. */
  readonly status: number
  readonly body: Record<string, unknown>
}

/** Of a quota. */
export interface Figure {
  readonly used: string
  readonly held: string
  readonly leased: string
  readonly in_doubt: string
  readonly left: string
}

/** Of `GET /v1/quota/leases`. */
export interface Lease {
  readonly lease: number
  readonly collector: string
  readonly user_id: string
  readonly state: string
  readonly left: Readonly<Record<string, string>>
}

/** @param url of a program @param body where it is a POST */
export async function ask(url: string, path: string, body?: unknown, timeoutMs = 10_000): Promise<Answer> {
  try {
    const response = await fetch(`${url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  } catch {
    return { status: 0, body: {} }
  }
}

/** One token of a user, for an hour. */
export function reserve(url: string, user: string, id: string, timeoutMs?: number): Promise<Answer> {
  const body = { id, user_id: user, amounts: { tokens: 1 }, expires_in_seconds: 3600 }
  return ask(url, '/v1/quota/reservations', body, timeoutMs)
}

/** Who was told what: by id. */
export class Clients {
  readonly granted: Set<string> = new Set()
  /** Granted by a collector itself. */
  readonly local: Map<string, string> = new Map()
  /** How often it was refused, by where. */
  readonly refused: Map<string, number> = new Map()
  /** Refused after an attempt that had no answer: that one may wait at a stopped program, and be granted when what was lent is back. */
  readonly #doubtful = new Set<string>()
  readonly user: string
  /** Nobody waits for answers any more. */
  isOver = false
  #serial = 0
  readonly #urlOf: (at: string) => string

  /** @param urlOf of a program, by its name */
  constructor(urlOf: (at: string) => string, user: string) {
    this.#urlOf = urlOf
    this.user = user
  }

  /** Asks with the same id until there is an answer. @returns whether it was granted */
  async one(at: string): Promise<boolean> {
    const id = `${this.user}-${at}-${this.#serial++}`
    let isDoubtful = false
    while (!this.isOver) {
      const { status, body } = await reserve(this.#urlOf(at), this.user, id, 5000)
      if (status === 201 || status === 200) {
        this.granted.add(id)
        if (String(body['decided_by']).startsWith('collector')) this.local.set(id, at)
        return true
      }
      if (status === 429) {
        this.refused.set(at, (this.refused.get(at) ?? 0) + 1)
        if (isDoubtful) this.#doubtful.add(id)
        return false
      }
      assert.ok(status === 0 || status === 503, `${status} ${JSON.stringify(body)}`)
      isDoubtful ||= status === 0
      await sleep(50)
    }
    return false
  }

  /** Waits until so many are granted, with those that were refused at last and granted by an attempt before it. */
  async allGranted(count: number, at: string): Promise<void> {
    await eventually('all that fits is granted', async () => {
      for (const id of this.#doubtful) {
        const { status } = await ask(this.#urlOf(at), `/v1/quota/reservations/${id}`)
        if (status === 200) this.granted.add(id)
      }
      return this.granted.size >= count
    })
  }

  /** Until so many were granted by the collector itself. */
  async warm(at: string, count: number): Promise<void> {
    const before = [...this.local.values()].filter((by) => by === at).length
    await eventually(`${at} decides by itself`, async () => {
      await this.one(at)
      return [...this.local.values()].filter((by) => by === at).length >= before + count
    })
  }

  /** Until nothing fits any more, for a while: what is lent comes back. */
  async fill(at: string, until: () => boolean): Promise<void> {
    for (let refused = 0; refused < 5 || !until(); ) {
      if (await this.one(at)) refused = 0
      else {
        refused++
        await sleep(200)
      }
      await sleep(10)
    }
  }
}
