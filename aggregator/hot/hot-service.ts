/** The owner of recent points: fills them at the start, gives up what is too old. */
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { Database } from '../store/clickhouse.ts'
import { chooseFloor, fillHot } from './fill.ts'
import type { HotBounds } from './hot-series.ts'
import { HotSeries } from './hot-series.ts'
import type { SeriesRegistry } from './series-registry.ts'

const EVICT_EVERY_MS = 2000

export interface HotServiceOptions {
  readonly bounds: HotBounds
  readonly database: string
  readonly clock: Clock
  readonly log: Logger
  /** Called after each round of giving up: others forget then too. */
  readonly evicted: (now: number) => void
}

export class HotService implements Service {
  readonly name = 'hot'
  readonly registry: SeriesRegistry
  readonly #db: Database
  readonly #options: HotServiceOptions
  #series: HotSeries | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(db: Database, registry: SeriesRegistry, options: HotServiceOptions) {
    this.#db = db
    this.registry = registry
    this.#options = options
  }

  /** @throws Error before the start */
  get series(): HotSeries {
    if (this.#series === undefined) throw new Error('hot series are not filled yet')
    return this.#series
  }

  async start(): Promise<void> {
    const { bounds, database, clock, log } = this.#options
    const started = clock.monotonic()
    const hot = new HotSeries(bounds, await chooseFloor(this.#db, database, bounds, clock.now()))
    const points = await fillHot(this.#db, database, hot, this.registry)
    this.#series = hot
    log.info(
      { points, series: this.registry.count, ms: Math.round(clock.monotonic() - started) },
      'recent points are in memory',
    )
    this.#timer = setInterval(() => {
      hot.evict(clock.now(), this.registry.slots)
      this.#options.evicted(clock.now())
    }, EVICT_EVERY_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
  }

  health(): Health {
    return this.#series === undefined ? { ready: false, detail: 'recent points are being read' } : { ready: true }
  }
}
