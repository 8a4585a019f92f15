/**
 * Tells others by Kafka of usage that was calculated: each `telemetry.usage.calculated`, at least once, with the id that it has everywhere.
 *
 *     owner log ──▶ rows in ClickHouse ──▶ those behind the cursor, in the order of the log ──▶ topic ──▶ the cursor moves, synced
 *
 * What is stored is read and not what is calculated: storing waits for nothing here, and while Kafka is away nothing grows but the way
 * that the cursor has to go. A crash between topic and cursor tells the same once more.
 *
 * The cursor is a position of the log. A time stands beside it that nothing behind it is older than, since rows are found by time.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventPublisher } from '../../proto/kafka/event-publisher.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { utf8Decode, utf8Encode } from '../../proto/wire/bytes.ts'
import type { AppliedRecord, Fold } from '../owner/fold.ts'
import type { KeptFiles } from '../owner/log-files.ts'
import type { ReadUsage, StoredUsageEvent } from './stored-usage.ts'
import { CALCULATION } from './tasks-fold.ts'

export interface UsageOutboxOptions {
  readonly files: KeptFiles
  /** Where the cursor is kept. */
  readonly directory: string
  readonly topic: string
  readonly read: ReadUsage
  /** Everything of the log up to here is in ClickHouse. */
  readonly storedUpTo: () => number
  /** The newest position of the log. */
  readonly logEnd: () => number
  readonly lookMs: number
  readonly clock: Clock
  readonly log: Logger
}

/** Everything up to `n` is on the topic; what is behind it is not older than `since`, ms. */
interface Cursor {
  readonly n: number
  readonly since: number
}

const FILE = 'usage-published.json'
/** A task of a week states some thousand amounts: some MB at once. */
const AT_ONCE = 100
const PAUSE_MS = 1000
const LOG_EVERY_MS = 30_000

export class UsageOutbox implements Service, Fold {
  readonly name = 'usage-outbox'
  readonly #publisher: EventPublisher
  readonly #options: UsageOutboxOptions
  readonly #often: RateLimitedLog
  readonly #stopping = new AbortController()
  readonly #counts = { published: 0, tooLarge: 0 }
  #cursor: Cursor = { n: 0, since: Number.POSITIVE_INFINITY }
  /** Position of the newest calculation, as far as there are some behind the cursor. */
  #newest = 0
  /** When that was, ms. */
  #newestTime = Number.POSITIVE_INFINITY
  /** The last calculation that is older than the one before it, or of which that is not known: behind it, times rise with positions. */
  #unsorted = 0
  /** End of the log at the start. */
  #base = 0
  #running: Promise<void> = Promise.resolve()
  #problem: string | undefined

  constructor(publisher: EventPublisher, options: UsageOutboxOptions) {
    this.#publisher = publisher
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
  }

  /** Events that are on the topic; those that are larger than any broker takes, and are not. */
  get counts(): Readonly<Record<'published' | 'tooLarge', number>> {
    return this.#counts
  }

  /** Positions of the log between the cursor and the newest calculation. */
  get behind(): number {
    return Math.max(0, this.#newest - this.#cursor.n)
  }

  apply({ kind, n, at }: AppliedRecord): void {
    if (kind !== CALCULATION) return
    const time = Math.floor(at / 1000)
    if (time < this.#newestTime) this.#unsorted = n
    this.#newest = n
    this.#newestTime = time
    if (time < this.#cursor.since) this.#cursor = { ...this.#cursor, since: time }
  }

  /** The replay is over. What a snapshot holds was not seen here. */
  begin(): void {
    this.#newest = this.#options.logEnd()
    this.#newestTime = Number.POSITIVE_INFINITY
    this.#unsorted = this.#newest
    this.#base = this.#newest
  }

  /** Nothing of it follows from records. */
  snapshot(): null {
    return null
  }

  restore(): void {}

  async start(): Promise<void> {
    const { since } = this.#cursor
    const kept = await this.#load()
    // It was not asked for before: it begins with what is calculated from now on.
    const { n, since: from } = kept ?? { n: this.#base, since: this.#options.clock.now() }
    this.#cursor = { n: Math.min(n, this.#base), since: Math.min(since, from) }
    await this.#save()
    this.#running = this.#run()
  }

  /** What is not on the topic by then is after the next start. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    await orAborted(this.#running, deadline)
  }

  /** An aggregator that cannot tell still answers. */
  health(): Health {
    const problem = this.#problem ?? this.#publisher.problem
    return problem === undefined ? { ready: true } : { ready: true, detail: problem }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      let pause = this.#options.lookMs
      try {
        if (await this.#next(signal)) pause = 0
        this.#problem = undefined
      } catch (error) {
        if (signal.aborted) return
        this.#problem = `usage is not told by Kafka: ${messageOf(error)}`
        this.#often.once('next', (held) =>
          this.#options.log.warn({ error: messageOf(error), held }, 'usage is not told by Kafka, it is tried again'),
        )
        pause = PAUSE_MS
      }
      await sleep(pause, undefined, { signal }).catch(() => {}) // stopping: the loop ends
    }
  }

  /** @returns whether there is more */
  async #next(signal: AbortSignal): Promise<boolean> {
    const { read, storedUpTo } = this.#options
    const upTo = storedUpTo()
    const { n: after, since } = this.#cursor
    if (this.#newest <= after || upTo <= after) return false
    const events = await read({ after, upTo, since }, AT_ONCE)
    if (events.length > 0) await this.#publish(events, signal)
    const last = events.at(-1)
    const more = last !== undefined && events.length === AT_ONCE
    const sorted = last !== undefined && last.n >= this.#unsorted
    this.#cursor = { n: more ? last.n : upTo, since: sorted ? Math.floor(last.at / 1000) : this.#cursor.since }
    await this.#save()
    return more
  }

  async #publish(events: readonly StoredUsageEvent[], signal: AbortSignal): Promise<void> {
    const { topic, log } = this.#options
    const items = events.map(({ at, event }) => ({ tenant: event.tenant_id, at, road: 'kafka', topic, event }) as const)
    const tooLarge = await this.#publisher.publish(items, signal)
    for (const item of tooLarge)
      if ('event' in item)
        log.error(
          { tenant: item.tenant, id: item.event.event_id, task: item.event['task_id'] },
          'usage of a task is larger than any broker takes, it is not told by Kafka: ask GET /v1/events/ID for it',
        )
    this.#counts.published += events.length - tooLarge.length
    this.#counts.tooLarge += tooLarge.length
  }

  async #load(): Promise<Cursor | undefined> {
    const { files, directory, log } = this.#options
    await files.makeDirectory(directory)
    if (!(await files.list(directory)).includes(FILE)) return undefined
    const file = join(directory, FILE)
    const cursor = cursorIn(await files.read(file))
    if (cursor === undefined) log.error({ file }, 'it cannot be read: all usage that is stored is told once more')
    return cursor ?? { n: 0, since: 0 }
  }

  #save(): Promise<void> {
    const { files, directory } = this.#options
    return files.replace(directory, FILE, utf8Encode(JSON.stringify(this.#cursor)))
  }
}

function cursorIn(bytes: Uint8Array): Cursor | undefined {
  try {
    const { n, since } = JSON.parse(utf8Decode(bytes)) as Partial<Cursor>
    return Number.isSafeInteger(n) && Number.isSafeInteger(since) ? { n: n!, since: since! } : undefined
  } catch {
    return undefined // said by who asked
  }
}
