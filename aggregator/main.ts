/**
 * The aggregator, along the path of a batch:
 *
 *     http ──▶ intake ──▶ hot series (visible)
 *                │  └───▶ store ──▶ ClickHouse (embedded engine, or a server) ◀── roller
 *              queries: hot series and ClickHouse
 *
 * Listed in that order below; started from the end, stopped from the front.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getRequestListener } from '@hono/node-server'
import { Access, findToken, Networks } from '../proto/runtime/access.ts'
import { systemClock } from '../proto/runtime/clock.ts'
import type { ProgramText } from '../proto/runtime/config-help.ts'
import { lockDirectory } from '../proto/runtime/directory-lock.ts'
import { faultsFrom } from '../proto/runtime/fault.ts'
import { pathOf, sendError } from '../proto/runtime/http-answers.ts'
import { HttpService } from '../proto/runtime/http-server.ts'
import { loadConfig } from '../proto/runtime/load-config.ts'
import { createLogger } from '../proto/runtime/log.ts'
import { Metrics } from '../proto/runtime/metrics.ts'
import { OwnState } from '../proto/runtime/own-state.ts'
import type { Program } from '../proto/runtime/program.ts'
import { runProgram } from '../proto/runtime/program.ts'
import { Reload } from '../proto/runtime/reload.ts'
import { sharedSection } from '../proto/runtime/shared-config.ts'
import { Supervisor } from '../proto/runtime/supervisor.ts'
import { aggregatorSection } from './config.ts'
import { EngineProcess } from './engine/engine-process.ts'
import { HotService } from './hot/hot-service.ts'
import { SeriesRegistry } from './hot/series-registry.ts'
import { handleIntake, isIntakePath } from './intake/intake-routes.ts'
import { IntakeService } from './intake/intake-service.ts'
import { registerAggregatorMetrics } from './metrics.ts'
import { Page } from './page/page.ts'
import { StoredParts } from './prometheus/stored-parts.ts'
import { Limiter } from './query/limiter.ts'
import type { MetricQueryContext } from './query/metric-query.ts'
import { QueryUnavailable } from './query/metric-query.ts'
import { queryRoutes } from './query/routes.ts'
import { StoredSeries } from './query/stored-series.ts'
import { ClickHouseMarkTable } from './rollup/mark-table.ts'
import { Marks } from './rollup/marks.ts'
import { ClickHouseRollups } from './rollup/recompute.ts'
import { Roller } from './rollup/roller.ts'
import { ClickHouse } from './store/clickhouse.ts'
import { DatabaseService } from './store/database-service.ts'
import { Store } from './store/store.ts'
import { mergeSettledDays } from './store/upkeep.ts'

const DAY_MS = 86_400_000
/** A question over exactly as long as memory reaches back has taken a moment to come. */
const HOT_GRACE_MS = 30_000
const PROGRAM: ProgramText = {
  name: 'aggregator',
  about: 'shows the samples of collectors within a second, stores them in ClickHouse and answers questions about them.',
  command: 'npm run aggregator --',
}
/** A remote read waits this long for the last insert. */
const SETTLE_MS = 10_000
/** Paths that take samples: here they are told where to go. */
const COLLECTOR_DOORS: ReadonlySet<string> = new Set(['/api/v1/write', '/v1/metrics/batch'])

