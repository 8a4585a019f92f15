/** Real processes for tests: started from the build, killed, restarted, asked over HTTP. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { AGGREGATOR_NODE_FLAGS, COLLECTOR_NODE_FLAGS } from '../../proto/standalone/node-flags.ts'
import './bounded-fetch.ts'

const DIST = fileURLToPath(new URL('../../dist', import.meta.url))
const READY_MS = 60_000
const PROGRAM_FLAGS = { collector: COLLECTOR_NODE_FLAGS, aggregator: AGGREGATOR_NODE_FLAGS, standalone: [] }
/** For profiles: `--cpu-prof --cpu-prof-dir=…`. */
const NODE_FLAGS = (process.env['FLEETMETER_TEST_NODE_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')

export const TOKEN = 'test-token'

export type Env = Readonly<Record<string, string>>

/** A program under test. */
export interface Running {
  readonly name: string
  readonly process: ChildProcess
  readonly url: string
  /** Everything it wrote. */
  readonly output: () => string
  /** Resolves with exit code or signal. */
  readonly exited: Promise<number | string>
}

const temporaryDirectories: string[] = []

/** A directory that is removed when the test's process ends: programs that a test starts may write until they are stopped. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-'))
  // One listener for all of them: Node takes more than ten for a leak, and warns.
  if (temporaryDirectories.push(directory) === 1) process.once('exit', removeTemporaryDirectories)
  return directory
}

function removeTemporaryDirectories(): void {
  for (const directory of temporaryDirectories) {
    try {
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    } catch {
      // A program that was killed just now may still have a file there: the system's cleaning of /tmp takes it.
    }
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Starts a program and waits until it says where it listens. Rejects when it ends before that. @param flags of Node, besides its own */
export async function start(
  name: 'collector' | 'aggregator' | 'standalone',
  env: Env,
  args: readonly string[] = [],
  flags: readonly string[] = [],
): Promise<Running> {
  const path = name === 'standalone' ? 'proto/standalone/main.js' : `${name}/main.js`
  const child = spawn(process.execPath, [...NODE_FLAGS, ...PROGRAM_FLAGS[name], ...flags, join(DIST, path), ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      FLEETMETER_LOG_LEVEL: 'warn',
      FLEETMETER_TOKEN: TOKEN,
      FLEETMETER_STOP_WITH_PARENT: 'true',
      FLEETMETER_COLLECTOR_SENDER_INTERVAL_MS: '0', // tests count the samples that they send
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true, // so that a test can send a signal to its whole process group, as a terminal does
  })
  let output = ''
  let stdout = ''
  const exited = new Promise<number | string>((resolve) =>
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')),
  )
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} is not ready after ${READY_MS} ms:\n${output}`)), READY_MS)
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      stdout += chunk.toString()
      const ready = name === 'standalone' ? /collector {4}(\S+)/.exec(stdout) : / ready at (\S+)/.exec(stdout)
      if (ready !== null) {
        clearTimeout(timer)
        resolve(ready[1]!)
      }
    })
    void exited.then((how) => {
      clearTimeout(timer)
      reject(new Error(`${name} ended (${how}) before it was ready:\n${output}`))
    })
  })
  return { name, process: child, url, output: () => output, exited }
}

/** kill -9, and waits until it is gone. */
export async function kill(running: Running): Promise<void> {
  running.process.kill('SIGKILL')
  await running.exited
}

/** SIGTERM. @returns exit code or signal, and how long it took, ms */
export async function terminate(running: Running): Promise<{ how: number | string; ms: number }> {
  const started = performance.now()
  running.process.kill('SIGTERM')
  const how = await running.exited
  return { how, ms: performance.now() - started }
}

/** Pid of the embedded engine below an aggregator. */
export function enginePid(aggregator: Running): number | undefined {
  return childrenOf(aggregator.process.pid!).find((pid) => commandOf(pid).includes('engine.child'))
}

export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return Number(/^\d+ \(.*\) \S+ (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]) === parent
      } catch {
        return false // gone meanwhile
      }
    })
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

export const authorized: Readonly<Record<string, string>> = { Authorization: `Bearer ${TOKEN}` }

/** Values of a metric family on /metrics, by its labels as they are printed. */
export async function scrape(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][^\s{]*(?:\{[^}]*\})?) (\S+)$/.exec(line)
    if (match !== null) values.set(match[1]!, Number(match[2]))
  }
  return values
}

/** Sum over all labels of a family. */
export function total(metrics: ReadonlyMap<string, number>, family: string): number {
  let sum = 0
  for (const [name, value] of metrics) if (name === family || name.startsWith(`${family}{`)) sum += value
  return sum
}

/** Waits until the condition holds. Rejects with the last error or `what` after the deadline. */
export async function eventually(
  what: string,
  condition: () => Promise<boolean> | boolean,
  deadlineMs = 30_000,
): Promise<void> {
  let last: unknown
  for (const since = performance.now(); performance.now() - since < deadlineMs; ) {
    try {
      if (await condition()) return
      last = undefined
    } catch (error) {
      last = error
    }
    await sleep(50)
  }
  throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: last })
}

export async function ready(url: string): Promise<void> {
  await eventually(`${url}/readyz is 200`, async () => (await fetch(`${url}/readyz`)).status === 200)
}
