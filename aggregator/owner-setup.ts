/** All that follows from the owner log, put together: the owner, tasks, quotas, and what Kafka is told. */
import type { EventPublisher } from '../proto/kafka/event-publisher.ts'
import type { Access } from '../proto/runtime/access.ts'
import type { Clock } from '../proto/runtime/clock.ts'
import type { Faults } from '../proto/runtime/fault.ts'
import type { Logger } from '../proto/runtime/log.ts'
import type { Metrics } from '../proto/runtime/metrics.ts'
import type { Health, Service } from '../proto/runtime/service.ts'
import type { AggregatorConfig } from './config.ts'
import type { OwnerLogCounts } from './metrics.ts'
import { registerOwnerMetrics } from './metrics.ts'
import type { KeptFiles } from './owner/log-files.ts'
import { LoggedIds } from './owner/logged-ids.ts'
import { Owner } from './owner/owner.ts'
import type { OwnerLog } from './owner/owner-log.ts'
import { SnapshotFiles } from './owner/snapshot-file.ts'
import type { QuotaParts, Quotas } from './quotas-setup.ts'
import { setUpQuotas } from './quotas-setup.ts'
import { storedUsage } from './tasks/stored-usage.ts'
import { UsageOutbox } from './tasks/usage-outbox.ts'
import type { TaskParts, Tasks } from './tasks-setup.ts'
import { setUpTasks } from './tasks-setup.ts'

export interface OwnerGiven extends TaskParts, Pick<QuotaParts, 'directory'> {
  /** Whom usage is told, where Kafka is set and a topic for it. */
  readonly publisher: EventPublisher | undefined
  readonly access: Access
  readonly metrics: Metrics
  readonly clock: Clock
  readonly faults: Faults
  readonly log: Logger
}

/** Where its records are, and its snapshots and cursors. */
export interface OwnerPlaces<L> {
  readonly log: L
  readonly files: KeptFiles
  readonly directory: string
}

/** What a start has to read of the owner log at most. */
const OWNER_SNAPSHOT_RECORDS = 100_000
/** How often it is looked whether usage was calculated that Kafka is to be told of. */
const USAGE_LOOK_MS = 1000

/** What follows from one opening of the log: with one aggregator there is one, with several one for each term as the owner. */
export class OwnerSide<L extends OwnerLog & OwnerLogCounts> {
  readonly log: L
  readonly owner: Owner
  readonly tasks: Tasks
  readonly quotas: Quotas
  readonly outbox: UsageOutbox | undefined
  /** Along the data path. */
  readonly services: readonly Service[]
  readonly #unregister: () => void

  constructor(own: AggregatorConfig, given: OwnerGiven, { log: ownerLog, files, directory }: OwnerPlaces<L>) {
    const { db, records, publisher, access, clock, faults, log, metrics } = given
    const database = own.clickhouseDatabase
    const tasks = setUpTasks(own, given)
    const quotas = setUpQuotas(own, {
      db,
      tasks: tasks.fold,
      directory: given.directory,
      append: (logged) => owner.append(logged),
      confirm: () => ownerLog.confirm(),
      storedUpTo: () => records.storedUpTo,
      hasRoom: () => records.hasRoom(0),
      access,
      clock,
      log,
    })
    const outbox =
      publisher === undefined
        ? undefined
        : new UsageOutbox(publisher, {
            files,
            directory,
            topic: own.kafkaUsageTopic,
            read: storedUsage(db, database),
            storedUpTo: () => records.storedUpTo,
            logEnd: () => ownerLog.end,
            lookMs: USAGE_LOOK_MS,
            clock,
            log,
          })
    const owner = new Owner(
      {
        ids: new LoggedIds(db, database, () => clock.now()),
        log: ownerLog,
        snapshots: new SnapshotFiles(files, directory, log),
        store: records,
        folds: [tasks.fold, quotas.fold, ...(outbox === undefined ? [] : [outbox])], // quotas read what tasks made of the same record
      },
      { recentMax: own.recentEventIdsMax, snapshotRecords: OWNER_SNAPSHOT_RECORDS, clock, faults, log },
    )
    this.log = ownerLog
    this.owner = owner
    this.tasks = tasks
    this.quotas = quotas
    this.outbox = outbox
    this.services = [...(outbox === undefined ? [] : [outbox]), quotas.leases, quotas.service, tasks.service, owner]
    this.#unregister = metrics.passing(() => {
      registerOwnerMetrics(metrics, { records, owner, ownerLog, usageOutbox: outbox })
      tasks.register(metrics)
      quotas.register(metrics)
    })
  }

  /** From the end of the data path to its front. */
  async start(): Promise<void> {
    for (const service of this.services.toReversed()) await service.start()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#unregister()
    for (const service of this.services) await service.stop(deadline)
  }

  drop(): void {
    this.#unregister()
    this.owner.drop()
    const now = AbortSignal.abort()
    for (const service of this.services) if (service !== this.owner) service.stop(now).catch(() => {}) // nobody waits for it
  }

  health(): Health {
    const said = this.services.map((service) => service.health())
    return said.find(({ ready }) => !ready) ?? said.find(({ detail }) => detail !== undefined) ?? { ready: true }
  }
}
