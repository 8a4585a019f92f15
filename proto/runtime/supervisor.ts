/**
 * Starts the services of a process from the end of the data path to its front, keeps them running, and stops them from the
 * front to the end, so that nobody ever speaks to a service that is not there.
 *
 *     starting ──▶ running ──▶ stopping ──▶ stopped
 *                   │    ▲
 *          handle() rejects: the service is stopped, started again after a pause that doubles, and given up (unhealthy,
 *          the process is no longer ready) after RESTARTS_MAX in a row
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from './errors.ts'
import type { Logger } from './log.ts'
import { orAborted } from './or-aborted.ts'
import type { Health, MailboxService, Service } from './service.ts'
import { hasMailbox } from './service.ts'

const RESTARTS_MAX = 5
const RESTART_PAUSE_MS = 100
const RESTART_PAUSE_MAX_MS = 5000
/** A service that has worked this long has recovered: its restarts are forgotten. */
const RESTART_FORGET_MS = 60_000

type Phase = 'starting' | 'running' | 'stopping' | 'stopped'

export interface SupervisorOptions {
  readonly log: Logger
  /** Most time that stop() may take over all services, ms. */
  readonly stopDeadlineMs: number
}

export class Supervisor {
  readonly #services: readonly Service[]
  readonly #log: Logger
  readonly #stopDeadlineMs: number
  readonly #loops = new Map<Service, Promise<void>>()
  readonly #failed = new Map<Service, string>()
  readonly #started = new Set<Service>()
  #starting: Promise<void> = Promise.resolve()
  #phase: Phase = 'starting'
  #restarts = 0

  /** @param services along the data path: each only uses those behind it */
  constructor(services: readonly Service[], options: SupervisorOptions) {
    this.#services = services
    this.#log = options.log
    this.#stopDeadlineMs = options.stopDeadlineMs
  }

  get restarts(): number {
    return this.#restarts
  }

  /** Resolves when every service has started; rejects with the first error, after stopping those that had. */
  start(): Promise<void> {
    this.#starting = this.#startAll()
    return this.#starting
  }

  async #startAll(): Promise<void> {
    const started = this.#started
    for (const service of this.#services.toReversed()) {
      if (this.#phase !== 'starting') return // asked to stop meanwhile
      try {
        await service.start()
      } catch (error) {
        this.#log.error({ service: service.name, error: messageOf(error) }, 'service does not start')
        for (const other of [...started].toReversed())
          await other.stop(AbortSignal.timeout(this.#stopDeadlineMs)).catch(() => {})
        this.#phase = 'stopped'
        throw error
      }
      started.add(service)
      if (hasMailbox(service)) this.#loops.set(service, this.#run(service))
    }
    if (this.#phase === 'starting') this.#phase = 'running'
  }

  /** Closes and drains service after service. Resolves also when the deadline cuts it short; never rejects. */
  async stop(): Promise<void> {
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return
    this.#phase = 'stopping'
    // A timer that holds the process: AbortSignal.timeout() would let it end with nothing else to wait for.
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), this.#stopDeadlineMs)
    const deadline = abort.signal
    await orAborted(
      this.#starting.catch(() => {}),
      deadline,
    )
    for (const service of this.#services) {
      if (!this.#started.has(service)) continue
      try {
        if (hasMailbox(service)) {
          service.mailbox.close()
          await orAborted(this.#loops.get(service) ?? Promise.resolve(), deadline)
        }
        await service.stop(deadline)
      } catch (error) {
        this.#log.error({ service: service.name, error: messageOf(error) }, 'service does not stop cleanly')
      }
    }
    clearTimeout(timer)
    this.#phase = 'stopped'
  }

  /** Ready when running and every service says so; the names and reasons of those that do not. */
  health(): Health & { readonly services: Readonly<Record<string, Health>> } {
    const services: Record<string, Health> = {}
    for (const service of this.#services) {
      const failed = this.#failed.get(service)
      services[service.name] = failed === undefined ? service.health() : { ready: false, detail: failed }
    }
    const waiting = Object.entries(services).find(([, health]) => !health.ready)
    if (this.#phase !== 'running') return { ready: false, detail: this.#phase, services }
    if (waiting !== undefined)
      return { ready: false, detail: `${waiting[0]}: ${waiting[1].detail ?? 'not ready'}`, services }
    return { ready: true, services }
  }

  async #run(service: MailboxService<unknown>): Promise<void> {
    let failures = 0
    let lastFailure = 0
    for (;;) {
      await service.mailbox.filled()
      const pause = service.pauseMs?.() ?? 0
      if (pause > 0) await sleep(pause)
      const messages = await service.mailbox.take(service.batch.messages, service.batch.weight)
      if (messages.length === 0) return
      try {
        await service.handle(messages)
      } catch (error) {
        if (performance.now() - lastFailure > RESTART_FORGET_MS) failures = 0
        lastFailure = performance.now()
        failures++
        this.#log.error({ service: service.name, failures, error: messageOf(error) }, 'service failed')
        if (!(await this.#restart(service, failures))) return
      }
    }
  }

  async #restart(service: Service, failures: number): Promise<boolean> {
    for (let attempt = failures; attempt <= RESTARTS_MAX; attempt++) {
      this.#failed.set(service, 'restarting')
      await sleep(Math.min(RESTART_PAUSE_MS * 2 ** (attempt - 1), RESTART_PAUSE_MAX_MS))
      try {
        await service.stop(AbortSignal.timeout(1000)).catch(() => {})
        await service.start()
        this.#restarts++
        this.#failed.delete(service)
        this.#log.warn({ service: service.name }, 'service restarted')
        return true
      } catch (error) {
        this.#log.error({ service: service.name, error: messageOf(error) }, 'service does not restart')
      }
    }
    this.#failed.set(service, 'given up after repeated failures')
    return false
  }
}
