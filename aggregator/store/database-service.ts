/** The connection to ClickHouse, and tables that are of this version before anybody uses them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { ClickHouse } from './clickhouse.ts'
import { migrate } from './schema/migrate.ts'
import type { Retention } from './schema/migrations.ts'

const START_WAIT_MS = 60_000
const RETRY_MS = 1000

export class DatabaseService implements Service {
  readonly name = 'database'
  readonly #db: ClickHouse
  readonly #database: string
  readonly #retention: Retention
  readonly #log: Logger
  #ready = false

  constructor(db: ClickHouse, database: string, retention: Retention, log: Logger) {
    this.#db = db
    this.#database = database
    this.#retention = retention
    this.#log = log
  }

  /** Waits a minute for a server that is not there yet. @throws FleetmeterError */
  async start(): Promise<void> {
    for (const since = performance.now(); ; ) {
      try {
        await migrate(this.#db, this.#database, this.#retention)
        this.#ready = true
        return
      } catch (error) {
        // A server that answers with an error will not do otherwise in a minute.
        const hopeless =
          !(error instanceof FleetmeterError && error.retryable) || error.fields['refusedWith'] !== undefined
        if (hopeless || performance.now() - since > START_WAIT_MS) throw error
        this.#log.warn({ error: messageOf(error) }, 'ClickHouse is not ready yet')
        await sleep(RETRY_MS)
      }
    }
  }

  async stop(): Promise<void> {
    await this.#db.close()
  }

  health(): Health {
    return this.#ready ? { ready: true } : { ready: false, detail: 'ClickHouse is not ready' }
  }
}
