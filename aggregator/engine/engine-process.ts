/**
 * The embedded engine seen from the aggregator: a child process that is started, watched and started again.
 *
 *     starting ──▶ ready ──▶ (exits) ──▶ a pause that doubles ──▶ starting
 *
 * While it is away statements fail, rows wait in the store's bound, and collectors keep what was not stored.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { exited, firstLineOf, spawnProgram } from '../../proto/runtime/child-process.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { workerPath } from '../../proto/runtime/worker-url.ts'
import type { EngineConfig } from './engine.child.ts'

export interface EngineProcessOptions {
  readonly directory: string
  readonly spool: string
  readonly memoryBytesMax: number
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
}

/** Where the engine listens and how to get in. */
export interface EngineEndpoint {
  readonly url: string
  readonly password: string
}

const START_TIMEOUT_MS = 120_000
const RESTART_PAUSE_MS = 200
const RESTART_PAUSE_MAX_MS = 10_000
const STABLE_MS = 30_000
const PING_EVERY_MS = 1000
const PING_TIMEOUT_MS = 3000
const SILENT_MAX_MS = 15_000

export class EngineProcess implements Service {
  readonly name = 'engine'
  readonly #options: EngineProcessOptions
  readonly #secret = randomBytes(24).toString('base64url')
  readonly #moved: (endpoint: EngineEndpoint) => void
  #child: ChildProcess | undefined
  #port = 0
  #ready = false
  #stopping = false
  #restarts = 0
  #pings: NodeJS.Timeout | undefined
  #pinging = false
  /** When it was last heard, while it does not answer; ms. */
  #silentSince: number | undefined
  /** How the one before ended, for a person; undefined before the first end. */
  #ended: string | undefined

  /** @param moved called whenever the engine listens somewhere new */
  constructor(options: EngineProcessOptions, moved: (endpoint: EngineEndpoint) => void) {
    this.#options = options
    this.#moved = moved
  }

  get restarts(): number {
    return this.#restarts
  }

  /** The process id, for tests that kill it. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  async start(): Promise<void> {
    await this.#launch()
    void this.#watch()
    this.#pings = setInterval(() => void this.#ping(), PING_EVERY_MS)
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true
    clearInterval(this.#pings)
    const child = this.#child
    if (child === undefined) return
    child.stdin?.end()
    const kill = (): void => void child.kill('SIGKILL')
    deadline.addEventListener('abort', kill, { once: true })
    if (deadline.aborted) kill()
    await exited(child)
    deadline.removeEventListener('abort', kill)
  }

  health(): Health {
    if (!this.#ready) return { ready: false, detail: this.#ended ?? 'the embedded engine is starting' }
    return this.#silentSince === undefined
      ? { ready: true }
      : { ready: false, detail: 'the embedded engine does not answer' }
  }

  /** A child that lives and does not answer is reported, and killed when that goes on: the next one answers. */
  async #ping(): Promise<void> {
    const child = this.#child
    if (!this.#ready || this.#pinging) return
    this.#pinging = true
    try {
      const headers = { Authorization: `Basic ${Buffer.from(`default:${this.#secret}`).toString('base64')}` }
      await fetch(`http://127.0.0.1:${this.#port}/ping`, { headers, signal: AbortSignal.timeout(PING_TIMEOUT_MS) })
      this.#silentSince = undefined
    } catch {
      this.#silentSince ??= performance.now()
      if (performance.now() - this.#silentSince < SILENT_MAX_MS || child !== this.#child) return
      this.#options.log.error({ pid: child?.pid }, 'embedded engine does not answer, killing it')
      child?.kill('SIGKILL')
    } finally {
      this.#pinging = false
    }
  }

  /** Starts the child and waits until it listens. @throws FleetmeterError `FM_ENGINE` */
  async #launch(): Promise<void> {
    const { directory, spool, memoryBytesMax, env } = this.#options
    const child = spawnProgram(workerPath('./engine.child', import.meta.url), {
      ownGroup: true,
      args: [],
      env: { ...env, UV_THREADPOOL_SIZE: '16' },
      stdout: 'pipe',
    })
    this.#child = child
    child.stdin?.on('error', () => {}) // it may be gone before it has read
    const config: EngineConfig = { directory, spool, secret: this.#secret, port: this.#port, memoryBytesMax }
    child.stdin?.write(`${JSON.stringify(config)}\n`)
    const port = await Promise.race([
      firstLineOf(child, portOf),
      exited(child).then(() => undefined),
      sleep(START_TIMEOUT_MS, undefined, { ref: false }),
    ])
    if (port === undefined) {
      child.kill('SIGKILL')
      throw new FleetmeterError(
        'FM_ENGINE',
        `The embedded engine did not start (exit code ${child.exitCode ?? child.signalCode ?? 'none'}); its own lines stand above`,
      )
    }
    this.#port = port
    this.#ready = true
    this.#silentSince = undefined
    this.#moved({ url: `http://127.0.0.1:${port}`, password: this.#secret })
  }

  async #watch(): Promise<void> {
    let pause = RESTART_PAUSE_MS
    while (!this.#stopping) {
      const since = performance.now()
      const how = await exited(this.#child!)
      this.#ready = false
      this.#ended = `the embedded engine ended (${how}) and is started again${how === 'SIGKILL' ? '; the log of the kernel says whether memory ran out' : ''}`
      if (this.#stopping) return
      if (performance.now() - since > STABLE_MS) pause = RESTART_PAUSE_MS
      this.#options.log.error({ exit: how, pauseMs: pause }, 'embedded engine ended, starting it again')
      await sleep(pause)
      pause = Math.min(pause * 2, RESTART_PAUSE_MAX_MS)
      if (this.#stopping) return
      this.#restarts++
      try {
        await this.#launch()
        this.#options.log.warn('embedded engine is back')
      } catch (error) {
        this.#port = 0 // somebody else may have taken it
        this.#options.log.error({ error: (error as Error).message }, 'embedded engine does not start')
      }
    }
  }
}

function portOf(line: string): number | undefined {
  return line.startsWith('{"port":') ? (JSON.parse(line) as { port: number }).port : undefined
}
