/**
 * The collector, along the path of a sample:
 *
 *     receive ──▶ take ──▶ shard thread (decode, judge, journal, batch) ──▶ forward ──▶ aggregator
 *     host sampler ──▶┘                 └─ windows of rules ──▶ rules thread (merge, journal, batch) ──▶ forward ──▶┘
 *     receive ──▶ take ──▶ events thread (check, journal, batch) ──▶ forward ──▶┘ or, where there is Kafka, topics
 *     receive ──▶ leases (decide, journal) ──▶ answer; what they do not allow, and all other paths ──▶ aggregator
 *
 * Listed in that order below; started from the end, stopped from the front.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { TOPICS } from '../proto/events/catalogue.ts'
import { eventPublisher, kafkaFrom, kafkaService } from '../proto/kafka/connect.ts'
import { Access, findToken, Networks } from '../proto/runtime/access.ts'
import { readOrCreate } from '../proto/runtime/atomic-file.ts'
import { BufferPool } from '../proto/runtime/buffer-pool.ts'
import { systemClock } from '../proto/runtime/clock.ts'
import type { ProgramText } from '../proto/runtime/config-help.ts'
import { lockDirectory } from '../proto/runtime/directory-lock.ts'
import { faultsFrom } from '../proto/runtime/fault.ts'
import { HttpService } from '../proto/runtime/http-server.ts'
import { loadConfig } from '../proto/runtime/load-config.ts'
import { createLogger } from '../proto/runtime/log.ts'
import { Metrics } from '../proto/runtime/metrics.ts'
import { OwnState } from '../proto/runtime/own-state.ts'
import type { Program } from '../proto/runtime/program.ts'
import { runProgram } from '../proto/runtime/program.ts'
import { Reload } from '../proto/runtime/reload.ts'
import { ReceivingBudget } from '../proto/runtime/request-body.ts'
import type { SharedConfig } from '../proto/runtime/shared-config.ts'
import { sharedSection } from '../proto/runtime/shared-config.ts'
import { Supervisor } from '../proto/runtime/supervisor.ts'
import { ANY_TENANT } from '../proto/runtime/tenants.ts'
import { BATCH_CONTENT_TYPE } from '../proto/wire/batch.ts'
import { EVENT_BATCH_CONTENT_TYPE } from '../proto/wire/event-batch.ts'
import type { CollectorConfig } from './config.ts'
import { collectorSection } from './config.ts'
import { EventsThread } from './events/events-thread.ts'
import type { Answered, IncomingEvents } from './events/incoming.ts'
import { eventsOptions } from './events-setup.ts'
import type { BatchSource } from './forward/forward-service.ts'
import { ForwardService } from './forward/forward-service.ts'
import { KafkaEventsLink } from './forward/kafka-events-link.ts'
import { KafkaLink } from './forward/kafka-link.ts'
import type { BatchLink, LinkOptions } from './forward/link.ts'
import { Link } from './forward/link.ts'
import { HostSampler } from './host/host-sampler.ts'
import { Pace } from './host/pace.ts'
import { leasesFrom } from './leases-setup.ts'
import { registerCollectorMetrics } from './metrics.ts'
import { DoorRequests, SenderPlaces } from './receive/doors.ts'
import { HostSampling } from './receive/host-sampling.ts'
import type { LimitKind, Rate } from './receive/limits.ts'
import { Limits } from './receive/limits.ts'
import { PassThrough } from './receive/pass-through.ts'
import { ReceivedTenants } from './receive/received-tenants.ts'
import { collectorRoutes } from './receive/routes.ts'
import { SenderFigures } from './receive/sender-figures.ts'
import { Senders } from './receive/senders.ts'
import { showReplay } from './replay-progress.ts'
import { RulesService } from './rules/rules-service.ts'
import type { TimedEmission } from './rules/shard-rules.ts'
import { ArrivalClock } from './shard/arrival-clock.ts'
import { ShardThread } from './shard/shard-thread.ts'
import { TakeService } from './shard/take-service.ts'
import { SHARD_SETTINGS, setupsOf } from './shard-setups.ts'

const DAY_MS = 86_400_000
/** A reader that knows no series goes back so far at most; each series is described so often. */
const KAFKA_EPOCH_MS = 600_000
const PROGRAM: ProgramText = {
  name: 'collector',
  about:
    'takes samples on a GPU host, keeps them in a journal, pre-aggregates what rules say and forwards them to an aggregator.',
  command: 'npm run collector --',
}
const BATCHES = { path: '/intake/v1/batches', contentType: BATCH_CONTENT_TYPE }
const EVENT_BATCHES = { path: '/intake/v1/events', contentType: EVENT_BATCH_CONTENT_TYPE }
/** Buffers of bodies that wait for the next ones. */
const BUFFERS_KEPT_BYTES = 8 * 1024 * 1024

