/**
 * PGlite: PostgreSQL inside this process, in a thread of its own and a directory that nobody else may open meanwhile (it does not look
 * itself). One connection, so transactions wait for each other here. What is committed survives kill -9; it does not sync to disk, so
 * after a power cut it may have to be made anew from the log of definitions.
 *
 * It takes some 300 MB while it is open, so it is made when there is something to put into it, and closed when nobody has asked it for
 * half a minute: the directories are read from memory.
 *
 * A query that takes too long, or a thread that fails, ends the thread; the next query starts a new one, and PostgreSQL recovers as
 * after a crash.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Piscina } from 'piscina'
import type { DirectoryLock } from '../../proto/runtime/directory-lock.ts'
import { lockDirectory } from '../../proto/runtime/directory-lock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { workerPath } from '../../proto/runtime/worker-url.ts'
import type { OperationalDatabase, Queries, Row } from './database.ts'
import type { EmbeddedReply, EmbeddedTask } from './embedded.worker.ts'

const QUERY_MS = 30_000
/** The first time it is made: seconds of computing. */
const OPEN_MS = 120_000
const IDLE_MS = 30_000
const WAITING_MAX = 256

export class EmbeddedDatabase implements OperationalDatabase {
  readonly name = 'PGlite'
  readonly shared = false
  readonly #directory: string
  readonly #log: Logger
  #lock: DirectoryLock | undefined
  #pool: Piscina | undefined
  #opening: Promise<Piscina> | undefined
  /** The end of everything that was asked so far. */
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #closed = false
  #idle: NodeJS.Timeout | undefined

  /** @param directory its own, made when it is not there */
  constructor(directory: string, log: Logger) {
    this.#directory = directory
    this.#log = log
  }

  get unmade(): boolean {
    return !existsSync(this.#path)
  }

  get #path(): string {
    return join(this.#directory, 'pglite')
  }

  async open(): Promise<void> {
    this.#lock ??= await lockDirectory(this.#directory)
    await this.#opened()
  }

  query(sql: string, parameters: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#alone(() => this.#ask(sql, parameters))
  }

  transaction<T>(work: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      await this.#ask('BEGIN', [])
      const pool = this.#pool
      try {
        const result = await work({
          query: (sql, parameters = []) => {
            // A new thread knows nothing of this transaction: what it is asked would stay by itself.
            if (this.#pool !== pool) throw new FleetmeterError('FM_DATABASE', 'PGlite was restarted in a transaction')
            return this.#ask(sql, parameters)
          },
        })
        if (this.#pool !== pool) throw new FleetmeterError('FM_DATABASE', 'PGlite was restarted in a transaction')
        await this.#ask('COMMIT', [])
        return result
      } catch (error) {
        if (this.#pool === pool && pool !== undefined) await this.#ask('ROLLBACK', [])
        throw error
      }
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#idle)
    await this.#tail.catch(() => {}) // whoever asked was told
    try {
      await this.#rest()
    } finally {
      this.#lock?.release()
      this.#lock = undefined
    }
  }

  /** Closes it until somebody asks again. */
  async #rest(): Promise<void> {
    const pool = this.#pool
    this.#pool = undefined
    if (pool === undefined) return
    try {
      await this.#call(pool, { kind: 'close' }, QUERY_MS)
    } finally {
      await pool.destroy()
    }
  }

  #restLater(): void {
    clearTimeout(this.#idle)
    if (this.#closed) return
    this.#idle = setTimeout(() => {
      if (this.#waiting > 0) return
      const logged = (error: unknown): void =>
        this.#log.warn({ error: messageOf(error) }, 'PGlite did not close cleanly')
      this.#alone(() => this.#rest()).catch(logged)
    }, IDLE_MS)
    this.#idle.unref()
  }

  /** After everything that was asked before. */
  #alone<T>(action: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new FleetmeterError('FM_STOPPED', 'PGlite is closed'))
    if (this.#waiting >= WAITING_MAX)
      return Promise.reject(new FleetmeterError('FM_DATABASE', `PGlite is busy: ${WAITING_MAX} queries wait already`))
    this.#waiting++
    const result = this.#tail.then(action, action)
    const over = (): void => {
      this.#waiting--
      if (this.#pool !== undefined) this.#restLater()
    }
    this.#tail = result.then(over, over)
    return result
  }

  async #ask(sql: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    const pool = await this.#opened()
    const reply = await this.#call(pool, { kind: 'query', sql, parameters }, QUERY_MS)
    if ('rows' in reply) return reply.rows
    throw new FleetmeterError('FM_DATABASE', `PGlite refuses a statement: ${reply.refused}`, {
      fields: { sqlState: reply.sqlState },
    })
  }

  /** The running pool, or a new one; concurrent callers share the start. */
  #opened(): Promise<Piscina> {
    if (this.#pool !== undefined) return Promise.resolve(this.#pool)
    this.#opening ??= this.#start().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #start(): Promise<Piscina> {
    if (this.unmade) await this.#make()
    return this.#openAt(this.#path)
  }

  /** Under another name until it is whole: a kill in the middle leaves nothing that looks like a database. */
  async #make(): Promise<void> {
    const unfinished = `${this.#path}.unfinished`
    rmSync(unfinished, { recursive: true, force: true })
    mkdirSync(unfinished, { recursive: true })
    await this.#openAt(unfinished)
    await this.#rest()
    renameSync(unfinished, this.#path)
  }

  async #openAt(directory: string): Promise<Piscina> {
    const pool = new Piscina({
      filename: workerPath('./embedded.worker', import.meta.url),
      minThreads: 1,
      maxThreads: 1,
      recordTiming: false,
    })
    pool.on('error', (error: unknown) => this.#failed(pool, error))
    this.#pool = pool
    try {
      await this.#call(pool, { kind: 'open', directory }, OPEN_MS)
    } catch (error) {
      throw new FleetmeterError(
        'FM_DATABASE',
        `PGlite does not open "${directory}": ${messageOf((error as Error).cause)}. If it stays so, move "${this.#directory}" away: it is made anew from the log of definitions`,
      )
    }
    return pool
  }

  async #call(pool: Piscina, task: EmbeddedTask, deadlineMs: number): Promise<EmbeddedReply> {
    try {
      return (await pool.run(task, { signal: AbortSignal.timeout(deadlineMs) })) as EmbeddedReply
    } catch (error) {
      this.#failed(pool, error)
      throw new FleetmeterError('FM_DATABASE', `PGlite failed: ${messageOf(error)}`, { cause: error })
    }
  }

  /** The thread cannot be trusted any more: the next query gets a new one. */
  #failed(pool: Piscina, error: unknown): void {
    if (pool !== this.#pool) return
    this.#pool = undefined
    this.#log.error({ error: messageOf(error), directory: this.#directory }, 'PGlite failed, and is started again')
    void pool.destroy()
  }
}
