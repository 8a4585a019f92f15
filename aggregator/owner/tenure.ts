/**
 * Whether this aggregator is the owner, where several share a log in PostgreSQL.
 *
 *     standby ──nobody was heard from──▶ taken over ──log read──▶ owner ──fenced, or unknown for too long──▶ standby
 *        └── knows who the owner is, for requests that are forwarded
 *
 * All that follows from the log is of one term: it is made anew at each take-over and dropped whole at its end, so that nothing of an
 * earlier term is ever answered.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import type { Metrics } from '../../proto/runtime/metrics.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { OperationalDatabase } from '../directory/database.ts'
import { isAway } from '../directory/database.ts'
import type { KeptFiles } from './log-files.ts'
import type { OwnerRow } from './owner-table.ts'
import { makeOwnerTables, OwnerTable } from './owner-table.ts'
import { postgresFiles } from './postgres-files.ts'
import { PostgresLog } from './postgres-log.ts'

/** What follows from the log, for as long as this aggregator is its owner. */
export interface Term {
  readonly log: PostgresLog
  /** Reads the log. */
  start(): Promise<void>
  /** Others go on from here: leaves a snapshot. */
  stop(deadline: AbortSignal): Promise<void>
  /** Nothing follows from it any more. */
  drop(): void
  health(): Health
}

export interface TenureOptions<T extends Term> {
  readonly database: OperationalDatabase
  /** Random, of this process. */
  readonly holder: string
  /** Where other aggregators reach this one. */
  readonly address: () => string
  readonly begin: (log: PostgresLog, files: KeptFiles) => T
  /** Before the first take-over: what a single aggregator has is put there. */
  readonly prepare: (database: OperationalDatabase) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
}

interface Held<T> {
  readonly generation: number
  readonly term: T
  isReady: boolean
}

const BEAT_MS = 1000
const LOOK_MS = 500
/** How long an append may not know its outcome: as long as others wait for an owner that is silent. */
const HOLD_MS = 10_000
/** A log that could not be read is tried again after this; another one may be faster. */
const PAUSE_MS = 2000
const START_WAIT_MS = 60_000
const RETRY_MS = 1000

export class Tenure<T extends Term> implements Service {
  readonly name = 'ownership'
  readonly #options: TenureOptions<T>
  readonly #table: OwnerTable
  readonly #often: RateLimitedLog
  readonly #stopping = new AbortController()
  #held: Held<T> | undefined
  #owner: OwnerRow | undefined
  #problem: string | undefined
  /** Why the last take-over came to nothing. */
  #unread: string | undefined
  #running: Promise<void> = Promise.resolve()
  #waitUntil = 0
  #terms = 0

  constructor(options: TenureOptions<T>) {
    this.#options = options
    this.#table = new OwnerTable(options.database, options.holder)
    this.#often = new RateLimitedLog(10_000, () => options.clock.monotonic())
  }

  /** The term, where this aggregator is the owner and has read the log. */
  get current(): T | undefined {
    return this.#held?.isReady === true ? this.#held.term : undefined
  }

  /** Another aggregator that is the owner, as far as is known. */
  get other(): OwnerRow | undefined {
    const owner = this.#owner
    return owner?.alive === true && owner.holder !== this.#options.holder ? owner : undefined
  }

  /** Waits a minute for a server that is not there yet. @throws FleetmeterError */
  async start(): Promise<void> {
    const { database, prepare, log } = this.#options
    for (const since = performance.now(); ; await sleep(RETRY_MS)) {
      try {
        await makeOwnerTables(database)
        await prepare(database)
        break
      } catch (error) {
        if (!isAway(error) || performance.now() - since > START_WAIT_MS) throw error
        log.warn({ error: messageOf(error) }, 'the owner log in PostgreSQL is not ready yet')
      }
    }
    await this.#step()
    this.#running = this.#run()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort()
    const held = this.#held
    this.#held = undefined
    await orAborted(this.#running, deadline)
    if (held !== undefined) {
      if (held.isReady) await held.term.stop(deadline)
      else held.term.drop()
      const { log } = this.#options
      const resigned = this.#table.resign(held.generation).catch((error: unknown) => {
        log.warn({ error: messageOf(error) }, 'the next owner has to wait for the end of this one’s term')
      })
      await orAborted(resigned, deadline)
    }
    await orAborted(this.#options.database.close(), deadline)
  }