async function build(): Promise<Program | { print: string }> {
  const sources = { argv: process.argv.slice(2), env: process.env, columns: process.stdout.columns }
  const read = () => loadConfig(PROGRAM, sharedSection, collectorSection, ['aggregator'], sources)
  const loaded = read()
  const { shared, own, print } = loaded
  if (print !== undefined) return { print }
  const log = createLogger('collector', shared.logLevel)
  const clock = systemClock
  const directory = join(shared.dataDir, 'collector')
  const lock = await lockDirectory(directory)
  const token = findToken(shared.token, shared.dataDir)
  const access = new Access({ ...shared, token: token.token })
  const id = own.id === '' ? readOrCreate(join(directory, 'id'), randomUUID).content : own.id

  const shards = own.shards === 0 ? defaultShards() : own.shards
  const journals = join(directory, 'journal')
  const left = leftOver(journals, shards)
  const arrivals = new ArrivalClock(clock)
  const numbers = [...Array(shards).keys(), ...left]
  const lateMaxMs = (shared.pointsDays - 1) * DAY_MS
  const lasting = { journals, id, shards: numbers.length + 1, lateMaxMs }
  const buffers = new BufferPool(BUFFERS_KEPT_BYTES)
  const setups = (settings: CollectorConfig) => setupsOf(settings, numbers, lasting)
  const opened = setups(own)
  const common = { clock: arrivals, buffers, log }
  const threads = numbers.map(
    (shard, i) => new ShardThread({ name: `shard-${shard}`, ...opened.shards[i]!, fault: shared.fault, ...common }),
  )
  const rulesThread = new ShardThread({ name: 'rules', ...opened.rules, fault: '', ...common })
  const rules = new RulesService(rulesThread, threads, log)
  let forwardToken = own.forwardToken === '' ? token.token : own.forwardToken
  const kafka = await kafkaFrom(shared, `fleetmeter-collector-${id}`, log)
  const links: BatchLink[] = []
  const httpLink = (to: Pick<LinkOptions, 'path' | 'contentType'>): BatchLink =>
    new Link({
      urls: shared.aggregatorUrl,
      ...to,
      token: () => forwardToken,
      timeoutMs: own.forwardTimeoutMs,
      backoffMaxMs: own.backoffMaxMs,
      log,
      random: Math.random,
    })
  const samplesLink = (): BatchLink =>
    kafka !== undefined && shared.kafkaSamples
      ? new KafkaLink(kafka, {
          topic: shared.kafkaSamplesTopic,
          epochMs: KAFKA_EPOCH_MS,
          backoffMaxMs: shared.kafkaBackoffMaxMs,
          now: () => clock.monotonic(),
          log,
        })
      : httpLink(BATCHES)
  const forward = (
    thread: BatchSource,
    link: BatchLink,
    emitted?: (emission: TimedEmission) => Promise<number>,
  ): ForwardService => {
    links.push(link)
    return new ForwardService(thread, link, {
      intervalMs: own.batchIntervalMs,
      batchesMax: own.inFlightBatchesMax,
      bytesMax: own.inFlightBytesMax,
      ...(emitted === undefined ? {} : { emitted, emits: () => rules.emits }),
      faults: faultsFrom(shared.fault),
      log,
    })
  }
  const forwards = threads.map((thread, i) =>
    forward(thread, samplesLink(), (emission) => rules.give(numbers[i]!, emission)),
  )
  const rulesForward = forward(rulesThread, samplesLink())
  const instance = own.hostName === '' ? hostname() : own.hostName
  const session = randomBytes(8).toString('hex')
  const eventsThread = new EventsThread({
    lane: eventsOptions(own, { journals, id, session, hostName: instance }),
    fault: shared.fault,
    clock: arrivals,
    log,
  })
  const kafkaEvents =
    kafka === undefined ? undefined : new KafkaEventsLink(eventPublisher(kafka, shared, log), httpLink(EVENT_BATCHES))
  const eventsForward = forward(eventsThread, kafkaEvents ?? httpLink(EVENT_BATCHES))
  const bounds = {
    bodies: own.waitingBodiesMax,
    bytes: own.waitingBytesMax,
    bodyBytes: own.bodyBytesMax,
    ms: own.waitingMsMax,
  }
  const takes = threads
    .slice(0, shards)
    .map((thread, i) => new TakeService(thread, bounds, clock, () => forwards[i]!.due()))
  const eventsTake = new TakeService<IncomingEvents, Answered>(eventsThread, bounds, clock, () => eventsForward.due())
  const host = own.host
    ? new HostSampler(takes[0]!, new Pace(own.hostIntervalMs, own.hostFastIntervalMs, clock), {
        instance,
        nodeId: own.hostNebulaNames ? (own.id === '' ? instance : own.id) : undefined,
        gpus: own.hostGpus,
        fastWhileComputing: own.hostFastWhileComputing,
        toolTimeoutMs: own.hostToolTimeoutMs,
        toolEnv: toolEnv(process.env),
        tenant: shared.tenant,
        clock,
        log,
      })
    : undefined

  const senders = new Senders(() => clock.now())
  const senderFigures = new SenderFigures(takes[0]!, threads, senders, {
    intervalMs: own.senderIntervalMs,
    collector: id,
    instance,
    tenant: shared.tenant,
    clock,
  })

  const metrics = new Metrics('collector')
  const requests = new DoorRequests()
  const limits = new Limits(ratesOf(own), clock)
  const tenants = new ReceivedTenants(namedTenants(shared), own.tenantsMax)
  registerCollectorMetrics(metrics, {
    threads: [...threads, rulesThread],
    takes,
    forwards: [...forwards, rulesForward, eventsForward],
    links,
    kafkaEvents,
    events: eventsThread,
    eventsTake,
    requests,
    limits,
    tenants,
    host,
    senderFigures,
  })
  const openMetrics = new Networks(shared.openMetrics, 'open_metrics')
  const openWrites = new Networks(shared.openWrites, 'open_writes')
  const ownState = new OwnState(() => supervisor, metrics, access, openMetrics)
  const ownNetworks = new Networks(own.eventsOwnNetworks, 'collector.events_own_networks')
  const passThrough = new PassThrough(shared.aggregatorUrl)
  const leases = leasesFrom(own, {
    collector: id,
    directory: join(directory, 'leases'),
    urls: shared.aggregatorUrl,
    token: () => forwardToken,
    access,
    passThrough,
    metrics,
    clock,
    log,
  })
  const context = {
    access,
    openWrites,
    places: new SenderPlaces(takes),
    limits,
    tenants,
    bodyBytesMax: own.bodyBytesMax,
    receiving: new ReceivingBudget(own.receivingBytesMax, own.bodyBytesMax),
    buffers,
    counts: requests,
    senders,
    tenant: shared.tenant,
    lane: eventsTake,
    thread: eventsThread,
    isOwn: (address: string, local: string) => address === local || ownNetworks.has(address),
    openTenants: own.eventsOpenTenants,
    topics: new Set([...TOPICS, ...own.eventsTopics]),
    recordBytesMax: 2 * own.eventBytesMax, // base64 takes more
    basePath: own.eventsBasePath,
  }
  const receive = new HttpService({
    name: 'receive',
    listen: own.listen,
    log,
    handler: collectorRoutes(context, ownState, new HostSampling(access, host), passThrough, leases?.doors),
  })
  let shardSettings = own
  const reload = new Reload({
    read,
    current: loaded,
    sections: { shared: sharedSection, own: collectorSection },
    prepare: (sharedNow, ownNow) => {
      const found = findToken(sharedNow.token, sharedNow.dataDir).token
      const known = new Access({ ...sharedNow, token: found })
      const writesFrom = new Networks(sharedNow.openWrites, 'open_writes')
      const metricsFrom = new Networks(sharedNow.openMetrics, 'open_metrics')
      return () => {
        access.become(known)
        openWrites.become(writesFrom)
        openMetrics.become(metricsFrom)
        forwardToken = ownNow.forwardToken === '' ? found : ownNow.forwardToken
        limits.change(ratesOf(ownNow))
        tenants.change(namedTenants(sharedNow), ownNow.tenantsMax)
        log.level = sharedNow.logLevel
        const events = eventsThread.limit(ownNow.decodedBytesMax)
        if (SHARD_SETTINGS.every((key) => isDeepStrictEqual(ownNow[key], shardSettings[key]))) return events
        shardSettings = ownNow
        const anew = setups(ownNow)
        return Promise.all([events, rules.change(anew.rules, anew.shards)]).then(() => {})
      }
    },
    clock,
    log,
  })
  reload.register(metrics)
  const supervisor = new Supervisor(
    [
      reload,
      receive,
      ...(leases === undefined ? [] : [leases.service]),
      ...(host === undefined ? [] : [host]),
      senderFigures,
      ...takes,
      eventsTake,
      ...forwards,
      eventsForward,
      rules,
      rulesForward,
      ...(kafka === undefined ? [] : [kafkaService(kafka)]),
      ...threads,
      rulesThread,
      eventsThread,
    ],
    { log, stopDeadlineMs: own.stopDeadlineMs },
  )

  const { stderr } = process
  const replayed = showReplay(
    [...threads, rulesThread, eventsThread],
    { columns: stderr.isTTY ? stderr.columns : undefined, write: (text) => stderr.write(text) },
    log,
  )
  return {
    log,
    supervisor,
    stopWithParent: shared.stopWithParent,
    reload: () => reload.request(),
    started: () => {
      replayed()
      log.info(
        { url: receive.url, aggregator: shared.aggregatorUrl, id, shards, tokenFile: token.file },
        'collector is ready',
      )
      process.stdout.write(`collector ready at ${receive.url}\n`)
    },
    stopped: () => {
      leases?.close()
      passThrough.close()
      for (const link of links) link.close()
      lock.release()
    },
  }
}

