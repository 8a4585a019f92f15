/**
 * Another's program that is asked for figures. It may be missing, fail, hang, or hang so that not even SIGKILL ends it (a driver that
 * never returns), and none of that may cost anything: one process at a time, each bounded in time and output, and after a failure a
 * pause that doubles.
 *
 *     absent ◀──▶ answering ──▶ failing | silent ── pause ──▶ asked again
 */
import type { ChildProcess, ChildProcessByStdio } from 'node:child_process'
import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { endsWithUs } from './ends-with-us.ts'
import { findProgram } from './find-program.ts'

export const TOOL_STATES = ['unasked', 'absent', 'answering', 'failing', 'silent'] as const
export type ToolState = (typeof TOOL_STATES)[number]

const PAUSE_MS = 10_000
/** What hung once is asked rarely: each attempt may leave a process that cannot be ended, and holds the next ones up. */
const SILENT_PAUSE_MS = 60_000
const PAUSE_MAX_MS = 300_000
const LINE_BYTES_MAX = 64 * 1024
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024
/** Of what it says when it fails. */
const LEFT_BEHIND_MS = 500
const SAID_CHARACTERS_MAX = 200
/** After a stop, for the process to be gone. */
const STOP_MS = 1000

export interface ToolOptions {
  /** Names to look for, the preferred one first. */
  readonly names: readonly string[]
  /** What it is asked about, where several tools have one name. */
  readonly subject?: string
  /** What the process gets; `PATH` is also where it is looked for. Holds no secrets. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Folders to look in beside PATH. */
  readonly folders?: readonly string[]
  /** Longest time to an answer; with {@link Asking.everyMs}, longest time beyond that between two lines. */
  readonly silentMs: number
  readonly clock: Clock
  readonly log: Logger
}

export interface Asking {
  readonly args: readonly string[]
  /** Told of each line as it comes; says whether it was one that was asked for. Absent: the lines are only in the answer. */
  readonly onLine?: (line: string) => boolean
  /** It answers again and again in this rhythm, until {@link Tool.quit}. Absent: once. */
  readonly everyMs?: number
}

export type Answer =
  | { readonly kind: 'ok'; readonly output: string }
  /** It ended otherwise than well; `output` is what it wrote, on both. */
  | { readonly kind: 'failed'; readonly output: string }
  | { readonly kind: 'absent' }
  /** It was told to quit, or is to be asked no more. */
  | { readonly kind: 'quit' }

export class Tool {
  readonly #options: ToolOptions
  #child: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()
  #asking = false
  #quitting = false
  #stopped = false
  #state: ToolState = 'unasked'
  #detail = ''
  #name: string
  /** Put before its command; looked for once, when the tool is there. */
  #before: readonly string[] | undefined
  #failures = 0
  #failuresTotal = 0
  #nextAt = 0

  constructor(options: ToolOptions) {
    this.#options = options
    this.#name = options.names[0]!
  }

  /** The one of its names that was found last, and what it is asked about. */
  get name(): string {
    const { subject } = this.#options
    return subject === undefined ? this.#name : `${this.#name} (${subject})`
  }

  get state(): ToolState {
    return this.#state
  }

  /** Why it does not answer, for a person; '' when it does. */
  get detail(): string {
    return this.#detail
  }

  get failures(): number {
    return this.#failuresTotal
  }

  /** It may be asked now: no process of it is left, and no pause is under way. */
  get due(): boolean {
    return !this.#asking && this.#options.clock.monotonic() >= this.#nextAt
  }

  /** Not before that long from now. */
  rest(ms: number): void {
    this.#nextAt = Math.max(this.#nextAt, this.#options.clock.monotonic() + ms)
  }

