/**
 * `npm start`: collector and aggregator on one machine, as two processes that talk HTTP, exactly as apart.
 *
 *     start   aggregator, then collector            crash   started again after a pause that doubles
 *     stop    collector (sends what it has), then aggregator (stores it)
 */
import type { ChildProcess } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { aggregatorSection } from '../../aggregator/config.ts'
import { collectorSection } from '../../collector/config.ts'
import type { TokenSource } from '../runtime/access.ts'
import { findToken } from '../runtime/access.ts'
import {
  exited,
  exitWithParent,
  firstLineOf,
  onReloadSignal,
  onStopSignal,
  spawnProgram,
} from '../runtime/child-process.ts'
import { FleetmeterError, messageOf } from '../runtime/errors.ts'
import { readConfig } from '../runtime/load-config.ts'
import type { SharedConfig } from '../runtime/shared-config.ts'
import { sharedSection } from '../runtime/shared-config.ts'
import { workerPath } from '../runtime/worker-url.ts'
import { AGGREGATOR_NODE_FLAGS, COLLECTOR_NODE_FLAGS } from './node-flags.ts'

const RESTART_PAUSE_MS = 200
const RESTART_PAUSE_MAX_MS = 10_000
const STABLE_MS = 30_000
/** Together below fifteen seconds. */
const STOP_COLLECTOR_MS = 8500
const STOP_AGGREGATOR_MS = 6000
const EXIT_CONFIG = 78

/** One of the two programs: started, watched, started again. */
class Child {
  readonly #name: string
  readonly #path: string
  readonly #env: Record<string, string | undefined>
  readonly #nodeFlags: readonly string[]
  #process: ChildProcess | undefined
  #stopping = false
  #listens = false
  #reloadsLater = false

  constructor(name: string, path: string, env: Record<string, string | undefined>, nodeFlags: readonly string[]) {
    this.#name = name
    this.#path = path
    this.#env = env
    this.#nodeFlags = nodeFlags
  }

  /** Resolves with the address once it listens. Exits this process when it never does; while stopping, never resolves. */
  async start(): Promise<string> {
    const url = await this.#launch()
    if (url === undefined) return this.#stopping ? new Promise(() => {}) : process.exit(this.#process?.exitCode ?? 1)
    void this.#watch()
    return url
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true
    const child = this.#process
    if (child === undefined) return
    child.kill('SIGTERM')
    await Promise.race([exited(child), sleep(deadlineMs, undefined, { ref: false }).then(() => child.kill('SIGKILL'))])
  }

  /** Has it read its configuration again; one that is starting, as soon as it listens: before, the signal could end it. */
  reload(): void {
    if (this.#listens) this.#process?.kill('SIGHUP')
    else this.#reloadsLater = true
  }

  async #launch(): Promise<string | undefined> {
    const args = process.argv.slice(2)
    const child = spawnProgram(this.#path, {
      args,
      nodeFlags: this.#nodeFlags,
      env: { ...this.#env, FLEETMETER_STOP_WITH_PARENT: 'true' },
      stdout: 'pipe',
      ownGroup: true,
    })
    this.#process = child
    this.#listens = false
    const url = await firstLineOf(child, (line) => / ready at (\S+)$/.exec(line)?.[1])
    if (url === undefined) await exited(child)
    else this.#listens = true
    if (this.#reloadsLater && this.#listens) {
      this.#reloadsLater = false
      this.reload()
    }
    return url
  }

  async #watch(): Promise<void> {
    let pause = RESTART_PAUSE_MS
    for (;;) {
      const since = performance.now()
      const how = await exited(this.#process!)
      if (this.#stopping) return
      if (performance.now() - since > STABLE_MS) pause = RESTART_PAUSE_MS
      process.stderr.write(`fleetmeter: the ${this.#name} ended (${how}), starting it again in ${pause} ms\n`)
      await sleep(pause)
      pause = Math.min(pause * 2, RESTART_PAUSE_MAX_MS)
      if (this.#stopping) return
      await this.#launch()
    }
  }
}

/** Ends this process with what is wrong, in a sentence, where a setting is. */
function configured<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FleetmeterError)) throw error
    process.stderr.write(`fleetmeter: ${messageOf(error)}\n`)
    return process.exit(EXIT_CONFIG)
  }
}

/** What a shell puts in the token's place, wherever it is pasted. */
function tokenInShell(token: TokenSource): string {
  if (token.file !== undefined) return `$(cat '${resolve(token.file).replaceAll("'", "'\\''")}')`
  const name = ['FLEETMETER_TOKEN', 'API_BEARER_TOKEN'].find((n) => process.env[n]?.trim() === token.token)
  return name === undefined ? 'YOUR-TOKEN' : `$${name}`
}

/** An address that can be asked, of one that is listened on. */
function reachable(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

function welcome(collector: string, aggregator: string, token: TokenSource): string {
  const secret = tokenInShell(token)
  // Only for whoever sits there: what goes into a file or a log must hold no token.
  const signedIn = process.stdout.isTTY
    ? `
Open it, signed in (keep this link to yourself):

  ${aggregator}/#token=${encodeURIComponent(token.token)}
`
    : ''
  return `
fleetmeter is running: a collector and an aggregator with the embedded engine.

  collector    ${collector}    Prometheus remote write: ${collector}/api/v1/write
  aggregator   ${aggregator}    open it in a browser; queries, also through the collector's address
  token        ${token.file === undefined ? 'as configured' : `${token.file}${token.created ? ' (made just now)' : ''}`}

This host's own figures, as soon as they are in:

  curl -s -H "Authorization: Bearer ${secret}" '${collector}/api/public/metrics/query?name=node_load1&step=60s&agg=last'
${signedIn}`
}

const PROGRAM = {
  name: 'fleetmeter',
  about: 'telemetry for GPU fleets; a collector and an aggregator on this machine, with the database inside.',
  command: 'npm start --',
}
const sources = { argv: process.argv.slice(2), env: process.env, columns: process.stdout.columns }
// Of all three: what is wrong is said at once, before anything runs.
const { values, print } = configured(() =>
  readConfig(PROGRAM, [sharedSection, collectorSection, aggregatorSection], [], sources),
)
if (print !== undefined) {
  process.stdout.write(`${print}\n`)
  process.exit(0)
}
const shared = values[0] as unknown as SharedConfig
const token = configured(() => findToken(shared.token, shared.dataDir))
const aggregator = new Child(
  'aggregator',
  workerPath('../../aggregator/main', import.meta.url),
  process.env,
  AGGREGATOR_NODE_FLAGS,
)
let collector: Child | undefined
let stopping = false

async function stop(): Promise<void> {
  stopping = true
  await collector?.stop(STOP_COLLECTOR_MS)
  await aggregator.stop(STOP_AGGREGATOR_MS)
  process.exit(0)
}
onStopSignal(() => void stop())
if (shared.stopWithParent)
  exitWithParent(() => {
    if (!stopping) void stop()
  })
// The aggregator first: a collector sends with a new token as soon as it has read it.
onReloadSignal(() => {
  aggregator.reload()
  collector?.reload()
})

const aggregatorUrl = await aggregator.start()
if (!stopping) {
  const env = { FLEETMETER_AGGREGATOR_URL: reachable(aggregatorUrl), ...process.env }
  collector = new Child('collector', workerPath('../../collector/main', import.meta.url), env, COLLECTOR_NODE_FLAGS)
  const collectorUrl = await collector.start()
  if (!stopping) process.stdout.write(welcome(reachable(collectorUrl), reachable(aggregatorUrl), token))
}
