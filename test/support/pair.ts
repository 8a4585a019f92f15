/** A collector and an aggregator as two processes, the way `npm start` runs them. */
import type { Env, Running } from './programs.ts'
import { freePort, kill, ready, start, temporaryDirectory } from './programs.ts'

export interface Pair {
  readonly data: string
  readonly collector: Running
  readonly aggregator: Running
}

/** Started with short waits; killed at the end of the test. @param env for both, over the defaults */
export async function startPair(t: { after(f: () => void | Promise<void>): void }, env: Env = {}): Promise<Pair> {
  const data = temporaryDirectory()
  const aggregatorPort = await freePort()
  const shared = { FLEETMETER_DATA_DIR: data, FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${aggregatorPort}`, ...env }
  const aggregator = await start('aggregator', {
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${aggregatorPort}`,
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '200',
    FLEETMETER_AGGREGATOR_INSERT_AFTER_MS: '200',
    ...shared,
  })
  t.after(() => kill(aggregator))
  const collector = await start('collector', {
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
    FLEETMETER_COLLECTOR_HOST: 'false',
    ...shared,
  })
  t.after(() => kill(collector))
  await ready(aggregator.url)
  return { data, collector, aggregator }
}
