/** The intake with its warm-up: begins when recent points are in memory, and says when answers are whole. */
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { BatchHeader } from '../../proto/wire/batch.ts'
import type { HotService } from '../hot/hot-service.ts'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import type { Store } from '../store/store.ts'
import type { IntakeAnswer, IntakeCounts, IntakeOptions } from './intake.ts'
import { Intake } from './intake.ts'
import { WarmUp } from './warm-up.ts'
import { Watermarks } from './watermarks.ts'

export interface IntakeServiceOptions extends IntakeOptions {
  /** Where the collectors that send are noted. */
  readonly collectorsFile: string
}

export class IntakeService implements Service {
  readonly name = 'intake'
  /** What has come in and is visible, and what is stored. */
  readonly visible: Watermarks = new Watermarks()
  readonly stored: Watermarks = new Watermarks()
  readonly #registry: SeriesRegistry
  readonly #hot: HotService
  readonly #store: Store
  readonly #options: IntakeServiceOptions
  readonly #warmUp: WarmUp
  #intake: Intake | undefined

  constructor(registry: SeriesRegistry, hot: HotService, store: Store, options: IntakeServiceOptions) {
    this.#registry = registry
    this.#hot = hot
    this.#store = store
    this.#options = options
    this.#warmUp = new WarmUp(options.collectorsFile, this.visible, options.clock)
  }

  /** Why questions cannot be answered yet; undefined when they can. */
  get notReady(): string | undefined {
    return this.#warmUp.reason
  }

  get counts(): Readonly<IntakeCounts> | undefined {
    return this.#intake?.counts
  }

  get sessions(): number {
    return this.#intake?.sessions ?? 0
  }

  async start(): Promise<void> {
    this.#intake = new Intake(
      this.#registry,
      this.#hot.series,
      this.#store,
      { visible: this.visible, stored: this.stored },
      { ...this.#options, before: (collector) => this.#warmUp.known(collector) },
    )
    await this.#warmUp.start()
  }

  async stop(): Promise<void> {
    await this.#warmUp.stop()
  }

  health(): Health {
    const reason = this.notReady
    return reason === undefined ? { ready: true } : { ready: false, detail: reason }
  }

  receive(bytes: Uint8Array, unproven?: BatchHeader[]): Promise<IntakeAnswer> {
    return this.#intake === undefined ? Promise.resolve({ kind: 'full' }) : this.#intake.receive(bytes, unproven)
  }

  proven(headers: readonly BatchHeader[]): void {
    this.#intake?.proven(headers)
  }

  sweep(now: number): void {
    this.#intake?.sweep(now)
  }
}