function ratesOf(own: CollectorConfig): Readonly<Record<LimitKind, Rate>> {
  return {
    sender: { perSecond: own.senderSamplesPerSecond, burstSeconds: own.senderBurstSeconds },
    tenant: { perSecond: own.tenantSamplesPerSecond, burstSeconds: own.tenantBurstSeconds },
  }
}

/** Every tenant that the configuration has a name for. */
function namedTenants({ tenant, keys, openWriteTenants }: SharedConfig): Set<string> {
  const named = new Set([tenant, ...openWriteTenants])
  for (const key of keys) for (const name of [key.tenant, ...key.tenants]) if (name !== undefined) named.add(name)
  named.delete(ANY_TENANT)
  return named
}

/** What another's program gets of our environment: nothing that is secret. */
function toolEnv(env: NodeJS.ProcessEnv): Readonly<Record<string, string | undefined>> {
  const { PATH = '/usr/local/bin:/usr/bin:/bin', HOME = '/', LD_LIBRARY_PATH } = env
  return { PATH, HOME, LANG: 'C.UTF-8', ...(LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH }) }
}

/** A host has better things to do: one thread for four processors. */
function defaultShards(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 4)))
}

/** Journals of an earlier start with more shards: nothing comes in there any more, what is there is sent. */
function leftOver(journals: string, shards: number): number[] {
  let names: string[] = []
  try {
    names = readdirSync(journals)
  } catch {
    return [] // the first start
  }
  return names
    .map((name) => /^samples-(\d+)$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .filter(
      (shard) =>
        shard >= shards && readdirSync(join(journals, `samples-${shard}`)).some((file) => file.endsWith('.seg')),
    )
    .sort((a, b) => a - b)
}

await runProgram('collector', build)
