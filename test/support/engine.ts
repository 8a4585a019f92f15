/** The real embedded engine for tests, on any directory, with the ordinary wrapper. */
import { EngineProcess } from '../../aggregator/engine/engine-process.ts'
import { ClickHouse } from '../../aggregator/store/clickhouse.ts'
import { silentLogger } from '../../proto/runtime/log.ts'

export interface TestEngine {
  readonly db: ClickHouse
  readonly process: EngineProcess
  stop(): Promise<void>
}

/** @param directory an aggregator's directory of the engine, or a new one */
export async function startEngine(directory: string): Promise<TestEngine> {
  const db = new ClickHouse()
  const engine = new EngineProcess(
    { directory, spool: `${directory}-spool`, memoryBytesMax: 1 << 30, env: process.env, log: silentLogger },
    ({ url, password }) => db.connect({ url, username: 'default', password }),
  )
  await engine.start()
  return {
    db,
    process: engine,
    stop: async () => {
      await db.close()
      await engine.stop(AbortSignal.timeout(5000))
    },
  }
}
