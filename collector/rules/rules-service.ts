/**
 * Between the shards' threads and the rules' own: hands on what shards give out of their windows, in order, until it was taken.
 *
 *     shard thread ── tick ──▶ forward ── emission ──▶ here ──▶ rules thread (merge, journal) ──▶ its own forward
 *
 * When the rules' thread is a new one (it failed), it knows of no window: every shard gives out all that it keeps again.
 *
 * When rules change, all threads are opened anew, as after a restart: windows are made of the journals again, by the new rules.
 * Until all have been, none gives anything out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { commonBounds } from '../shard/rule-windows.ts'
import type { ShardSetup, ShardThread } from '../shard/shard-thread.ts'
import type { TimedEmission } from './shard-rules.ts'

const RETRY_PAUSE_MS = 500
/** What cannot be merged must not hold up what comes behind it; its windows stay with the shard, and in the journal. */
const ATTEMPTS_MAX = 20
/** No thread's. */
const UNKNOWN = -1

export class RulesService implements Service {
  readonly name = 'rules'
  readonly #thread: ShardThread
  readonly #shards: readonly ShardThread[]
  readonly #log: Logger
  #generation = 0
  #stopping = false
  #changing = false
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
    const bounds = commonBounds(this.#shards.map((shard) => shard.snapshot?.windows))
    await Promise.all(this.#shards.map((shard) => shard.boundWindows(bounds)))
  }

  async stop(): Promise<void> {
    this.#stopping = true
  }

  health(): Health {
    return this.#changing ? { ready: true, detail: 'rules are changing: windows are made again' } : { ready: true }
  }

  /** Whether shards may give out windows. */
  get emits(): boolean {
    return !this.#changing
  }

  /**
   * Opens all threads anew; what was given out before by none of them is taken any more. Tries until it works, or this process stops.
   * @param shards in the order of the shards
   */
  async change(setup: ShardSetup, shards: readonly ShardSetup[]): Promise<void> {
    this.#changing = true
    this.#kept = 0
    let open = async (): Promise<unknown> => {
      // First the merger: what it has journalled by then is told of, and what comes after it is not taken any more.
      const merger = this.#thread.reopen(setup)
      const kept = await merger.then(
        () => this.#thread.snapshot?.merged?.keptBefore,
        () => undefined, // of no shard; that it failed is said below
      )
      return Promise.all([merger, ...this.#shards.map((shard, i) => shard.reopen(shards[i]!, kept?.[i]))])
    }
    for (let attempt = 1; !this.#stopping; attempt++) {
      try {
        await open()
        await this.start()
        break
      } catch (error) {
        this.#log.error({ attempt, error: messageOf(error) }, 'a shard does not open with the changed rules')
        await sleep(RETRY_PAUSE_MS)
      }
      // Each has the new options, and those that failed open with them.
      open = () => Promise.all([this.#thread, ...this.#shards].map((thread) => thread.start()))
    }
    this.#changing = false
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
        if (attempt === ATTEMPTS_MAX) {
          this.#generation = UNKNOWN // names of groups were in it that later ones take for known: all is told again
          return 0
        }
        await sleep(RETRY_PAUSE_MS)
      }
    }
    return 0
  }
}
