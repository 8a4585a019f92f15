/**
 * The aggregator, along the path of a batch:
 *
 *     http ───▶ intake ──▶ hot series (visible)
 *     kafka ──▶┘ │  └───▶ store ──▶ ClickHouse (embedded engine, or a server) ◀── roller
 *     http ───▶ events ──▶ owner (its log) ──▶ records ──┘
 *                  └──────── the rest ────────────┘            └──▶ usage outbox ──▶ kafka
 *              queries: hot series and ClickHouse
 *
 * Beside it: directories (memberships, nodes, prices, quotas), in memory and in PostgreSQL or PGlite.
 *
 * Listed in that order below; started from the end, stopped from the front.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getRequestListener } from '@hono/node-server'
import { eventPublisher, kafkaFrom, kafkaService } from '../proto/kafka/connect.ts'
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
import { BatchConsumer } from './consume/batch-consumer.ts'
import { EventConsumer } from './consume/event-consumer.ts'
import { KafkaEventRules } from './consume/kafka-event-rules.ts'
import { noDefinitionLog } from './directory/definition-log.ts'
import { DirectoryService } from './directory/directory-service.ts'
import { EmbeddedDatabase } from './directory/embedded-database.ts'
import { FileDefinitionLog } from './directory/file-definition-log.ts'
import { directoryApi } from './directory/openapi.ts'
import { PostgresDatabase } from './directory/postgres-database.ts'
import { DIRECTORIES, directoryRoutes } from './directory/routes.ts'
import { EngineProcess } from './engine/engine-process.ts'
import { EventQuery } from './events/event-query.ts'
import { EventsIntake } from './events/events-intake.ts'
import { takeForwarded } from './events/forwarded-events.ts'
import { eventApi } from './events/openapi.ts'
import { HotService } from './hot/hot-service.ts'
import { SeriesRegistry } from './hot/series-registry.ts'
import { handleIntake, isIntakePath } from './intake/intake-routes.ts'
import { IntakeService } from './intake/intake-service.ts'
import { registerAggregatorMetrics } from './metrics.ts'
import { openApiRoutes } from './openapi/routes.ts'
import { overviewApi } from './overview/openapi.ts'
import type { SampleNews } from './owner/sample-news.ts'
import { setUpOwnership } from './ownership-setup.ts'
import { Page } from './page/page.ts'
import { StoredParts } from './prometheus/stored-parts.ts'
import { Limiter } from './query/limiter.ts'
import type { MetricQueryContext } from './query/metric-query.ts'
import { QueryUnavailable } from './query/metric-query.ts'
import { queryRoutes } from './query/routes.ts'
import { StoredSeries } from './query/stored-series.ts'
import { quotaApi } from './quotas/openapi.ts'
import { ClickHouseMarkTable } from './rollup/mark-table.ts'
import { Marks } from './rollup/marks.ts'
import { ClickHouseRollups } from './rollup/recompute.ts'
import { Roller } from './rollup/roller.ts'
import { ClickHouse } from './store/clickhouse.ts'
import { DatabaseService } from './store/database-service.ts'
import { RecordStore } from './store/record-store.ts'
import { Store } from './store/store.ts'
import { mergeSettledDays } from './store/upkeep.ts'
import { DEFAULT_MAPPING } from './tasks/metric-mapping.ts'
import { taskApi } from './tasks/openapi.ts'
import { OwnSeriesSource } from './tasks/own-source.ts'
import { TaskQuery } from './tasks/task-query.ts'
import { UsageQuery } from './tasks/usage-query.ts'
import { nodeGroups, setUpNodeUsage } from './tasks-setup.ts'

const DAY_MS = 86_400_000
/** A question over exactly as long as memory reaches back has taken a moment to come. */
const HOT_GRACE_MS = 30_000
const PROGRAM: ProgramText = {
  name: 'aggregator',
  about: 'shows the samples of collectors within a second, stores them in ClickHouse and answers questions about them.',
  command: 'npm run aggregator --',
}
/** Last three digits of the arrival of what other producers put on Kafka. */
const KAFKA_WRITER = 999
/** Series that the charts of an attempt are found among. */
const CHART_SERIES_MAX = 1000
/** A question about what is stored waits this long for the last insert. */
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
    { pointsDays: shared.pointsDays, rollupDays: own.rollupDays, eventDays: own.eventDays },
    log,
  )

  const registry = new SeriesRegistry(nodeGroups(own))
  const bounds = { ageMs: own.hotMinutes * 60_000 + HOT_GRACE_MS, bytesMax: own.hotBytes }
  const hot = new HotService(db, registry, { bounds, database, clock, log, evicted: (now) => intake.sweep(now) })
  const markTable = new ClickHouseMarkTable(db, database)
  const faults = faultsFrom(shared.fault)
  const marks = new Marks(markTable, embedded, () => clock.now())
  const store = new Store(db, marks, {
    database,
    insertRows: own.insertRows,
    insertAfterMs: own.insertAfterMs,
    insertFewAfterMs: own.insertFewAfterMs,
    rowsMax: own.waitingRowsMax,
    clock,
    faults,
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
    late: { afterMs: 2 * own.taskIntervalMs, told: (samples) => ownership.late(samples) },
    clock,
    log,
  })
  const records = new RecordStore(db, {
    database,
    insertRows: own.insertRows,
    insertAfterMs: own.eventsInsertAfterMs,
    bytesMax: own.eventsWaitingBytesMax,
    clock,
    faults,
    log,
  })
  const inPostgres = own.databaseUrl !== ''
  const directories = new DirectoryService({
    database: inPostgres
      ? new PostgresDatabase(own.databaseUrl, log)
      : new EmbeddedDatabase(join(directory, 'database'), log),
    log: inPostgres ? noDefinitionLog : new FileDefinitionLog(join(directory, 'definitions.jsonl')),
    entriesMax: own.directoryEntriesMax,
    refreshMs: own.directoryRefreshMs,
    clock,
    logger: log,
  })

  const storedProblem = (): string | undefined => engine?.health().detail
  const parts = new StoredParts(db, database)
  let { keys, openWriteTenants } = shared
  const metrics = new Metrics('aggregator')
  const kafka = await kafkaFrom(shared, 'fleetmeter-aggregator', log)
  const usageTopics = { topics: [], ownTopic: own.kafkaUsageTopic, group: own.kafkaGroup }
  const publisher =
    kafka === undefined || own.kafkaUsageTopic === '' ? undefined : eventPublisher(kafka, shared, log, usageTopics)
  const ownership = await setUpOwnership(own, directory, {
    db,
    registry,
    hot,
    parts,
    records,
    directory: () => directories.snapshot,
    marks: () => (intake.notReady === undefined ? intake.visible.all : undefined),
    storedProblem,
    tenant: shared.tenant,
    samplesFrom: () => clock.now() - lateMaxMs,
    onlyOperator: () => keys.length === 0 && openWriteTenants.length === 0,
    publisher,
    access,
    metrics,
    clock,
    faults,
    log,
    url: () => http.url,
    storedMarks: () => intake.stored.all,
    samplesSettled: () => store.settled(),
    token: () => findToken(shared.token, shared.dataDir).token,
  })
  const events = new EventsIntake(ownership, records, {
    quarantine: join(directory, 'quarantine'),
    lateMaxMs: (own.eventDays - 1) * DAY_MS,
    clock,
    log,
  })

  const batchConsumer =
    kafka !== undefined && shared.kafkaSamples
      ? new BatchConsumer(kafka, {
          topic: shared.kafkaSamplesTopic,
          // Not with the events: the member that shares a group's partitions out knows its own topics only, and gives them to all members.
          group: `${own.kafkaGroup}.samples`,
          deadLetterTopic: own.kafkaDeadLetterTopic,
          receive: (bytes, unproven) => intake.receive(bytes, unproven),
          proven: (headers) => intake.proven(headers),
          backoffMaxMs: shared.kafkaBackoffMaxMs,
          clock,
          log,
          random: Math.random,
        })
      : undefined
  const eventConsumer =
    kafka === undefined
      ? undefined
      : new EventConsumer(kafka, {
          topics: shared.kafkaTopics,
          ownTopic: shared.kafkaOwnTopic,
          group: own.kafkaGroup,
          deadLetterTopic: own.kafkaDeadLetterTopic,
          badPercentMax: own.kafkaBadPercentMax,
          rules: new KafkaEventRules({ tenant: shared.tenant, personal: own.kafkaPersonal, now: () => clock.now() }),
          deliver: async (items, bytes) => {
            const answer = await events.take(items, bytes)
            if (answer.kind !== 'stored') throw new Error(answer.reason)
          },
          writer: KAFKA_WRITER,
          backoffMaxMs: shared.kafkaBackoffMaxMs,
          clock,
          log,
          random: Math.random,
        })

  /** Those of the settings that a reload changes are asked for when they are needed. */
  let inForce = own
  const limiter = new Limiter({ perSecond: own.rateLimitQps, burst: own.rateLimitBurst, now: () => clock.monotonic() })
  const observed = registerAggregatorMetrics(metrics, {
    intake,
    hot,
    store,
    roller,
    limiter,
    engine,
    events,
    records,
    batchConsumer,
    eventConsumer,
  })
  directories.register(metrics)
  const stored = new StoredSeries(db, database)
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
    get pointsPerSeriesMax() {
      return inForce.pointsMax
    },
    get seriesScannedMax() {
      return inForce.seriesScannedMax
    },
  }
  const ownSeries = new OwnSeriesSource({
    hot: () => hot.series,
    registry,
    parts: new StoredParts(db, database),
    storedProblem,
    seriesMax: CHART_SERIES_MAX,
    pointsMax: 0, // it is asked for series alone
    shared: own.ownerLog === 'postgres',
  })
  const app = queryRoutes({
    access,
    limiter,
    context,
    prometheus: {
      db,
      database,
      read: {
        parts,
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
    events: {
      query: new EventQuery({
        db,
        database,
        tail: () => ownership.tail,
        keptMs: own.eventDays * DAY_MS,
        now: () => clock.now(),
      }),
      now: () => clock.now(),
    },
    tasks: {
      tasks: new TaskQuery({ db, database, settled: () => settled(records, storedProblem) }),
      usage: new UsageQuery({ db, database, settled: () => settled(records, storedProblem) }),
      nodes: setUpNodeUsage(own, {
        db,
        database,
        directory: () => directories.snapshot,
        operator: shared.tenant,
        settled: async () => {
          await settled(records, storedProblem)
          await settled(store, storedProblem)
        },
        pointsMs: shared.pointsDays * DAY_MS,
        now: () => clock.now(),
      }),
      charts: {
        mapping: DEFAULT_MAPPING,
        series: (tenant, selectors, from, to, names) => ownSeries.series(tenant, selectors, from, to, names),
      },
      now: () => clock.now(),
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
  app.route('/', directoryRoutes({ service: directories, access, limiter, log }))
  if (ownership.routes !== undefined) app.route('/', ownership.routes)
  app.route('/', openApiRoutes([overviewApi, directoryApi(DIRECTORIES), eventApi, taskApi, quotaApi]))
  const answer = getRequestListener(ownership.door(app.fetch), {
    hostname: 'localhost', // for requests that name none
    errorHandler: () =>
      Response.json({ message: 'The request target or its Host is malformed', code: 'BAD_REQUEST' }, { status: 400 }),
  })
  const openMetrics = new Networks(shared.openMetrics, 'open_metrics')
  const ownState = new OwnState(() => supervisor, metrics, access, openMetrics)
  const flush = (): void => {
    store.flush()
    records.flush()
  }
  const forwarded = (batch: Uint8Array) =>
    takeForwarded(batch, ownership.current()?.owner, (bytes) => records.hasRoom(bytes))
  const told = (news: SampleNews) => ownership.told(news)
  const { leases } = ownership
  const intakeRoutes = { access, intake, events, leases, flush, forwarded, told }
  const page = await Page.load()
  const http = new HttpService({
    name: 'http',
    listen: own.listen,
    log,
    handler: (request, response) => {
      const path = pathOf(request)
      if (isIntakePath(path)) return handleIntake(intakeRoutes, path, request, response)
      if (ownership.checks?.serves(request) === true) return ownership.checks.handle(request, response)
      if (page.serves(request.method, path)) return page.handle(path, request, response)
      if (ownState.serves(path)) return ownState.handle(path, request, response)
      if (!COLLECTOR_DOORS.has(path)) return answer(request, response)
      request.resume()
      return sendError(
        response,
        404,
        'NOT_FOUND',
        `Samples go to a collector, which keeps them on disk until they are stored here: POST ${path} on its address, port 8742 by default`,
      )
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
        keys = sharedNow.keys
        openWriteTenants = sharedNow.openWriteTenants
        log.level = sharedNow.logLevel
      }
    },
    clock,
    log,
  })
  reload.register(metrics)
  const supervisor = new Supervisor(
    [
      reload,
      ...ownership.inFront,
      http,
      ...(batchConsumer === undefined ? [] : [batchConsumer]),
      ...(eventConsumer === undefined ? [] : [eventConsumer]),
      ...ownership.telling,
      ...(kafka === undefined ? [] : [kafkaService(kafka)]),
      intake,
      roller,
      store,
      ...ownership.behind,
      hot,
      ...ownership.log,
      records,
      databaseService,
      directories,
      ...(engine === undefined ? [] : [engine]),
    ],
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
async function settled(store: Pick<Store, 'settled'>, problem: () => string | undefined): Promise<void> {
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
