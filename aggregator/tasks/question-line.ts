/**
 * Questions that each take much memory and the main thread's time: few of them at once, of a tenant one, and the others in the order in
 * which they came. Who asks often waits for its own.
 */
import { QueryUnavailable } from '../query/metric-query.ts'

/** Each may hold some hundred megabytes. */
const AT_ONCE = 2
/** Of one tenant. */
const WAITING_MAX = 20

interface Waiting {
  readonly tenant: string
  readonly begin: () => void
}

export class QuestionLine {
  readonly #running = new Set<string>()
  readonly #waiting: Waiting[] = []

  /** @throws QueryUnavailable where too many of the tenant wait already */
  async run<T>(tenant: string, ask: () => Promise<T>): Promise<T> {
    if (this.#hasRoom(tenant)) this.#running.add(tenant)
    else await this.#turnOf(tenant)
    try {
      return await ask()
    } finally {
      this.#running.delete(tenant)
      this.#next()
    }
  }

  #hasRoom(tenant: string): boolean {
    return this.#running.size < AT_ONCE && !this.#running.has(tenant)
  }

  #turnOf(tenant: string): Promise<void> {
    if (this.#waiting.filter((one) => one.tenant === tenant).length >= WAITING_MAX)
      throw new QueryUnavailable(`${WAITING_MAX} questions about nodes wait already`)
    return new Promise((resolve) => {
      this.#waiting.push({ tenant, begin: resolve })
    })
  }

  #next(): void {
    const next = this.#waiting.findIndex(({ tenant }) => this.#hasRoom(tenant))
    if (next < 0) return
    const [{ tenant, begin }] = this.#waiting.splice(next, 1) as [Waiting]
    this.#running.add(tenant)
    begin()
  }
}
