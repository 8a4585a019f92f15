/** Processes of a bench: started, their CPU and memory read from /proc (Linux), ended. */
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const QUIET_MS = 1000
/** CPU seconds within {@link QUIET_MS} of a process that has nothing left to do. */
const QUIET_CPU = 0.05
const QUIET_TIMES = 3

/** USER_HZ; the kernel shows it as 100 to programs on every usual machine. */
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** CPU seconds that a process has used, user and system, its threads included. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Until none of them has anything left to do. */
export async function quiet(pids: readonly number[]): Promise<void> {
  const used = (): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  for (let times = 0, before = used(); times < QUIET_TIMES; ) {
    await sleep(QUIET_MS)
    const now = used()
    times = now - before <= QUIET_CPU * pids.length ? times + 1 : 0
    before = now
  }
}

/** Resident memory now and at its highest, MiB. */
export function memoryMib(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
  return { now: kib('VmRSS') / 1024, peak: kib('VmHWM') / 1024 }
}

export function machine(): string {
  const all = cpus()
  return `${all[0]?.model ?? 'unknown processor'}, ${all.length} cores, Node ${process.versions.node}, ${process.platform} ${process.arch}`
}

/**
 * Has a process with all its threads, and what it starts from then on, run on these processors alone (`taskset`, Linux).
 * @param processors `0`, `1-3`
 */
export function pin(pid: number, processors: string): void {
  execFileSync('taskset', ['-acp', processors, String(pid)], { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** A script of this folder in a process of its own. */
export function startScript(name: string, args: readonly string[]): ChildProcess {
  const path = fileURLToPath(new URL(name, import.meta.url))
  return spawn(process.execPath, ['--import', 'tsx', path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
}

/** Everything a process printed, once it has ended well. */
export async function outputOf(child: ChildProcess): Promise<string> {
  let output = ''
  child.stdout!.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve))
  if (code !== 0) throw new Error(`a process of the bench ended with ${code}`)
  return output
}

/** SIGTERM, and waits until it is gone. */
export function stopChild(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}
