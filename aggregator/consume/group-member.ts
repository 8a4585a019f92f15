/**
 * Membership of a group for as long as the process runs: waits for topics that do not exist, begins again after whatever ended it,
 * and knows how far behind it is.
 *
 *     which topics exist ──▶ consume them ──▶ one more exists, or it ended: from the start, after a pause (full jitter) where it failed
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Consumption, Kafka, Lease, ReceivedBatch } from '../../proto/kafka/port.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'

export interface GroupMemberOptions {
  /** What it is in log lines. */
  readonly name: string
  readonly topics: readonly string[]
  readonly group: string
  readonly batchBytes: number
  readonly backoffMaxMs: number
  /** How often it is looked for new topics, and how far behind we are, ms. */
  readonly lookEveryMs?: number | undefined
  readonly onBatch: (batch: ReceivedBatch, lease: Lease) => Promise<void>
  /** The group was shared out anew: every partition begins again where it was committed. */
  readonly onAssigned?: () => void
  readonly log: Logger
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

/** They wait for an insert, most of the time: the fewer, the longer a broker's other partitions wait behind them. */
const PARTITIONS_AT_ONCE = 64
const LOOK_EVERY_MS = 10_000
export const BACKOFF_MIN_MS = 100
const LOG_EVERY_MS = 30_000

interface Position {
  /** Done so far; −1 where nothing was heard of it. */
  next: bigint
  end: bigint
}

export class GroupMember {
  readonly #kafka: Kafka
  readonly #options: GroupMemberOptions
  readonly #often: RateLimitedLog
  readonly #stopping = new AbortController()
  /** By `topic/partition`, those that are ours. */
  readonly #positions = new Map<string, Position>()
  #running: Promise<void> = Promise.resolve()
  #problem: string | undefined
  #missing: readonly string[] = []
  #assignments = 0

  constructor(kafka: Kafka, options: GroupMemberOptions) {
    this.#kafka = kafka
    this.#options = options
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
  }

  /** Why nothing is consumed; undefined while it is. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Topics that do not exist. */
  get missing(): readonly string[] {
    return this.#missing
  }

  /** How often the group was shared out. */
  get assignments(): number {
    return this.#assignments
  }

  owns(key: string): boolean {
    return this.#positions.has(key)
  }

  /** How many messages of each topic are not done yet in the partitions that are ours, as far as that was heard last. */
  get lag(): ReadonlyMap<string, number> {
    const sums = new Map<string, number>()
    for (const [key, { next, end }] of this.#positions) {
      const topic = key.slice(0, key.lastIndexOf('/'))
      sums.set(topic, (sums.get(topic) ?? 0) + (next < 0n ? 0 : Number(end - next)))
    }
    return sums
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Resolves when the batches under way are finished and the group knows that we are gone. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  /** Everything of a partition before `next` is done. */
  done({ topic, partition, end }: ReceivedBatch, next: bigint): void {
    this.#positions.set(`${topic}/${partition}`, { next, end })
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    const { name, log, random, backoffMaxMs } = this.#options
    for (let attempt = 0; !signal.aborted; ) {
      try {
        await this.#consume()
        attempt = 0
      } catch (error) {
        if (signal.aborted) return
        this.#problem = messageOf(error)
        this.#often.once('run', (held) =>
          log.warn({ service: name, error: this.#problem, held }, 'nothing is consumed, it is tried again'),
        )
        const pause = random() * Math.min(backoffMaxMs, BACKOFF_MIN_MS * 2 ** Math.min(attempt++, 20))
        await sleep(pause, undefined, { signal }).catch(() => {}) // stopping: the loop ends
      }
    }
  }

  async #consume(): Promise<void> {
    const { signal } = this.#stopping
    const topics = await this.#kafka.existing(this.#options.topics)
    this.#missing = this.#options.topics.filter((topic) => !topics.includes(topic))
    const until = new AbortController()
    const stop = (): void => until.abort()
    signal.addEventListener('abort', stop)
    let ended: Error | undefined
    let consumption: Consumption | undefined
    try {
      if (topics.length > 0)
        consumption = await this.#kafka.consume({
          group: this.#options.group,
          topics,
          concurrency: PARTITIONS_AT_ONCE,
          batchBytes: this.#options.batchBytes,
          onBatch: this.#options.onBatch,
          onAssigned: (assigned) => this.#assigned(assigned),
          onEnd: (error) => {
            ended = error
            until.abort()
          },
        })
      this.#problem = undefined
      await this.#untilMoreTopics(topics, until.signal)
    } finally {
      signal.removeEventListener('abort', stop)
      await consumption?.stop()
    }
    if (ended !== undefined) throw ended
  }

  async #untilMoreTopics(consumed: readonly string[], until: AbortSignal): Promise<void> {
    const { topics, log, name, lookEveryMs = LOOK_EVERY_MS } = this.#options
    for (;;) {
      await sleep(lookEveryMs, undefined, { signal: until }).catch(() => {}) // the next line
      if (until.aborted) return
      try {
        if ((await this.#kafka.existing(topics)).some((topic) => !consumed.includes(topic))) return
        for (const topic of consumed)
          for (const [partition, { end }] of await this.#kafka.offsets(topic)) {
            const position = this.#positions.get(`${topic}/${partition}`)
            if (position !== undefined) position.end = end
          }
      } catch (error) {
        log.debug({ service: name, error: messageOf(error) }, 'topics are not looked at')
      }
    }
  }

  #assigned(assigned: Readonly<Record<string, readonly number[]>>): void {
    this.#assignments++
    this.#options.onAssigned?.()
    const keys = Object.entries(assigned).flatMap(([topic, partitions]) => partitions.map((n) => `${topic}/${n}`))
    for (const key of this.#positions.keys()) if (!keys.includes(key)) this.#positions.delete(key)
    for (const key of keys) if (!this.#positions.has(key)) this.#positions.set(key, { next: -1n, end: -1n })
    this.#options.log.info({ service: this.#options.name, assigned }, 'partitions are assigned')
  }
}
