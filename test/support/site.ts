/** Aggregators over one PostgreSQL and one ClickHouse, for tests. */

import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { TestEngine } from './engine.ts'
import { startEngine } from './engine.ts'
import type { TestPostgres } from './postgres.ts'
import { startPostgres } from './postgres.ts'
import type { Running } from './programs.ts'
import { authorized, eventually, freePort, kill, scrape, start, temporaryDirectory } from './programs.ts'

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly replayed: boolean
}

/** What several aggregators share. */
export interface Stores {
  readonly server: TestPostgres
  readonly engine: TestEngine
}

/** Until the test ends. @returns undefined where there is no PostgreSQL: the test is skipped */
export async function startStores(t: TestContext): Promise<Stores | undefined> {
  const server = await startPostgres(t)
  if (server === undefined) return undefined
  const engine = await startEngine(join(temporaryDirectory(), 'engine'))
  t.after(() => engine.stop())
  return { server, engine }
}

/** Two of them: the owner, and the standby. @param env over the defaults */
export async function startPair(
  t: TestContext,
  stores: Stores,
  env: Readonly<Record<string, string>> = {},
): Promise<readonly [owner: Site, standby: Site]> {
  const owner = await Site.start(t, stores, env)
  await eventually('the first is the owner', () => owner.isOwner())
  return [owner, await Site.start(t, stores, env)]
}

/** An aggregator of several, at one address with one directory, over its restarts. */
export class Site {
  readonly #data = temporaryDirectory()
  readonly #env: Readonly<Record<string, string>>
  readonly url: string
  running!: Running

  private constructor(port: number, env: Readonly<Record<string, string>>) {
    this.url = `http://127.0.0.1:${port}`
    this.#env = { ...env, FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}` }
  }

  /** @param env over the defaults */
  static async start(
    t: TestContext,
    { server, engine: { endpoint } }: Stores,
    env: Readonly<Record<string, string>> = {},
  ): Promise<Site> {
    const site = new Site(await freePort(), {
      DATABASE_URL: server.url,
      CLICKHOUSE_URL: endpoint.url,
      CLICKHOUSE_PASSWORD: endpoint.password,
      FLEETMETER_AGGREGATOR_OWNER_LOG: 'postgres',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '100000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '100000',
      ...env,
    })
    t.after(() => kill(site.running))
    await site.again()
    return site
  }

  async again(): Promise<void> {
    this.running = await start('aggregator', { ...this.#env, FLEETMETER_DATA_DIR: this.#data })
  }

  async ask(path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    })
    const replayed = response.headers.get('idempotency-replayed') === 'true'
    return { status: response.status, body: (await response.json()) as Record<string, unknown>, replayed }
  }

  async isOwner(): Promise<boolean> {
    return (await scrape(this.url)).get('fleetmeter_aggregator_owner_is') === 1
  }

  /** What is held; -1 where nobody can say. */
  async held(): Promise<number> {
    const { status, body } = await this.ask('/v1/subjects/user/ada/quotas')
    const [figure] = (body['data'] ?? []) as { held: string }[]
    return status === 200 && figure !== undefined ? Number(figure.held) : -1
  }
}