  health(): Health {
    if (this.#problem !== undefined) return { ready: false, detail: this.#problem }
    const held = this.#held
    if (held?.isReady === true) {
      const { ready, detail = `owner, generation ${held.generation}` } = held.term.health()
      return { ready, detail }
    }
    if (held !== undefined) return { ready: false, detail: 'the owner log is being read' }
    const { other } = this
    if (other !== undefined) return { ready: true, detail: `standby of ${other.address}` }
    const why = this.#unread === undefined ? '' : `, and here the owner log cannot be read: ${this.#unread}`
    return { ready: true, detail: `standby: nobody is the owner at the moment${why}` }
  }

  register(metrics: Metrics): void {
    metrics.gauge('owner_is', '1 where this aggregator owns the log: tasks and quotas are decided here.', [], () => [
      { value: this.current === undefined ? 0 : 1 },
    ])
    metrics.gauge(
      'owner_confirmed_age_seconds',
      'How long ago the owner was last told that it is; of the owner only.',
      [],
      () => {
        const log = this.current?.log
        return log === undefined ? [] : [{ value: (this.#options.clock.monotonic() - log.confirmedAt) / 1000 }]
      },
    )
    metrics.counter('owner_terms_total', 'How often this aggregator took over.', [], () => [{ value: this.#terms }])
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const pause = this.#held === undefined ? LOOK_MS : BEAT_MS
      await sleep(pause, undefined, { signal }).catch(() => {}) // stopping: the loop ends
      if (!signal.aborted) await this.#step()
    }
  }

  async #step(): Promise<void> {
    try {
      const held = this.#held
      if (held === undefined) await this.#look()
      else await this.#beat(held)
      this.#problem = undefined
    } catch (error) {
      this.#problem = `who the owner is cannot be known: ${messageOf(error)}`
      this.#often.once('step', (again) =>
        this.#options.log.warn(
          { error: messageOf(error), held: again },
          'who the owner is cannot be known: asked again',
        ),
      )
    }
  }

  async #beat(held: Held<T>): Promise<void> {
    const began = this.#options.clock.monotonic()
    if (await this.#table.beat(held.generation)) held.term.log.confirmed(began)
    else held.term.log.abandon('another aggregator has taken over')
  }

  async #look(): Promise<void> {
    const { clock, address } = this.#options
    this.#owner = await this.#table.read()
    if (this.#owner?.alive === true || clock.monotonic() < this.#waitUntil || this.#stopping.signal.aborted) return
    const generation = await this.#table.claim(address())
    if (generation === undefined)
      this.#owner = await this.#table.read() // who was faster
    else if (!this.#stopping.signal.aborted) this.#begin(generation)
  }

  #begin(generation: number): void {
    const { database, begin, clock, log } = this.#options
    const ownerLog = new PostgresLog({
      queries: database,
      generation,
      lost: (why) => this.#lost(held, why),
      holdMs: HOLD_MS,
      monotonic: () => clock.monotonic(),
      log,
    })
    const term = begin(ownerLog, postgresFiles(database, generation))
    const held: Held<T> = { generation, term, isReady: false }
    this.#held = held
    this.#terms++
    log.info({ generation }, 'this aggregator takes over: the owner log is read')
    term.start().then(
      () => {
        if (this.#held !== held) return
        held.isReady = true
        this.#unread = undefined
        log.info({ generation, records: ownerLog.end }, 'this aggregator is the owner')
      },
      (error: unknown) => {
        if (this.#held !== held) return
        log.error(
          { generation, error: messageOf(error) },
          'the owner log cannot be read: another aggregator may take over',
        )
        this.#unread = messageOf(error)
        this.#waitUntil = clock.monotonic() + PAUSE_MS
        ownerLog.abandon('it could not be read')
        this.#table.resign(generation).catch(() => {}) // then its term ends by itself
      },
    )
  }

  /** In the turn in which it is noticed: nothing of the term is answered from now on. */
  #lost(held: Held<T>, why: string): void {
    held.term.drop()
    if (this.#held !== held) return
    this.#held = undefined
    this.#options.log.warn({ generation: held.generation, why }, 'this aggregator is the owner no more: standby')
  }
}
