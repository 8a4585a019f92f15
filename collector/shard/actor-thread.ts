/**
 * A thread that is an actor: a piscina pool of exactly one, whose queue is the mailbox. The only file that imports `piscina`'s pool.
 *
 * When the thread fails (a bug, out of memory) the call that saw it rejects, and the next one starts a new thread, which opens what
 * the old one had: what was acknowledged is on disk. `generation` tells the two apart, since answers about what the old thread
 * gave out mean nothing to the new one.
 *
 * A start that fails is not tried again at once, however many ask: it may have read a whole journal. Until then the answer is its error.
 */
import { Piscina } from 'piscina'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'

/** Tasks that may wait inside the thread: several let it go on without being woken for each. */
const TASKS_IN_THREAD = 8
/** After a start that failed; twice as long after each further one. */
const PAUSE_MS = 50
const PAUSE_MAX_MS = 5000
/** Messages, by their kind, that come by the clock or only look. */
const NO_NEWS: ReadonlySet<string> = new Set(['tick', 'figures'])

export interface ActorOptions<T> {
  readonly name: string
  /** Path of the file that it runs. */
  readonly worker: string
  /** The first message to a new thread, by its generation. */
  readonly open: (generation: number) => T
  /** It has answered that; what is asked before this is over waits. @param ask the same thread */
  readonly opened: (reply: unknown, ask: (task: T) => Promise<unknown>) => Promise<void> | void
  readonly log: Logger
}

export class ActorThread<T extends { readonly kind: string }> {
  readonly #options: ActorOptions<T>
  #pool: Piscina | undefined
  #opening: Promise<Piscina> | undefined
  #generation = 0
  #failure: string | undefined
  #news = 0
  #failedStarts = 0
  #pauseEnd = 0

  constructor(options: ActorOptions<T>) {
    this.#options = options
  }

  /** Grows whenever the thread is a new one, or {@link renew} was called. */
  get generation(): number {
    return this.#generation
  }

  /** Grows with every message that may give a tick something to do. */
  get news(): number {
    return this.#news
  }

  /** Whether there is a thread at the moment. */
  get running(): boolean {
    return this.#pool !== undefined
  }

  /** Why there is none; undefined when all is well. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** Starts the thread where there is none; concurrent callers share the start. */
  async ready(): Promise<void> {
    if (this.#pool === undefined) await this.#opened()
  }

  /** A start that is under way is over, however it ended: whoever asked for it is told. */
  async settled(): Promise<void> {
    while (this.#opening !== undefined) await this.#opening.catch(() => {})
  }

  /** The next start is of something else: those that failed say nothing about it. */
  forgetFailures(): void {
    this.#failedStarts = 0
    this.#pauseEnd = 0
  }

  /** What was given out before means nothing any more. */
  renew(): number {
    return ++this.#generation
  }

  /** @throws FleetmeterError `FM_SHARD` when the thread fails */
  ask(task: T, transferList: ArrayBuffer[] = []): Promise<unknown> {
    if (!NO_NEWS.has(task.kind)) this.#news++
    const pool = this.#pool
    if (pool !== undefined) return this.#run(pool, task, transferList)
    return this.#opened().then((opened) => this.#run(opened, task, transferList))
  }

  /** The last message; nothing where there is no thread. */
  async close(task: T): Promise<unknown> {
    const pool = this.#pool
    if (pool === undefined) return undefined
    try {
      return await this.#run(pool, task, [])
    } finally {
      this.#pool = undefined
      await pool.destroy()
    }
  }

  async #opened(): Promise<Piscina> {
    const left = this.#pauseEnd - performance.now()
    if (this.#opening === undefined && left > 0)
      throw asShardError(`${this.#failure}; started again in ${Math.ceil(left / 1000)} s at the earliest`)
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #open(): Promise<Piscina> {
    const { worker, open, opened } = this.#options
    const pool = new Piscina({
      filename: worker,
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: TASKS_IN_THREAD,
      atomics: 'sync',
      recordTiming: false,
    })
    pool.on('error', (error: unknown) => this.#failed(pool, error))
    try {
      await opened(await pool.run(open(this.#generation + 1)), (task) => pool.run(task))
    } catch (error) {
      await pool.destroy()
      this.#failure = messageOf(error)
      this.#pauseEnd = performance.now() + Math.min(PAUSE_MS * 2 ** this.#failedStarts++, PAUSE_MAX_MS)
      const { name, log } = this.#options
      // The first start's failure is told by who waits for it.
      if (this.#generation > 0) log.error({ shard: name, error: this.#failure }, 'shard thread does not start again')
      throw asShardError(error)
    }
    this.#pool = pool
    this.#generation++
    this.forgetFailures()
    this.#failure = undefined
    return pool
  }

  async #run(pool: Piscina, task: T, transferList: ArrayBuffer[]): Promise<unknown> {
    try {
      return await pool.run(task, { transferList })
    } catch (error) {
      this.#failed(pool, error)
      throw asShardError(error)
    }
  }

  /** The thread cannot be trusted any more: the next call gets a new one. */
  #failed(pool: Piscina, error: unknown): void {
    if (pool !== this.#pool) return
    this.#pool = undefined
    this.#failure = messageOf(error)
    const { name, log } = this.#options
    log.error({ shard: name, error: messageOf(error), stack: (error as Error).stack }, 'shard thread failed')
    void pool.destroy()
  }
}

/** Errors lose their class and code on the way between threads; the message arrives. */
function asShardError(error: unknown): FleetmeterError {
  return new FleetmeterError('FM_SHARD', `The shard's thread failed: ${messageOf(error)}`, { cause: error })
}
