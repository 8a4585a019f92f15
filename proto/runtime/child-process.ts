/** Starts another program of ours in the runtime that runs this one: Node from source (tsx) or built, or Deno. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { createInterface } from 'node:readline'

declare const Deno: unknown

export interface ChildOptions {
  readonly args: readonly string[]
  /** Options of Node itself; other runtimes go without. */
  readonly nodeFlags?: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** stdout is piped when its lines are wanted; stderr always goes to ours. */
  readonly stdout: 'pipe' | 'inherit'
  /** A process group of its own: Ctrl-C in a terminal then reaches only us, and we decide who stops when. */
  readonly ownGroup?: boolean
}

/**
 * The child's stdin is a pipe that we never write to: it closes when this process ends, however it ends, and
 * the child leaves by {@link exitWithParent}.
 */
export function spawnProgram(path: string, options: ChildOptions): ChildProcess {
  const runtime = typeof Deno === 'undefined' ? [...process.execArgv, ...(options.nodeFlags ?? [])] : ['run', '-A']
  return spawn(process.execPath, [...runtime, path, ...options.args], {
    stdio: ['pipe', options.stdout, 'inherit'],
    detached: options.ownGroup === true,
    env: options.env,
  })
}

/** What `read` makes of the first line on stdout that it knows; undefined when the child ends before. */
export async function firstLineOf<T>(
  child: ChildProcess,
  read: (line: string) => T | undefined,
): Promise<T | undefined> {
  if (child.stdout === null) return undefined
  let found: T | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    found = read(line)
    if (found !== undefined) break
  }
  child.stdout.resume() // the end of reading lines pauses it, and a full pipe would block the child
  return found
}

/** A terminal's Ctrl-C comes once from the terminal and again from npm. */
const SAME_SIGNAL_MS = 500

/** Calls `stop` at the first SIGTERM or SIGINT and ends at once at the second. */
export function onStopSignal(stop: (signal: string) => void): void {
  let first: number | undefined
  const received = (signal: string): void => {
    if (first === undefined) {
      first = performance.now()
      stop(signal)
    } else if (performance.now() - first > SAME_SIGNAL_MS) process.exit(1)
  }
  process.on('SIGTERM', received)
  process.on('SIGINT', received)
}

/**
 * Calls `reload` at each SIGHUP. The same signal says that a terminal was closed, which ends this process as it always did: as
 * SIGTERM does.
 */
export function onReloadSignal(reload: () => void): void {
  const hadTerminal = terminalIsThere()
  process.on('SIGHUP', () => {
    if (hadTerminal && !terminalIsThere()) process.kill(process.pid, 'SIGTERM')
    else reload()
  })
}

function terminalIsThere(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY))
    return true
  } catch {
    return false
  }
}

/** For a child: calls `leave` when the parent is gone. */
export function exitWithParent(leave: () => void): void {
  process.stdin.on('end', leave).on('error', leave).resume()
}

/** Resolves with the exit code, or the signal's name. */
export function exited(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode ?? child.signalCode)
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)))
}
