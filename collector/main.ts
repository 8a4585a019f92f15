/**
 * The collector, along the path of a sample:
 *
 *     receive ──▶ take ──▶ shard thread (decode, judge, journal, batch) ──▶ forward ──▶ aggregator
 *     host sampler ──▶┘                 └─ windows of rules ──▶ rules thread (merge, journal, batch) ──▶ forward ──▶┘
 *
 * Listed in that order below; started from the end, stopped from the front.
 */
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { Access, findToken, Networks } from '../proto/runtime/access.ts'
import { readOrCreate } from '../proto/runtime/atomic-file.ts'
import { BufferPool } from '../proto/runtime/buffer-pool.ts'
import { systemClock } from '../proto/runtime/clock.ts'
import type { ProgramText } from '../proto/runtime/config-help.ts'
import { lockDirectory } from '../proto/runtime/directory-lock.ts'
import { faultsFrom } from '../proto/runtime/fault.ts'
import { HttpService, ReceivingBudget } from '../proto/runtime/http-server.ts'
import { loadConfig } from '../proto/runtime/load-config.ts'
import { createLogger } from '../proto/runtime/log.ts'
import { Metrics } from '../proto/runtime/metrics.ts'
import { OwnState } from '../proto/runtime/own-state.ts'
import type { Program } from '../proto/runtime/program.ts'
import { runProgram } from '../proto/runtime/program.ts'
import type { SharedConfig } from '../proto/runtime/shared-config.ts'
import { sharedSection } from '../proto/runtime/shared-config.ts'
import { Supervisor } from '../proto/runtime/supervisor.ts'
import { ANY_TENANT } from '../proto/runtime/tenants.ts'
import type { CollectorConfig } from './config.ts'
import { collectorSection } from './config.ts'
import { ForwardService } from './forward/forward-service.ts'
import { Link } from './forward/link.ts'
import { HostSampler } from './host/host-sampler.ts'
import { Pace } from './host/pace.ts'
import { registerCollectorMetrics } from './metrics.ts'
import { DoorRequests, Senders } from './receive/doors.ts'
import { HostSampling } from './receive/host-sampling.ts'
import { Limits } from './receive/limits.ts'
import { PassThrough } from './receive/pass-through.ts'
import { ReceivedTenants } from './receive/received-tenants.ts'
import { collectorRoutes } from './receive/routes.ts'
import { rulesInForce } from './rules/read-rules.ts'
import { RulesService } from './rules/rules-service.ts'
import type { TimedEmission } from './rules/shard-rules.ts'
import { ArrivalClock } from './shard/arrival-clock.ts'
import type { SeriesLimits } from './shard/body-decoder.ts'
import type { RuleOptions } from './shard/rule-feed.ts'
import type { ShardOptions } from './shard/shard-core.ts'
import { ShardThread } from './shard/shard-thread.ts'
import { TakeService } from './shard/take-service.ts'

const DAY_MS = 86_400_000
const PROGRAM: ProgramText = {
  name: 'collector',
  about:
    'takes samples on a GPU host, keeps them in a journal, pre-aggregates what rules say and forwards them to an aggregator.',
  command: 'npm run collector --',
}
/** Buffers of bodies that wait for the next ones. */
const BUFFERS_KEPT_BYTES = 8 * 1024 * 1024
/** The number under which the outputs of rules are forwarded: no shard has it. */
const RULES_SHARD = 999
/** Series of one output that a rule may ask for. */
const QUANTILES_MAX = 20
const WRITERS = 1000 // the last three digits of an arrival

