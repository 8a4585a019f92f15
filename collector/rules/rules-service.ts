/**
 * Between the shards' threads and the rules' own: hands on what shards give out of their windows, in order, until it was taken.
 *
 *     shard thread ── tick ──▶ forward ── emission ──▶ here ──▶ rules thread (merge, journal) ──▶ its own forward
 *
 * When the rules' thread is a new one (it failed), it knows of no window: every shard gives out all that it keeps again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { ShardThread } from '../shard/shard-thread.ts'
import type { TimedEmission } from './shard-rules.ts'

const RETRY_PAUSE_MS = 500
/** What cannot be merged must not hold up what comes behind it; its windows stay with the shard, and in the journal. */
const ATTEMPTS_MAX = 20

export class RulesService implements Service {
  readonly name = 'rules'
  readonly #thread: ShardThread
  readonly #shards: readonly ShardThread[]
  readonly #log: Logger
  #generation = 0
  #stopping = false
  /** The latest emission of any shard whose outputs are journalled, ms. */
  #kept = 0

  /** @param shards those that rules are fed by */
  constructor(thread: ShardThread, shards: readonly ShardThread[], log: Logger) {
    this.#thread = thread
    this.#shards = shards
    this.#log = log
  }

  /** A window is given out only where the journals of all shards have all of it, and none has given it out for good. */
  async start(): Promise<void> {
    this.#generation = this.#thread.generation
    const floors = this.#shards.map((shard) => shard.snapshot?.windows.floor ?? Number.NEGATIVE_INFINITY)
    const closed = this.#shards.map((shard) => shard.snapshot?.windows.closed ?? Number.NEGATIVE_INFINITY)
    const bounds = { floor: Math.max(...floors), closed: Math.max(...closed) }
    await Promise.all(this.#shards.map((shard) => shard.boundWindows(bounds)))
  }

  async stop(): Promise<void> {
    this.#stopping = true
  }

  health(): Health {
    return { ready: true } // the threads have their own
  }

  /**
   * Hands on until the rules' thread has it, or this process stops: then the journals have it.
   * @returns the latest emission of the shard whose outputs are journalled, by its time, ms; 0: none that is known
   */
  async give(shard: number, emission: TimedEmission): Promise<number> {
    for (let attempt = 1; !this.#stopping; attempt++) {
      try {
        const kept = await this.#thread.emission(shard, emission)
        if (this.#thread.generation === this.#generation) {
          this.#kept = Math.max(this.#kept, kept)
          return kept
        }
        this.#generation = this.#thread.generation
        await Promise.all(this.#shards.map((one) => one.emitAgain(this.#kept)))
        return 0
      } catch (error) {
        this.#log.error({ shard, attempt, error: messageOf(error) }, 'windows of rules are not taken')
        if (attempt === ATTEMPTS_MAX) return 0
        await sleep(RETRY_PAUSE_MS)
      }
    }
    return 0
  }
}
