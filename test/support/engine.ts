/** The real embedded engine for tests, on any directory, with the ordinary wrapper. */
import { join } from 'node:path'
import { after, before } from 'node:test'
import type { EngineEndpoint } from '../../aggregator/engine/engine-process.ts'
import { EngineProcess } from '../../aggregator/engine/engine-process.ts'
import { ClickHouse } from '../../aggregator/store/clickhouse.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { temporaryDirectory } from './programs.ts'

export interface TestEngine {
  /** For programs that take it for a server. */
  readonly endpoint: EngineEndpoint
  readonly db: ClickHouse
  readonly process: EngineProcess
  stop(): Promise<void>
}

/** @param directory an aggregator's directory of the engine, or a new one */
export async function startEngine(directory: string): Promise<TestEngine> {
  const db = new ClickHouse()
  let endpoint: EngineEndpoint = { url: '', password: '' }
  const engine = new EngineProcess(
    { directory, spool: `${directory}-spool`, memoryBytesMax: 1 << 30, env: process.env, log: silentLogger },
    (now) => {
      endpoint = now
      db.connect({ url: now.url, username: 'default', password: now.password })
    },
  )
  await engine.start()
  return {
    endpoint,
    db,
    process: engine,
    stop: async () => {
      await db.close()
      await engine.stop(AbortSignal.timeout(5000))
    },
  }
}

/** An engine for all tests of a file, started before them and stopped after them. */
export interface FileEngine extends Pick<TestEngine, 'db' | 'process'> {
  readonly directory: string
}

/** Call it once, at the top of a test file. */
export function engineOfFile(): FileEngine {
  const directory = temporaryDirectory()
  let engine: TestEngine
  before(async () => {
    engine = await startEngine(join(directory, 'engine'))
  })
  after(() => engine.stop())
  return {
    directory,
    get db() {
      return engine.db
    },
    get process() {
      return engine.process
    },
  }
}