async function build(): Promise<Program | { print: string }> {
  const sources = { argv: process.argv.slice(2), env: process.env, columns: process.stdout.columns }
  const { shared, own, print } = loadConfig(PROGRAM, sharedSection, collectorSection, ['aggregator'], sources)
  if (print !== undefined) return { print }
  const log = createLogger('collector', shared.logLevel)
  const clock = systemClock
  const directory = join(shared.dataDir, 'collector')
  const lock = await lockDirectory(directory)
  const token = findToken(shared.token, shared.dataDir)
  const access = new Access({ ...shared, token: token.token })
  const id = own.id === '' ? readOrCreate(join(directory, 'id'), randomUUID).content : own.id
  const session = randomBytes(8).toString('hex')

  const shards = own.shards === 0 ? defaultShards() : own.shards
  const journals = join(directory, 'journal')
  const left = leftOver(journals, shards)
  const arrivals = new ArrivalClock(clock)
  const numbers = [...Array(shards).keys(), ...left]
  const lateMaxMs = (shared.pointsDays - 1) * DAY_MS
  const place = { journals, id, session, shards: numbers.length + 1, lateMaxMs }
  const buffers = new BufferPool(BUFFERS_KEPT_BYTES)
  const threads = numbers.map(
    (shard) =>
      new ShardThread({
        name: `shard-${shard}`,
        shard: shardOptions(own, { ...place, shard, directory: `samples-${shard}`, rules: ruleOptions(own) }),
        fault: shared.fault,
        clock: arrivals,
        buffers,
        log,
        merge: undefined,
      }),
  )
  const rulesThread = new ShardThread({
    name: 'rules',
    shard: rulesShardOptions(own, { ...place, shard: RULES_SHARD, directory: 'rules', rules: ruleOptions(own) }),
    fault: '',
    clock: arrivals,
    buffers,
    log,
    merge: { rules: own.rules, shards: numbers, keepMs: own.rulesKeepMs, collector: id },
  })
  const rules = new RulesService(rulesThread, threads, log)
  const links: Link[] = []
  const forward = (thread: ShardThread, emitted?: (emission: TimedEmission) => Promise<number>): ForwardService => {
    const link = new Link({
      urls: shared.aggregatorUrl,
      token: own.forwardToken === '' ? token.token : own.forwardToken,
      timeoutMs: own.forwardTimeoutMs,
      backoffMaxMs: own.backoffMaxMs,
      log,
      random: Math.random,
    })
    links.push(link)
    return new ForwardService(thread, link, {
      intervalMs: own.batchIntervalMs,
      batchesMax: own.inFlightBatchesMax,
      bytesMax: own.inFlightBytesMax,
      ...(emitted === undefined ? {} : { emitted }),
      faults: faultsFrom(shared.fault),
      log,
    })
  }
  const forwards = threads.map((thread, i) => forward(thread, (emission) => rules.give(numbers[i]!, emission)))
  const rulesForward = forward(rulesThread)
  const bounds = { bodies: own.waitingBodiesMax, bytes: own.waitingBytesMax, bodyBytes: own.bodyBytesMax }
  const takes = threads
    .slice(0, shards)
    .map((thread, i) => new TakeService(thread, bounds, clock, () => forwards[i]!.poke()))
  const instance = own.hostName === '' ? hostname() : own.hostName
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

  const metrics = new Metrics('collector')
  const requests = new DoorRequests()
  const limits = new Limits(
    {
      sender: { perSecond: own.senderSamplesPerSecond, burstSeconds: own.senderBurstSeconds },
      tenant: { perSecond: own.tenantSamplesPerSecond, burstSeconds: own.tenantBurstSeconds },
    },
    clock,
  )
  const tenants = new ReceivedTenants(namedTenants(shared), own.tenantsMax)
  registerCollectorMetrics(metrics, {
    threads: [...threads, rulesThread],
    takes,
    forwards: [...forwards, rulesForward],
    links,
    requests,
    limits,
    tenants,
    host,
  })
  const ownState = new OwnState(() => supervisor, metrics, access, new Networks(shared.openMetrics, 'open_metrics'))
  const passThrough = new PassThrough(shared.aggregatorUrl)
  const context = {
    access,
    openWrites: new Networks(shared.openWrites, 'open_writes'),
    senders: new Senders(takes),
    limits,
    tenants,
    bodyBytesMax: own.bodyBytesMax,
    receiving: new ReceivingBudget(own.receivingBytesMax, own.bodyBytesMax),
    buffers,
    counts: requests,
  }
  const receive = new HttpService({
    name: 'receive',
    listen: own.listen,
    log,
    handler: collectorRoutes(context, ownState, new HostSampling(access, host), passThrough),
  })
  const supervisor = new Supervisor(
    [
      receive,
      ...(host === undefined ? [] : [host]),
      ...takes,
      ...forwards,
      rules,
      rulesForward,
      ...threads,
      rulesThread,
    ],
    { log, stopDeadlineMs: own.stopDeadlineMs },
  )

  return {
    log,
    supervisor,
    stopWithParent: shared.stopWithParent,
    started: () => {
      log.info(
        { url: receive.url, aggregator: shared.aggregatorUrl, id, shards, tokenFile: token.file },
        'collector is ready',
      )
      process.stdout.write(`collector ready at ${receive.url}\n`)
    },
    stopped: () => {
      passThrough.close()
      for (const link of links) link.close()
      lock.release()
    },
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

function ruleOptions(own: CollectorConfig): RuleOptions {
  const { rules, rulesKeepMs: keepMs, rulesPointsMax: pointsMax, rulesGroupsMax: groupsMax } = own
  return { rules, keepMs, pointsMax, groupsMax }
}

/** Outputs of rules go into no rule, and what was acknowledged as their input must not be refused as their output. */
function rulesShardOptions(own: CollectorConfig, place: ShardPlace): ShardOptions {
  const options = shardOptions(own, { ...place, rules: { ...place.rules, rules: [] } })
  const outputs = rulesInForce(own.rules).reduce((n, rule) => n + rule.outputs.length + QUANTILES_MAX, 0)
  const seriesMax = Math.max(own.seriesMax, 2 * own.rulesGroupsMax * outputs)
  const limits: SeriesLimits = {
    ...options.limits,
    seriesMax,
    seriesPerTenantMax: seriesMax,
    seriesPerSenderMax: seriesMax,
    overflowSeriesMax: 0,
    labelCountMax: Number.POSITIVE_INFINITY,
    labelNameBytesMax: Number.POSITIVE_INFINITY,
    labelValueBytesMax: Number.POSITIVE_INFINITY,
    samplesPerBodyMax: Number.POSITIVE_INFINITY,
  }
  return { ...options, limits, lateMaxMs: Number.POSITIVE_INFINITY }
}

interface ShardPlace {
  readonly journals: string
  readonly directory: string
  readonly rules: RuleOptions
  readonly id: string
  readonly session: string
  readonly shard: number
  readonly shards: number
  /** How old a sample may be. */
  readonly lateMaxMs: number
}

function shardOptions(own: CollectorConfig, place: ShardPlace): ShardOptions {
  const { journals, id, session, shard, shards } = place
  return {
    directory: join(journals, place.directory),
    rules: place.rules,
    origin: { collector: id, session, shard, shards },
    // Writers of one collector never tie; those of two seldom do, and only for one sample that reached both in one ms.
    writer: (createHash('sha256').update(id).digest().readUInt32LE() + shard) % WRITERS,
    limits: {
      seriesMax: own.seriesMax,
      seriesPerTenantMax: own.seriesPerTenantMax,
      seriesPerSenderMax: own.seriesPerSenderMax,
      overflowSeriesMax: own.overflowSeriesMax,
      metadataBytesMax: own.metadataBytesMax,
      labelCountMax: own.labelCountMax,
      labelNameBytesMax: own.labelNameBytesMax,
      labelValueBytesMax: own.labelValueBytesMax,
      decodedBytesMax: own.decodedBytesMax,
      samplesPerBodyMax: own.samplesPerBodyMax,
    },
    futureMaxMs: own.futureMaxMs,
    lateMaxMs: place.lateMaxMs,
    journalBytesMax: own.journalBytesMax,
    segmentBytes: own.journalSegmentBytes,
    syncEveryWrite: own.journalSync === 'write',
    batchBytes: own.batchBytes,
    batchSamples: own.batchSamples,
    seed: randomInt(2 ** 32),
  }
}

await runProgram('collector', build)
