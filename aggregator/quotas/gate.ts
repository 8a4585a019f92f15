/** Whom questions about quotas come from, and how many of them at once. */
import type { Access } from '../../proto/runtime/access.ts'
import { permit } from '../../proto/runtime/access.ts'
import type { Right } from '../../proto/runtime/keys.ts'
import { Refusal } from '../directory/refusal.ts'
import { QuotasUnavailable } from './quota-service.ts'

export const CHECK = '/v1/quota/check'
/** Of every body. */
export const BODY_BYTES_MAX: number = 64 * 1024

/**
 * @param authorization of the header
 * @param chosen the tenant that the header names
 * @throws Refusal 401, 403, 400
 */
export function permitted(
  access: Access,
  right: Exclude<Right, 'forward'>,
  authorization: string | undefined,
  chosen: string | undefined,
): { readonly tenant: string; readonly credential: string } {
  const caller = access.caller(authorization)
  if (caller.kind !== 'known') throw new Refusal(401, 'UNAUTHORIZED', 'Unauthorized')
  const granted = permit(caller.credential, right, chosen)
  if ('status' in granted)
    throw new Refusal(granted.status, granted.status === 403 ? 'FORBIDDEN' : 'BAD_REQUEST', granted.reason)
  return { tenant: granted.tenant, credential: caller.credential.id }
}

/** Each holds its body and what waits for it. */
const REQUESTS_MAX = 10_000

/** Decisions under way, over all doors: no more of them at once than there is room for. */
export class UnderWay {
  readonly #observe: (seconds: number) => void
  #requests = 0

  /** @param observe told how long each took, s */
  constructor(observe: (seconds: number) => void) {
    this.#observe = observe
  }

  /** @throws QuotasUnavailable where there is no room */
  async run(decide: () => Promise<void>): Promise<void> {
    const started = this.begin()
    try {
      await decide()
    } finally {
      this.end(started)
    }
  }

  /** One more; it has to be ended. @returns its start, for that @throws QuotasUnavailable where there is no room */
  begin(): number {
    if (this.#requests >= REQUESTS_MAX) throw new QuotasUnavailable(`${REQUESTS_MAX} requests are under way already`)
    this.#requests++
    return performance.now()
  }

  end(started: number): void {
    this.#requests--
    this.#observe((performance.now() - started) / 1000)
  }
}
