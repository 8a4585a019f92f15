/**
 * Who decides about tasks and quotas: this aggregator alone, with a log in files, or one of several, with a log in PostgreSQL. The rest of
 * the program sees one thing that may or may not be the owner at the moment.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { ReceivedEvent } from '../proto/events/event.ts'
import { FleetmeterError, messageOf } from '../proto/runtime/errors.ts'
import type { Service } from '../proto/runtime/service.ts'
import type { AggregatorConfig } from './config.ts'
import { PostgresDatabase } from './directory/postgres-database.ts'
import type { LateSamples } from './intake/late-samples.ts'
import type { LeaseDesk } from './intake/lease-intake.ts'
import type { CollectorMark } from './intake/watermarks.ts'
import type { Admitted } from './owner/admission.ts'
import { FileLog } from './owner/file-log.ts'
import type { KeptFiles } from './owner/log-files.ts'
import { nodeLogFiles } from './owner/log-files.ts'
import { moveLog, refuseMovedLog } from './owner/move-log.ts'
import { NewsService } from './owner/news-service.ts'
import type { Answer } from './owner/owner-door.ts'
import { ownerDoor } from './owner/owner-door.ts'
import { OWNER_LIMITS } from './owner/owner-table.ts'
import { Peers } from './owner/peers.ts'
import type { PostgresLog } from './owner/postgres-log.ts'
import type { SampleNews } from './owner/sample-news.ts'
import { HeardMarks } from './owner/sample-news.ts'
import type { Term } from './owner/tenure.ts'
import { Tenure } from './owner/tenure.ts'
import type { OwnerGiven } from './owner-setup.ts'
import { OwnerSide } from './owner-setup.ts'
import { QuotasUnavailable } from './quotas/quota-service.ts'
import type { Quotas } from './quotas-setup.ts'
import type { EventRow } from './store/record-rows.ts'

export interface OwnershipGiven extends OwnerGiven {
  /** Where this aggregator listens, once it does. */
  readonly url: () => string
  /** Marks of collectors, of what is stored. */
  readonly storedMarks: () => readonly CollectorMark[]
  /** Resolves when all samples that came so far are stored. */
  readonly samplesSettled: () => Promise<void>
  /** What aggregators know each other by. */
  readonly token: () => string
}

export interface Ownership {
  /** Where this aggregator is the owner. */
  current(): Pick<OwnerSide<FileLog | PostgresLog>, 'owner'> | undefined
  /** Events that are logged and not in ClickHouse yet, as far as they are known here. */
  readonly tail: ReadonlyMap<string, EventRow>
  /** Logs events, wherever the owner is. */
  take(events: readonly ReceivedEvent[]): Promise<Admitted[]>
  /** Tells the owner of samples that came late, wherever it is. */
  late(samples: LateSamples): void
  /** What another aggregator tells of samples. @returns false: this is not the owner */
  told(news: SampleNews): boolean
  /** Rounds of collectors about slices of quotas, wherever the owner is. */
  readonly leases: LeaseDesk
  /** About quotas, where they are always decided here. */
  readonly routes: Quotas['routes'] | undefined
  /** The same of checks, on node:http itself. */
  readonly checks: Quotas['checks'] | undefined
  /** Answers what only the owner can, wherever it is; the rest is given on. */
  door(rest: Answer): Answer
  /** Services by their place on the data path: before the doors, before Kafka, behind the intake, behind hot series. */
  readonly inFront: readonly Service[]
  readonly telling: readonly Service[]
  readonly behind: readonly Service[]
  readonly log: readonly Service[]
}

const OWNER_SEGMENT_BYTES = 16 * 1024 * 1024
const OWNER_PROBE_MS = 1000
const NOTHING: ReadonlyMap<string, EventRow> = new Map()

/** @throws FleetmeterError `FM_CONFIG` when several cannot share what they would have to */
export async function setUpOwnership(
  own: AggregatorConfig,
  dataDirectory: string,
  given: OwnershipGiven,
): Promise<Ownership> {
  if (own.ownerLog === 'file') await refuseMovedLog(nodeLogFiles, join(dataDirectory, 'owner'))
  return own.ownerLog === 'file' ? alone(own, dataDirectory, given) : oneOfSeveral(own, dataDirectory, given)
}

function alone(own: AggregatorConfig, dataDirectory: string, given: OwnershipGiven): Ownership {
  const directory = join(dataDirectory, 'owner')
  const log = fileLog(dataDirectory, given)
  const side = new OwnerSide(own, given, { log, files: nodeLogFiles, directory })
  const { owner, quotas, outbox, services } = side
  return {
    current: () => side,
    get tail() {
      return owner.tail
    },
    take: (events) => owner.take(events),
    late: (samples) => side.tasks.late(samples),
    told: () => false,
    leases: quotas.leases,
    routes: quotas.routes,
    checks: quotas.checks,
    door: (rest) => rest,
    inFront: [],
    telling: outbox === undefined ? [] : [outbox],
    behind: services.filter((service) => service !== owner && service !== outbox),
    log: [owner],
  }
}

