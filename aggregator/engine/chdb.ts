/**
 * The engine itself: sessions on one data directory. The only file that imports `chdb`, and it does so when it runs, since
 * the package is optional (half a gigabyte, not for every platform).
 */
import { mkdirSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { EngineConfig } from './engine.child.ts'

/** What we use of a chdb session. One statement runs at a time on each. */
export interface EngineSession {
  queryAsync(sql: string, options?: { format?: string }): Promise<{ bytes(): Uint8Array }>
  queryStream(sql: string, options?: { format?: string }): AsyncIterable<{ raw(): Uint8Array }> & { cancel(): void }
  close(): void
}

export interface Engine {
  /** Runs with a session of its own; waits while all are taken. */
  withSession<T>(run: (session: EngineSession) => Promise<T>): Promise<T>
  /** Ends the statements that carry this log_comment, from outside. */
  kill(comment: string): Promise<void>
  close(): Promise<void>
}

const SESSIONS = 6
const MIB = 1024 * 1024

/** @throws FleetmeterError `FM_ENGINE` when the package or the platform is missing, or the directory is in use */
export async function openEngine(config: EngineConfig): Promise<Engine> {
  const chdb = await load()
  mkdirSync(config.directory, { recursive: true })
  rmSync(config.spool, { recursive: true, force: true })
  mkdirSync(config.spool, { recursive: true })
  const path = resolve(config.directory)
  const connectionArgs = [
    `--max_server_memory_usage=${config.memoryBytesMax}`,
    `--mark_cache_size=${64 * MIB}`,
    `--index_mark_cache_size=${16 * MIB}`,
    `--uncompressed_cache_size=${16 * MIB}`,
    `--primary_index_cache_size=${64 * MIB}`,
    '--query_condition_cache_size=0',
  ]
  const admin = new chdb.Session(path, { connectionArgs })
  const idle: EngineSession[] = Array.from({ length: SESSIONS }, () => new chdb.Session(path))
  const waiting: ((session: EngineSession) => void)[] = []

  return {
    async withSession(run) {
      const session = idle.pop() ?? (await new Promise<EngineSession>((take) => waiting.push(take)))
      try {
        return await run(session)
      } finally {
        const next = waiting.shift()
        if (next === undefined) idle.push(session)
        else next(session)
      }
    },
    async kill(comment) {
      await admin.queryAsync(`KILL QUERY WHERE Settings['log_comment'] = '${comment}' AND query_id != queryID() ASYNC`)
    },
    async close() {
      await admin.queryAsync('KILL QUERY WHERE query_id != queryID() ASYNC').catch(() => {})
      await chdb.drainPending()
      for (const session of [...idle, admin]) session.close()
      await chdb.drainPending()
    },
  }
}

interface Chdb {
  Session: new (path: string, options?: { connectionArgs: string[] }) => EngineSession
  drainPending(): Promise<void>
}

async function load(): Promise<Chdb> {
  try {
    return (await import('chdb')) as unknown as Chdb
  } catch (error) {
    throw new FleetmeterError(
      'FM_ENGINE',
      `The embedded engine is not available here: ${messageOf(error)}. It runs on Linux (glibc) and macOS, x64 and arm64; elsewhere set CLICKHOUSE_URL to a ClickHouse server.`,
      { cause: error },
    )
  }
}
