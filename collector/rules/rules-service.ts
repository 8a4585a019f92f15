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
import type { Emission } from './shard-rules.ts'

const RETRY_PAUSE_MS = 500

export class RulesService implements Service {
  readonly name = 'rules'
  readonly #thread: ShardThread
  readonly #shards: readonly ShardThread[]
  readonly #log: Logger
  #generation = 0
  #stopping = false

  /** @param shards those that rules are fed by */
  constructor(thread: ShardThread, shards: readonly ShardThread[], log: Logger) {
    this.#thread = thread
    this.#shards = shards
    this.#log = log
  }

  /** A window is given out only where the journals of all shards have all of it. */
  async start(): Promise<void> {
    this.#generation = this.#thread.generation
    const floor = Math.max(...this.#shards.map((shard) => shard.snapshot?.floor ?? Number.NEGATIVE_INFINITY))
    if (floor > Number.NEGATIVE_INFINITY) await Promise.all(this.#shards.map((shard) => shard.raiseFloor(floor)))
  }

  async stop(): Promise<void> {
    this.#stopping = true
  }

  health(): Health {
    return { ready: true } // the threads have their own
  }

  /**
   * Resolves when the rules' thread has it, or this process stops: then the journals have it.
   * @returns whether its outputs are journalled
   */
  async give(shard: number, emission: Emission): Promise<boolean> {
    while (!this.#stopping) {
      try {
        const kept = await this.#thread.emission(shard, emission)
        if (this.#thread.generation !== this.#generation) {
          this.#generation = this.#thread.generation
          await Promise.all(this.#shards.map((one) => one.emitAgain()))
          return false
        }
        return kept
      } catch (error) {
        this.#log.error({ shard, error: messageOf(error) }, 'windows of rules are not taken, trying again')
        await sleep(RETRY_PAUSE_MS)
      }
    }
    return false
  }
}