async function build(): Promise<Program | { print: string }> {
  const sources = { argv: process.argv.slice(2), env: process.env, columns: process.stdout.columns }
  const read = () => loadConfig(PROGRAM, sharedSection, aggregatorSection, ['collector'], sources)
  const loaded = read()
  const { shared, own, print } = loaded
  if (print !== undefined) return { print }
  const log = createLogger('aggregator', shared.logLevel)
  const clock = systemClock
  const directory = join(shared.dataDir, 'aggregator')
  const lock = await lockDirectory(directory)
  const token = findToken(shared.token, shared.dataDir)
  const access = new Access({ ...shared, token: token.token })
  const database = own.clickhouseDatabase
  const lateMaxMs = (shared.pointsDays - 1) * DAY_MS

  const db = new ClickHouse()
  const embedded = own.clickhouseUrl === ''
  const engine = embedded
    ? new EngineProcess(
        {
          directory: join(directory, 'engine'),
          spool: join(directory, 'spool'),
          memoryBytesMax: own.engineMemoryBytes,
          env: process.env,
          log,
        },
        ({ url, password }) => db.connect({ url, username: 'default', password }),
      )
    : undefined
  if (!embedded) db.connect({ url: own.clickhouseUrl, username: own.clickhouseUser, password: own.clickhousePassword })
  const databaseService = new DatabaseService(
    db,
    database,
    { pointsDays: shared.pointsDays, rollupDays: own.rollupDays },
    log,
  )

  const registry = new SeriesRegistry()
  const bounds = { ageMs: own.hotMinutes * 60_000 + HOT_GRACE_MS, bytesMax: own.hotBytes }
  const hot = new HotService(db, registry, { bounds, database, clock, log, evicted: (now) => intake.sweep(now) })
  const markTable = new ClickHouseMarkTable(db, database)
  const marks = new Marks(markTable, embedded, () => clock.now())
  const store = new Store(db, marks, {
    database,
    insertRows: own.insertRows,
    insertAfterMs: own.insertAfterMs,
    insertFewAfterMs: own.insertFewAfterMs,
    rowsMax: own.waitingRowsMax,
    clock,
    faults: faultsFrom(shared.fault),
    log,
  })
  const roller = new Roller(marks, new ClickHouseRollups(db, database), {
    intervalMs: own.rollupIntervalMs,
    graceMs: own.rollupGraceMs,
    lateMaxMs,
    clock,
    log,
    upkeep: [
      function dropClearedMarks(now): Promise<void> {
        return markTable.dropCleared(new Date(now - DAY_MS).toISOString().slice(0, 10))
      },
      function mergeSettled(now): Promise<void> {
        return mergeSettledDays(db, database, now)
      },
    ],
  })
  const intake = new IntakeService(registry, hot, store, {
    quarantine: join(directory, 'quarantine'),
    collectorsFile: join(directory, 'collectors.json'),
    lateMaxMs,
    clock,
    log,
  })

  /** Those of the settings that a reload changes are asked for when they are needed. */
  let inForce = own
  const limiter = new Limiter({ perSecond: own.rateLimitQps, burst: own.rateLimitBurst, now: () => clock.monotonic() })
  const metrics = new Metrics('aggregator')
  const observed = registerAggregatorMetrics(metrics, { intake, hot, store, roller, limiter, engine })
  const stored = new StoredSeries(db, database)
  const storedProblem = (): string | undefined => engine?.health().detail
  const context: MetricQueryContext = {
    get hot() {
      return hot.series
    },
    registry,
    stored,
    dirtyHours: async () => new Set((await marks.open()).filter((mark) => mark.level === 1).map((mark) => mark.start)),
    storedProblem,
    flush: () => store.flush(),
    now: () => clock.now(),
    pointsMs: shared.pointsDays * DAY_MS,
    lateMaxMs,
    pointsPerSeriesMax: own.pointsMax,
    get seriesScannedMax() {
      return inForce.seriesScannedMax
    },
  }
  const app = queryRoutes({
    access,
    limiter,
    context,
    prometheus: {
      db,
      database,
      read: {
        parts: new StoredParts(db, database),
        settled: () => settled(store, storedProblem),
        now: () => clock.now(),
        pointsMs: shared.pointsDays * DAY_MS,
        get seriesMax() {
          return inForce.seriesScannedMax
        },
        get itemsMax() {
          return inForce.remoteReadItemsMax
        },
      },
    },
    overview: {
      get hot() {
        return hot.series
      },
      registry,
      now: () => clock.now(),
      stored,
      db,
      database,
      storedProblem,
      get seriesScannedMax() {
        return inForce.seriesScannedMax
      },
    },
    get seriesDefault() {
      return inForce.seriesDefault
    },
    get seriesMax() {
      return inForce.seriesMax
    },
    get pointsMax() {
      return inForce.pointsMax
    },
    notReady: () => intake.notReady,
    clock,
    log,
    observe: observed.query,
  })
  const answer = getRequestListener(app.fetch, {
    hostname: 'localhost', // for requests that name none
    errorHandler: () =>
      Response.json({ message: 'The request target or its Host is malformed', code: 'BAD_REQUEST' }, { status: 400 }),
  })
  const openMetrics = new Networks(shared.openMetrics, 'open_metrics')
  const ownState = new OwnState(() => supervisor, metrics, access, openMetrics)
  const page = await Page.load()
  const http = new HttpService({
    name: 'http',
    listen: own.listen,
    log,
    handler: async (request, response) => {
      const path = pathOf(request)
      if (isIntakePath(path))
        await handleIntake({ access, intake, flush: () => store.flush() }, path, request, response)
      else if (page.serves(request.method, path)) page.handle(path, request, response)
      else if (ownState.serves(path)) await ownState.handle(path, request, response)
      else if (COLLECTOR_DOORS.has(path)) {
        request.resume()
        sendError(
          response,
          404,
          'NOT_FOUND',
          `Samples go to a collector, which keeps them on disk until they are stored here: POST ${path} on its address, port 8742 by default`,
        )
      } else await answer(request, response)
    },
  })
  const reload = new Reload({
    read,
    current: loaded,
    sections: { shared: sharedSection, own: aggregatorSection },
    prepare: (sharedNow, ownNow) => {
      const known = new Access({ ...sharedNow, token: findToken(sharedNow.token, sharedNow.dataDir).token })
      const metricsFrom = new Networks(sharedNow.openMetrics, 'open_metrics')
      return () => {
        access.become(known)
        openMetrics.become(metricsFrom)
        limiter.change(ownNow.rateLimitQps, ownNow.rateLimitBurst)
        inForce = ownNow
        log.level = sharedNow.logLevel
      }
    },
    clock,
    log,
  })
  reload.register(metrics)
  const supervisor = new Supervisor(
    [reload, http, intake, roller, store, hot, databaseService, ...(engine === undefined ? [] : [engine])],
    { log, stopDeadlineMs: own.stopDeadlineMs },
  )

  return {
    log,
    supervisor,
    stopWithParent: shared.stopWithParent,
    reload: () => reload.request(),
    started: () => {
      log.info(
        { url: http.url, engine: embedded ? 'embedded' : own.clickhouseUrl, tokenFile: token.file },
        'aggregator is listening',
      )
      process.stdout.write(`aggregator ready at ${http.url}\n`)
    },
    stopped: () => lock.release(),
  }
}

/** Everything that came in is stored; a question does not wait for an engine that is away. */
async function settled(store: Store, problem: () => string | undefined): Promise<void> {
  const why = problem()
  if (why !== undefined) throw new QueryUnavailable(why)
  const late = new AbortController()
  const tooLate = sleep(SETTLE_MS, undefined, { signal: late.signal }).then(() => {
    throw new QueryUnavailable('What came in last is not stored yet')
  })
  try {
    await Promise.race([store.settled(), tooLate])
  } finally {
    late.abort()
    tooLate.catch(() => {}) // cut short
  }
}

await runProgram('aggregator', build)