function oneOfSeveral(own: AggregatorConfig, dataDirectory: string, given: OwnershipGiven): Ownership {
  const problem = sharingProblem(own)
  if (problem !== undefined) throw new FleetmeterError('FM_CONFIG', problem)
  const { access, clock, log, metrics, token, url } = given
  const holder = randomUUID()
  const heard = new HeardMarks()
  const begin = (ownerLog: PostgresLog, files: KeptFiles): PostgresSide => {
    const since = clock.monotonic()
    const marks = (): ReturnType<OwnershipGiven['marks']> => heard.merged(given.marks(), since, clock.monotonic())
    return new PostgresSide(own, { ...given, marks }, { log: ownerLog, files, directory: 'owner' })
  }
  const tenure = new Tenure<PostgresSide>({
    database: new PostgresDatabase(own.databaseUrl, log, OWNER_LIMITS),
    holder,
    address: () => (own.peerUrl === '' ? reachable(url()) : own.peerUrl.replace(/\/$/, '')),
    begin,
    prepare: (database) =>
      moveLog(database, {
        files: nodeLogFiles,
        directory: join(dataDirectory, 'owner'),
        log: fileLog(dataDirectory, given),
        logger: log,
      }),
    clock,
    log,
  })
  const peers = new Peers({
    holder,
    other: () => tenure.other,
    token,
    knows: (authorization) => access.caller(authorization).kind === 'known',
    monotonic: () => clock.monotonic(),
    log,
  })
  const told = (samples: SampleNews): boolean => {
    const { current } = tenure
    if (current === undefined) return false
    heard.heard(samples, clock.monotonic())
    for (const late of samples.late) current.tasks.late(late)
    return true
  }
  const news = new NewsService({
    holder,
    marks: given.storedMarks,
    settled: given.samplesSettled,
    tell: async (samples) => {
      if (tenure.current === undefined) await peers.tell(samples)
      else for (const late of samples.late) tenure.current.tasks.late(late)
    },
    monotonic: () => clock.monotonic(),
    log,
  })
  const round: LeaseDesk['round'] = async (asked, forwarded) => {
    const { current } = tenure
    if (current !== undefined) return current.quotas.leases.round(asked)
    if (forwarded) throw new QuotasUnavailable('this aggregator is not the owner either')
    return peers.round(asked).catch((error: unknown) => {
      throw new QuotasUnavailable(messageOf(error))
    })
  }
  tenure.register(metrics)
  metrics.counter(
    'owner_forwarded_total',
    'Requests and batches of events that the owner answered for this standby.',
    [],
    () => [{ value: peers.counts.forwarded }],
  )
  metrics.counter('owner_forward_failures_total', 'Those that it did not answer.', [], () => [
    { value: peers.counts.failed },
  ])
  return {
    current: () => tenure.current,
    get tail() {
      return tenure.current?.owner.tail ?? NOTHING
    },
    take: (events) => (events.length === 0 ? Promise.resolve([]) : (tenure.current?.owner ?? peers).take(events)),
    late: (samples) => news.note(samples),
    told,
    leases: { round },
    routes: undefined,
    checks: undefined, // they are confirmed, as all that is answered from memory
    door: (rest) => ownerDoor({ current: () => tenure.current, peers, rest, clock }),
    inFront: [news, tenure],
    telling: [],
    behind: [],
    log: [],
  }
}

/** One term. */
class PostgresSide extends OwnerSide<PostgresLog> implements Term {
  readonly decide: Answer = (request, env) => this.quotas.routes.fetch(request, env)
}

function fileLog(dataDirectory: string, { log }: Pick<OwnershipGiven, 'log'>): FileLog {
  return new FileLog(nodeLogFiles, {
    directory: join(dataDirectory, 'owner', 'log'),
    quarantine: join(dataDirectory, 'quarantine', 'owner-log'),
    segmentBytes: OWNER_SEGMENT_BYTES,
    probeAfterMs: OWNER_PROBE_MS,
    log,
  })
}

/** What is missing for several aggregators over one store. */
function sharingProblem({ databaseUrl, clickhouseUrl }: AggregatorConfig): string | undefined {
  if (databaseUrl === '')
    return 'owner_log is postgres, and there is no PostgreSQL: set database_url (DATABASE_URL), the same for all aggregators, or owner_log to file for a single one'
  if (clickhouseUrl === '')
    return 'owner_log is postgres, for several aggregators, and the embedded engine belongs to one: set clickhouse_url (CLICKHOUSE_URL) to a server that all of them use, or owner_log to file for a single one'
  return undefined
}

/** @param url as it listens; where that is every address, others know this host by its name */
function reachable(url: string): string {
  return url.replace(/^http:\/\/(0\.0\.0\.0|\[::\])(?=:)/, () => `http://${hostname()}`)
}