  /** Asks, when it is {@link due}. Resolves when the process is gone. Never rejects. */
  async ask(asking: Asking): Promise<Answer> {
    this.#asking = true
    this.#quitting = false
    try {
      const path = await this.#find()
      if (path !== undefined) this.#before ??= await endsWithUs(this.#options.env)
      if (this.#quitting || this.#stopped) return { kind: 'quit' }
      if (path === undefined) {
        this.#become('absent', `${this.#options.names.join(' or ')} is not installed`)
        this.rest(PAUSE_MAX_MS)
        return { kind: 'absent' }
      }
      return await this.#run(path, asking)
    } finally {
      this.#asking = false
    }
  }

  /** Ends a process that answers again and again: no failure. */
  quit(): void {
    this.#quitting = true
    this.#kill()
  }

  /** Asks no more. Resolves when the process is gone, or when it is not to be had. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.quit()
    await Promise.race([this.#gone, new Promise<void>((resolve) => setTimeout(resolve, STOP_MS).unref())])
  }

  async #find(): Promise<string | undefined> {
    const { names, env, folders = [] } = this.#options
    for (const name of names) {
      const path = await findProgram(name, [...(env['PATH'] ?? '').split(delimiter), ...folders])
      if (path === undefined) continue
      this.#name = name
      return path
    }
    return undefined
  }

  #run(path: string, { args, onLine, everyMs }: Asking): Promise<Answer> {
    let child: ChildProcessByStdio<null, Readable, Readable>
    try {
      // A group of its own: a wrapper script is killed with what it started, and Ctrl-C in a terminal does not reach it.
      const [program = path, ...words] = [...(this.#before ?? []), path, ...args]
      child = spawn(program, words, {
        env: this.#options.env as NodeJS.ProcessEnv,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      })
    } catch (error) {
      return Promise.resolve(this.#notStarted(error))
    }
    // Where no file is left for its pipes there are none, and no end is told: only this.
    if (child.pid === undefined)
      return new Promise((resolve) => child.once('error', (error) => resolve(this.#notStarted(error))))
    this.#child = child
    let output = ''
    let rest = ''
    let problem: string | undefined
    const give = (state: 'silent' | 'failing', why: string): void => {
      problem ??= why
      this.#become(state, why)
      this.#kill()
    }
    const bound = this.#options.silentMs + (everyMs ?? 0)
    const watch = setTimeout(() => give('silent', `it gave no answer for ${bound} ms and is being ended`), bound)
    const take = (line: string): void => {
      if (onLine?.(line) !== true) return
      this.answered()
      if (everyMs !== undefined) watch.refresh()
    }
    const said = (text: string): void => {
      if (problem !== undefined) return
      if (everyMs !== undefined) output = '' // only what it says last is of interest
      output += text
      if (output.length > OUTPUT_BYTES_MAX) give('failing', `it wrote more than ${OUTPUT_BYTES_MAX} bytes`)
    }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (problem !== undefined) return
      said(text)
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      if (rest.length > LINE_BYTES_MAX) give('failing', `it wrote a line of more than ${LINE_BYTES_MAX} bytes`)
      for (const line of lines) if (line !== '') take(line)
    })
    child.stderr.setEncoding('utf8').on('data', said)
    // What it started and left behind may hold its pipes open for ever: what has not come soon after its end is not waited for.
    child.once('exit', () => {
      setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
      }, LEFT_BEHIND_MS).unref()
    })
    const ended = new Promise<Answer>((resolve) => {
      child.on('error', (error) => {
        problem ??= messageOf(error)
      })
      child.on('close', (code, signal) => {
        clearTimeout(watch)
        this.#child = undefined
        if (rest !== '' && problem === undefined) take(rest)
        if (problem === undefined && this.#quitting) resolve({ kind: 'quit' })
        else if (problem === undefined && code === 0 && everyMs === undefined) resolve({ kind: 'ok', output })
        else {
          const last = output.trim().split('\n').at(-1) ?? ''
          this.#fail(problem ?? `it ended with ${code ?? signal}: ${last.slice(0, SAID_CHARACTERS_MAX)}`)
          resolve({ kind: 'failed', output })
        }
      })
    })
    this.#gone = ended.then(() => {})
    return ended
  }

  #notStarted(error: unknown): Answer {
    this.#fail(`it cannot be started: ${messageOf(error)}`)
    return { kind: 'failed', output: '' }
  }

  /** What it said was of use: the failures before are forgotten. */
  answered(): void {
    this.#failures = 0
    this.#become('answering', '')
  }

  /** It ended well, and what it said was of no use. */
  useless(why: string): void {
    this.#fail(why)
  }

  #fail(why: string): void {
    const silent = this.#state === 'silent'
    this.#failuresTotal++
    this.rest(Math.min((silent ? SILENT_PAUSE_MS : PAUSE_MS) * 2 ** this.#failures++, PAUSE_MAX_MS))
    this.#become(silent ? 'silent' : 'failing', why)
  }

  /** A change of state is said once, however long it lasts. */
  #become(state: ToolState, detail: string): void {
    const changed = state !== this.#state
    this.#state = state
    this.#detail = detail
    if (!changed) return
    const fields = { tool: this.name, state, ...(detail === '' ? {} : { detail }) }
    if (state === 'failing' || state === 'silent') this.#options.log.warn(fields, 'tool does not answer')
    else this.#options.log.info(fields, state === 'absent' ? 'tool is not installed' : 'tool answers')
  }

  #kill(): void {
    if (this.#child?.pid === undefined) return
    try {
      process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      // It has just ended by itself: 'close' follows.
    }
  }
}
