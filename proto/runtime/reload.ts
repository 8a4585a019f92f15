/**
 * Reading the configuration again while the program runs (SIGHUP).
 *
 *     read and check all of it ──▶ prepare what is new ──▶ take it over, at one moment
 *            └─ anything wrong: nothing changes; logged, counted, shown in /readyz
 *
 * Settings that cannot be changed while the program runs keep their values; those that differ are named in the log and in /readyz.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from './clock.ts'
import type { Section } from './config.ts'
import { fileName, keysOf } from './config.ts'
import { messageOf } from './errors.ts'
import type { LoadedConfig } from './load-config.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Health, Service } from './service.ts'

export interface ReloadOptions<A, B> {
  /** Reads it from where it was read at the start. @throws FleetmeterError `FM_CONFIG` */
  readonly read: () => LoadedConfig<A, B>
  readonly current: Pick<LoadedConfig<A, B>, 'shared' | 'own'>
  readonly sections: { readonly shared: Section<A>; readonly own: Section<B> }
  /**
   * Makes what a changed configuration needs.
   * @returns what takes it over: at once, and without failing; what it resolves with is waited for before the next reload
   * @throws where it cannot be used after all: nothing has changed then
   */
  readonly prepare: (shared: Readonly<A>, own: Readonly<B>) => () => Promise<void> | void
  readonly clock: Clock
  readonly log: Logger
}

export class Reload<A extends object, B extends object> implements Service {
  readonly name = 'config'
  readonly #options: ReloadOptions<A, B>
  #shared: Readonly<A>
  #own: Readonly<B>
  #takenAt: number
  #taken = 0
  #refused = 0
  #problem: string | undefined
  /** Names of settings that differ from those in force until a restart. */
  #kept: readonly string[] = []
  #running: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(options: ReloadOptions<A, B>) {
    this.#options = options
    this.#shared = options.current.shared
    this.#own = options.current.own
    this.#takenAt = options.clock.now()
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /** The old configuration is in force, and works: that a new one is wrong is no reason to send nobody here. */
  health(): Health {
    const waiting =
      this.#kept.length === 0 ? undefined : `changed, and in force after a restart: ${this.#kept.join(', ')}`
    const detail = this.#problem ?? waiting
    return detail === undefined ? { ready: true } : { ready: true, detail }
  }

  /** Reads the configuration again, now or after the reload that is going on. Never throws. */
  request(): void {
    if (this.#stopped) return
    if (this.#running !== undefined) {
      this.#again = true
      return
    }
    this.#running = this.#reload().finally(() => {
      this.#running = undefined
      if (!this.#again) return
      this.#again = false
      this.request()
    })
  }

  register(metrics: Metrics): void {
    metrics.gauge(
      'config_reload_last_success_timestamp_seconds',
      'When the configuration in force was read.',
      [],
      () => [{ value: this.#takenAt / 1000 }],
    )
    metrics.gauge(
      'config_reload_last_successful',
      '1: the configuration in force is the one that was read last; 0: that one was wrong, see the log.',
      [],
      () => [{ value: this.#problem === undefined ? 1 : 0 }],
    )
    metrics.counter('config_reloads_total', 'Reloads of the configuration (SIGHUP), by result.', ['result'], () => [
      { labels: { result: 'taken' }, value: this.#taken },
      { labels: { result: 'refused' }, value: this.#refused },
    ])
  }

  async #reload(): Promise<void> {
    const { read, sections, prepare, log, clock } = this.#options
    let takeOver: () => Promise<void> | void
    let shared: Merged<A>
    let own: Merged<B>
    try {
      const next = read()
      shared = merge(sections.shared, this.#shared, next.shared)
      own = merge(sections.own, this.#own, next.own)
      takeOver = prepare(shared.values, own.values)
    } catch (error) {
      this.#refused++
      this.#problem = `the configuration that was read at ${new Date(clock.now()).toISOString()} is wrong and not in force: see the log`
      log.error({ error: messageOf(error) }, 'configuration is not reloaded: nothing has changed')
      return
    }
    this.#shared = shared.values
    this.#own = own.values
    this.#takenAt = clock.now()
    this.#taken++
    this.#problem = undefined
    const taking = takeOver()
    log.info({ changed: [...shared.changed, ...own.changed] }, 'configuration reloaded')
    this.#kept = [...shared.kept, ...own.kept]
    if (this.#kept.length > 0) log.warn({ settings: this.#kept }, 'settings differ that only a restart takes over')
    await taking
  }
}

interface Merged<C> {
  readonly values: Readonly<C>
  /** Names in the file: of settings that are taken over, and of those that differ and are not. */
  readonly changed: readonly string[]
  readonly kept: readonly string[]
}

function merge<C extends object>(section: Section<C>, before: Readonly<C>, next: Readonly<C>): Merged<C> {
  const values: Record<keyof C & string, unknown> = { ...before }
  const changed: string[] = []
  const kept: string[] = []
  for (const key of keysOf(section) as (keyof C & string)[]) {
    if (isDeepStrictEqual(before[key], next[key])) continue
    const name = fileName(section.name, key)
    if (section.reloads?.includes(key)) {
      values[key] = next[key]
      changed.push(name)
    } else kept.push(name)
  }
  return { values: Object.freeze(values) as Readonly<C>, changed, kept }
}
