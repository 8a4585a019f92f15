/** Tells the owner each second what it has to know of the samples that came here. */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { LateSamples } from '../intake/late-samples.ts'
import { LateNotes } from '../intake/late-samples.ts'
import type { CollectorMark } from '../intake/watermarks.ts'
import type { SampleNews } from './sample-news.ts'

export interface NewsOptions {
  /** Of this process. */
  readonly holder: string
  /** Of what is stored. */
  readonly marks: () => readonly CollectorMark[]
  /** Resolves when all samples that came so far are stored. */
  readonly settled: () => Promise<void>
  /** Tells the owner, wherever that is. @throws when there is none, or it does not answer */
  readonly tell: (news: SampleNews) => Promise<void>
  readonly monotonic: () => number
  readonly log: Logger
}

const EVERY_MS = 1000
/** Nodes with late samples that are told of at once: the owner takes a body of 64 MiB at most, and reads it in one turn. */
const LATE_AT_ONCE = 2000

export class NewsService implements Service {
  readonly name = 'owner-news'
  readonly #options: NewsOptions
  readonly #late = new LateNotes()
  readonly #often: RateLimitedLog
  readonly #stopping = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #problem: string | undefined

  constructor(options: NewsOptions) {
    this.#options = options
    this.#often = new RateLimitedLog(60_000, options.monotonic)
  }

  note(samples: LateSamples): void {
    this.#late.note(samples)
  }

  async start(): Promise<void> {
    this.#running = this.#run()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    await orAborted(this.#running, deadline)
  }

  /** Samples are taken all the same. */
  health(): Health {
    return this.#problem === undefined ? { ready: true } : { ready: true, detail: this.#problem }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await sleep(EVERY_MS, undefined, { signal }).catch(() => {}) // stopping: the loop ends
      if (!signal.aborted) await this.#once()
    }
  }

  async #once(): Promise<void> {
    const { holder, marks, settled, tell, log } = this.#options
    const late = this.#late.take(LATE_AT_ONCE)
    try {
      if (late.length > 0) await settled()
      await tell({ from: holder, marks: marks(), late })
      this.#problem = undefined
    } catch (error) {
      this.#problem = `the owner cannot be told of samples that came here: ${messageOf(error)}`
      for (const samples of late) this.#late.note(samples) // told later
      this.#often.once('tell', (held) =>
        log.warn(
          { error: messageOf(error), held },
          'the owner cannot be told of samples that came here: figures of tasks wait',
        ),
      )
    }
  }
}
