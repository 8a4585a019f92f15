/**
 * The embedded ClickHouse engine in a process of its own, behind the part of ClickHouse's HTTP interface that the ordinary
 * client uses. The product talks to it exactly as to a server.
 *
 * Why a process: the engine crashes in worker threads, its aborts are cosmetic, a wrong exit hangs; a process can be killed
 * at any time (acknowledged rows survive) and started again. Its first line on stdin is the configuration, with the
 * secret, which must not stand in a process list; afterwards stdin only says that the parent lives.
 *
 *     stdin  {"directory":…,"secret":…,"port":…}      stdout  {"port":…} once it listens
 */
import { createInterface } from 'node:readline'
import { exitWithParent } from '../../proto/runtime/child-process.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import { openEngine } from './chdb.ts'
import { serveEngine } from './engine-server.ts'

/** What the parent says on the first line. */
export interface EngineConfig {
  readonly directory: string
  /** Insert bodies on their way in, one file each; emptied at the start. */
  readonly spool: string
  /** Password of every request. */
  readonly secret: string
  /** 0: any free one. */
  readonly port: number
  readonly memoryBytesMax: number
}

const LOCK_RETRY_MS = 200
const LOCK_WAIT_MS = 60_000

const config = await firstLine()
const engine = await whenUnlocked(() => openEngine(config))
const server = await serveEngine(engine, config)
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`)

exitWithParent(() => void leave())
process.on('SIGTERM', () => {}) // may be sent to all of a service's processes; our parent decides when we go

let leaving = false
/** A plain exit would wait for running queries; after a clean close nothing is lost by being killed. */
async function leave(): Promise<void> {
  if (leaving) return
  leaving = true
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 3000)
  await server.close()
  await engine.close()
  process.kill(process.pid, 'SIGKILL')
}

async function firstLine(): Promise<EngineConfig> {
  const lines = createInterface({ input: process.stdin })
  for await (const line of lines) return JSON.parse(line) as EngineConfig
  return process.exit(0) // the parent went before it said anything
}

/** An engine whose parent was killed may still hold the directory for a moment. */
async function whenUnlocked<T>(open: () => Promise<T>): Promise<T> {
  for (const since = Date.now(); ; ) {
    try {
      return await open()
    } catch (error) {
      const locked = /Failed to create connection|Cannot lock/.test(messageOf(error))
      if (!locked || Date.now() - since > LOCK_WAIT_MS) throw error
      await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS))
    }
  }
}
